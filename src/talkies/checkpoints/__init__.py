"""Weights in and out: the authors' layout, diffusers' layout and ours, safetensors only, every key accounted for."""
