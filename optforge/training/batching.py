"""Making ``vmap`` batch the parts of models that it cannot batch well by itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from optforge.training.attention import BatchedAttention


@contextmanager
def batchable() -> Iterator[None]:
    """Compute attention and recurrent layers in operations that ``vmap`` can batch.

    The fused kernels of attention have no batching rule, so ``vmap`` would call them row by row,
    with a warning. Inside the block, attention uses its mathematical form,
    ``nn.TransformerEncoderLayer`` does not use its fast path, and recurrent layers run step by
    step.

    Example:
        >>> layer, x = torch.nn.GRU(3, 4, batch_first=True), torch.zeros(5, 2, 6, 3)
        >>> with batchable():
        ...     torch.vmap(lambda one: layer(one)[0])(x).shape
        torch.Size([5, 2, 6, 4])
    """
    _add_recurrent_rules()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), BatchedAttention(), warnings.catch_warnings():
            # What else has no rule is measured: then the task may train in a loop.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@cache
def _add_recurrent_rules() -> torch.library.Library | None:
    """Register batching rules for recurrent layers, which PyTorch 2.9 lacks, once per process.

    Returns:
        An object that keeps the rules alive; None if PyTorch has its own rules or no
        decompositions.
    """
    library = torch.library.Library("aten", "IMPL")
    try:
        from torch._decomp import decompositions

        rules = {
            "lstm.input": _without_fused_cells(decompositions.lstm_impl),
            "gru.input": decompositions.gru_impl,
            "rnn_tanh.input": decompositions.rnn_tanh_input,
            "rnn_relu.input": decompositions.rnn_relu_input,
        }
        for name, rule in rules.items():
            library.impl(name, rule, "FuncTorchBatched")
    except (ImportError, AttributeError, RuntimeError):  # such a model then trains in a loop
        return None
    return library


def _without_fused_cells(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Prevent a rule from using the fused cells of oneDNN, which ``vmap`` cannot batch either."""

    def plain(*arguments: Any) -> Any:
        enabled = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)
        try:
            return rule(*arguments)
        finally:
            torch._C._set_mkldnn_enabled(enabled)

    return plain
