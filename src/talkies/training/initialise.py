"""A beginning for a network trained from nothing: every token looks at its own place.

Person localisation reads who a token belongs to from self-attention (paper 3.2), and its labels have no gradient: with
random attention the labels are random, the audio cannot be told apart, and nothing teaches the attention better. Biases
shared by queries and keys make attention a function of distance under the rotary embedding, so that people are told
apart from the first step. Nothing is fixed: training may change all of it.
"""

from __future__ import annotations

from typing import Any

import torch

from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel


@torch.no_grad()
def attend_nearby(transformer: MultiTalkTransformer3DModel, strength: float, bias: float = 2.0) -> None:
    """Makes the self-attention of a new network prefer the same place, in all frames alike.

    Args:
        transformer: Just built.
        strength: Factor on the attention scores' spatial part. With 4 and 64 channels a head, the score of a token five
            columns away is about 1.6 lower than of the same place.
        bias: Size of the shared bias relative to the content's part of queries and keys.
    """
    dim = int(transformer.config.attention_head_dim)
    height = width = 2 * (dim // 6)  # Wan's rotary embedding: frames first, then rows, then columns
    scale = torch.ones(dim)
    scale[dim - height - width :] = strength**0.5
    for block in transformer.blocks:
        attention: Any = block.get_submodule("attn1")
        for linear, norm in ((attention.to_q, attention.norm_q), (attention.to_k, attention.norm_k)):
            linear.bias.unflatten(0, (-1, 2))[:, 0] = bias  # the first of every rotated pair
            linear.bias.unflatten(0, (-1, 2))[:, 1] = 0.0
            norm.weight.copy_(scale.repeat(len(norm.weight) // dim))
