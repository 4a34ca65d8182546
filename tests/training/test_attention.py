"""The faster attention: PyTorch's numbers, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from talkies.training.attention import FastCpuAttention

SHAPES = [(2, 3, 10, 10, 8), (2, 3, 10, 4, 8), (5, 2, 6, 1, 16)]


@pytest.mark.parametrize(("batch", "heads", "queries", "keys", "dim"), SHAPES)
@pytest.mark.parametrize("chunk", [1, 10_000])
def test_gradients_equal_pytorch(
    batch: int, heads: int, queries: int, keys: int, dim: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("talkies.training.attention._CHUNK", chunk)
    torch.manual_seed(0)
    query = torch.randn(batch, queries, heads, dim).transpose(1, 2).requires_grad_()
    key = torch.randn(batch, keys, heads, dim).transpose(1, 2).requires_grad_()
    value = torch.randn(batch, keys, heads, dim).transpose(1, 2).requires_grad_()
    gradient = torch.randn(batch, heads, queries, dim)

    expected = F.scaled_dot_product_attention(query, key, value)
    wanted = torch.autograd.grad(expected, (query, key, value), gradient)
    with FastCpuAttention():
        output = F.scaled_dot_product_attention(query, key, value)
    got = torch.autograd.grad(output, (query, key, value), gradient)

    assert output.grad_fn is not None and "_Attention" in type(output.grad_fn).__name__
    torch.testing.assert_close(output, expected)
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_mixed_types_follow_autocast() -> None:
    query = torch.randn(1, 2, 4, 8, requires_grad=True)
    key = torch.randn(1, 2, 4, 8)
    value = torch.randn(1, 2, 4, 8, dtype=torch.bfloat16)
    with FastCpuAttention(), torch.autocast("cpu", torch.bfloat16):
        output = F.scaled_dot_product_attention(query, key, value)
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    assert query.grad is not None and query.grad.dtype == torch.float32


def test_masks_and_inference_are_left_to_pytorch() -> None:
    query = torch.randn(1, 2, 4, 8, requires_grad=True)
    mask = torch.ones(4, 4, dtype=torch.bool)
    with FastCpuAttention():
        masked = F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
        causal = F.scaled_dot_product_attention(query, query, query, is_causal=True)
        with torch.no_grad():
            plain = F.scaled_dot_product_attention(query, query, query)
    assert "_Attention" not in type(masked.grad_fn).__name__
    assert "_Attention" not in type(causal.grad_fn).__name__
    assert plain.grad_fn is None
