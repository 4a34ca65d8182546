"""Weights in and out: the authors' layout, diffusers' layout and ours, safetensors only, every key accounted for."""

from talkies.checkpoints.official import load_official, to_official
from talkies.checkpoints.open import HubOptions, open_transformer

__all__ = ["HubOptions", "load_official", "open_transformer", "to_official"]
