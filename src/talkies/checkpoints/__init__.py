"""Weights in and out: the authors' layout, diffusers' layout and ours, safetensors only, every key accounted for."""

from talkies.checkpoints.official import load_official, to_official

__all__ = ["load_official", "to_official"]
