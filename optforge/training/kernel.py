"""Loss and gradient of a fixed number of models in one call, compiled where that pays off."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from optforge.errors import one_line
from optforge.training.batching import batchable

Kernel = Callable[..., tuple[Tensor, ...]]

# Batches of matrices as small as those of attention over a few tokens: a library call for each
# matrix costs more than its arithmetic.
_TINY_PRODUCT = 600  # multiplications
_MANY = 64  # matrices
_LONGEST_REASON = 200  # characters; a compiler may say pages
_MOST_THREADS = 8  # a kernel is a dozen files


def has_compiler() -> bool:
    """Return whether ``torch.compile`` will find a C++ compiler on this machine."""
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    return any(name and shutil.which(name) for name in names)


def gradient_kernel(
    loss: Callable[..., Any], views: Callable[[Tensor], list[Tensor]], shared: bool
) -> Kernel:
    """Build ``(weights, inputs, targets, *held) -> (losses, gradients, *changed)`` over rows.

    The forward pass is batched by ``vmap``. One backward pass of the summed losses computes all
    gradients, because no row's loss depends on another row.

    Args:
        loss: Computes the loss of one model from its parameter arrays, inputs, targets, and its
            other tensors; may return a tuple of the loss and the tensors that it changed.
        views: Splits ``[rows, elements]`` into one tensor per parameter array.
        shared: Whether all rows see the same inputs, or inputs have a first dimension of rows.
    """
    data = None if shared else 0

    def kernel(weights: Tensor, inputs: Tensor, targets: Tensor, *held: Tensor) -> Any:
        batched = torch.vmap(loss, in_dims=(0, data, data, *[0] * len(held)), randomness="same")
        with torch.enable_grad(), batchable():
            leaves = [view.requires_grad_() for view in views(weights.detach())]
            results = batched(leaves, inputs, targets, *held)
            losses, *changed = results if isinstance(results, tuple) else (results,)
            gradients = torch.autograd.grad(losses.sum(), leaves, materialize_grads=True)
        rows = weights.shape[0]
        joined = torch.cat([g.reshape(rows, -1) for g in gradients], 1)
        return losses.detach(), joined, *[value.detach() for value in changed]

    return kernel


def measure_kernel(measure: Callable[..., Any], views: Callable[[Tensor], list[Tensor]]) -> Kernel:
    """Build ``(weights, inputs, targets, *held) -> (losses, metrics)`` over rows of weights."""

    def kernel(weights: Tensor, inputs: Tensor, targets: Tensor, *held: Tensor) -> Any:
        in_dims = (0, None, None, *[0] * len(held))
        with torch.no_grad(), batchable():
            return torch.vmap(measure, in_dims, randomness="same")(
                views(weights), inputs, targets, *held
            )

    return kernel


def compiled(kernel: Kernel, *example: Tensor) -> Kernel:
    """Compile a kernel for the shapes of an example; return it unchanged if that fails.

    The kernel is first traced to plain tensor operations, including the backward pass, because the
    compiler handles ``vmap`` and ``autograd.grad`` badly.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # no CUDA: no news
    try:
        from torch._inductor import config
        from torch.fx.experimental.proxy_tensor import make_fx

        with config.patch(compile_threads=_threads()), _pool_of_threads():
            graph = make_fx(kernel)(*example)
            graph.graph.eliminate_dead_code()
            _without_tiny_products(graph)
            fast = torch.compile(graph, dynamic=False)
            with torch.no_grad():
                fast(*example)
    except Exception as error:  # the compiler has many ways to fail; eager always works
        reason = one_line(error)[:_LONGEST_REASON]
        warnings.warn(f"training runs uncompiled, which is slower ({reason})", stacklevel=2)
        return kernel

    def run(*arguments: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return fast(*arguments)

    return run


def _threads() -> int:
    """Return how many files are compiled at once: workers compile side by side already."""
    if multiprocessing.parent_process() is not None or not hasattr(os, "sched_getaffinity"):
        return 1
    return min(_MOST_THREADS, len(os.sched_getaffinity(0)))


@contextmanager
def _pool_of_threads() -> Iterator[None]:
    """Restrict the compiler to threads, and end them; its own processes would outlive ours."""
    from torch._inductor.async_compile import AsyncCompile

    os.environ.setdefault("TORCH_WARM_POOL", "0")
    try:
        yield
    finally:
        if AsyncCompile.pool.cache_info().currsize:
            AsyncCompile.pool().shutdown()
            AsyncCompile.pool.cache_clear()


def captured(kernel: Kernel, *example: Tensor) -> Kernel:
    """Record a kernel as a CUDA graph for the shapes of an example: one launch for everything.

    Its results are overwritten by its next call. A kernel that cannot be recorded, because it waits
    for the device, is returned unchanged.
    """
    inputs = [tensor.clone() for tensor in example]
    graph = torch.cuda.CUDAGraph()
    try:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries set themselves up in the first calls
                kernel(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            outputs = kernel(*inputs)
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[0]
        warnings.warn(f"training runs without a CUDA graph ({reason})", stacklevel=2)
        return kernel

    def run(*arguments: Tensor) -> tuple[Tensor, ...]:
        for held, argument in zip(inputs, arguments, strict=True):
            held.copy_(argument)
        graph.replay()
        return outputs

    return run


def _without_tiny_products(
    graph: GraphModule, largest: int = _TINY_PRODUCT, fewest: int = _MANY
) -> None:
    """Write batches of tiny matrix products as sums, which the compiler fuses into one loop.

    Halves the time of a Vision Transformer with four tokens.
    """
    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        if node.target is not aten.bmm.default:
            continue
        left, right = node.args
        matrices, rows, inner = left.meta["val"].shape
        if matrices < fewest or rows * inner * right.meta["val"].shape[2] > largest:
            continue
        with graph.graph.inserting_before(node):
            call = graph.graph.call_function
            tall, wide = call(aten.unsqueeze, (left, 3)), call(aten.unsqueeze, (right, 1))
            node.replace_all_uses_with(call(aten.sum, (call(aten.mul, (tall, wide)), [2])))
        graph.graph.erase_node(node)
    graph.recompile()
