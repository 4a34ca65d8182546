"""Attention that trains fast on a CPU.

PyTorch's fused CPU attention is slow at the sizes of a small video model, backwards above all and with few keys (text,
audio). Here both passes are plain matrix products over a few samples at a time, so that the probabilities stay in the
cache; the backward pass computes them again, so no more memory is kept. A whole training step by
`benchmarks/training_speed.py` (2026-11-27, one thread of a 2-core CPU, 24 GiB, other work running): 2.18 -> 3.59
samples/s with 8 heads of 32, 2.84 -> 4.28 with 4 heads of 64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_CHUNK = 1_000_000


def _parts(query: Tensor, key: Tensor) -> Iterator[slice]:
    """A few samples at a time."""
    step = max(1, _CHUNK // (query.shape[1] * query.shape[2] * key.shape[2]))
    for start in range(0, query.shape[0], step):
        yield slice(start, start + step)


class _Attention(torch.autograd.Function):
    """softmax(q k^T / sqrt(d)) v for `[B, H, S, D]`, `[B, H, L, D]`, `[B, H, L, D]`."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Keeps its inputs only."""
        ctx.save_for_backward(query, key, value)
        out = torch.empty_like(query)
        for part in _parts(query, key):
            q = (query[part] * query.shape[-1] ** -0.5).contiguous()
            probability = torch.softmax(q @ key[part].contiguous().mT, dim=-1)  # [b, H, S, L]
            out[part] = probability @ value[part].contiguous()
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of query, key and value."""
        query, key, value = ctx.saved_tensors
        (gradient,) = gradients
        scale = query.shape[-1] ** -0.5
        found = [torch.empty_like(tensor) for tensor in (query, key, value)]
        for part in _parts(query, key):
            q, k, v = (query[part] * scale).contiguous(), key[part].contiguous(), value[part].contiguous()
            g = gradient[part].contiguous()
            probability = torch.softmax(q @ k.mT, dim=-1)  # [b, H, S, L]
            found[2][part] = probability.mT @ g
            inner = g @ v.mT  # [b, H, S, L]
            score = torch._softmax_backward_data(inner, probability, -1, probability.dtype)
            found[0][part] = (score @ k).mul_(scale)
            found[1][part] = score.mT @ q
        return found[0], found[1], found[2]


class FastCpuAttention(TorchFunctionMode):
    """Inside this context, attention on CPU tensors that need gradients goes through the faster backward pass.

    Calls with a mask, dropout, causality or grouped heads are left to PyTorch. The networks are not touched.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replaces `scaled_dot_product_attention` where it can."""
        named = dict(kwargs or {})
        if func is F.scaled_dot_product_attention and torch.is_grad_enabled():
            tensors = [*args, *(named.pop(name) for name in ("query", "key", "value") if name in named)]
            # what is left over: mask, dropout, causality, scale, grouped heads
            plain = len(tensors) == 3 and not any(isinstance(value, Tensor) or value for value in named.values())
            if plain and tensors[0].device.type == "cpu" and any(tensor.requires_grad for tensor in tensors):
                if torch.is_autocast_enabled("cpu"):  # as PyTorch does for its own
                    tensors = [tensor.to(torch.get_autocast_dtype("cpu")) for tensor in tensors]
                return _Attention.apply(*tensors)
            named = dict(kwargs or {})
        return func(*args, **named)
