"""Weights in and out: the authors' layout, diffusers' layout and ours, safetensors only, every key accounted for."""

from talkies.checkpoints.lora import LoraAudit, load_lora
from talkies.checkpoints.official import load_official, to_official
from talkies.checkpoints.open import HubOptions, open_transformer

__all__ = ["HubOptions", "LoraAudit", "load_lora", "load_official", "open_transformer", "to_official"]
