"""Attention in fewer operations, all of which ``vmap`` batches well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class BatchedAttention(TorchFunctionMode):
    """Computes self-attention and its softmax in another way inside the block.

    PyTorch's multi-head attention projects a transposed view and then selects queries, keys and
    values. Under ``vmap`` the projection becomes one product per token, and the gradient of each
    selection a tensor of mostly zeros. Here one contiguous input is projected and split.
    What this form does not cover, such as padding masks, is computed by PyTorch.

    Example:
        >>> layer, x = torch.nn.MultiheadAttention(8, 2, batch_first=True), torch.ones(5, 3, 8)
        >>> with BatchedAttention():
        ...     layer(x, x, x, need_weights=False)[0].shape
        torch.Size([5, 3, 8])
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace two functions, and call all others."""
        named = kwargs or {}
        if func is functional.multi_head_attention_forward and _is_plain(args, named):
            return _self_attention(*args, **named), None
        if func is functional.scaled_dot_product_attention and len(args) == 3 and not named:
            return _attention(*args, dropout=0.0)
        return func(*args, **named)


def _is_plain(args: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Return whether a call is self-attention without masks, added keys and returned weights."""
    query, key, value, _, _, packed, _, bias_key, bias_value, has_zeros, *_ = args
    masks = (named.get("key_padding_mask"), named.get("attn_mask"))
    return (
        query is key is value
        and query.dim() == 3
        and packed is not None
        and bias_key is bias_value is None
        and not has_zeros
        and masks == (None, None)
        and not named.get("need_weights", True)
    )


def _self_attention(
    query: Tensor,  # [tokens, samples, width]
    _key: Tensor,
    _value: Tensor,
    width: int,
    heads: int,
    weight: Tensor,
    bias: Tensor | None,
    *others: Any,
    training: bool = True,
    **_named: Any,
) -> Tensor:
    """Compute multi-head attention as ``multi_head_attention_forward`` does."""
    *_, dropout, out_weight, out_bias = others
    projected = functional.linear(query.transpose(0, 1), weight, bias)
    parts = projected.unflatten(-1, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
    # [samples, heads, tokens, width / heads] each
    queries, keys, values = parts.contiguous().unbind(0)
    mixed = _attention(queries, keys, values, dropout if training else 0.0)
    joined = mixed.transpose(1, 2).flatten(2)
    return functional.linear(joined, out_weight, out_bias).transpose(0, 1)


def _attention(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    return functional.dropout(torch.softmax(scores, -1), dropout, dropout > 0) @ value
