"""The graph that is compiled computes what the kernel does, with tiny matrix products rewritten."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from optforge.language import load_rule, parse
from optforge.tasks import Task
from optforge.training import Stack, kernel, train_population
from optforge.training.kernel import gradient_kernel, measure_kernel
from tests.helpers.tiny import Blobs, ShortMLP, ShortTransformer, ShortViT

ROWS = 6
BMM = torch.ops.aten.bmm.default


def rows_of(stack: Stack) -> tuple[Tensor, Tensor, Tensor]:
    """Other weights and another batch in each row."""
    weights = stack.initial(list(range(ROWS)))
    batches = [stack.batch(seed, 1) for seed in range(ROWS)]
    inputs, targets = (torch.stack(part) for part in zip(*batches, strict=True))
    return weights, inputs, targets


def products(graph: GraphModule) -> int:
    return sum(node.target is BMM for node in graph.graph.nodes)


def check(
    traced: GraphModule, plain: object, example: tuple[Tensor, ...], fewer: bool, **limits: int
) -> None:
    """Compare the rewritten graph, the graph, and the kernel that it was traced from."""
    before = products(traced)
    with torch.no_grad():
        graph = traced(*example)
        kernel._without_tiny_products(traced, **limits)
        rewritten = traced(*example)
    expected = plain(*example)  # type: ignore[operator]
    for part, other, third in zip(rewritten, graph, expected, strict=True):
        torch.testing.assert_close(part, third, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(other, third, rtol=1e-10, atol=1e-12)
    assert (products(traced) < before) == fewer, (before, products(traced))


@pytest.mark.parametrize(
    ("task", "fewer"),
    [(ShortMLP(), False), (ShortViT(), True), (ShortTransformer(), False)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_rewritten_graph_computes_the_same(task: Task, fewer: bool) -> None:
    stack = Stack(task, torch.float64)
    example = rows_of(stack)
    by_row = gradient_kernel(stack._loss, stack.views, shared=False)
    check(make_fx(by_row)(*example), by_row, example, fewer)
    stack.model.eval()
    inputs, targets = (part[:16] for part in stack.split("validation"))
    measured = measure_kernel(stack._measure, stack.views)
    example = (example[0], inputs, targets)
    check(make_fx(measured)(*example), measured, example, fewer)


@pytest.mark.parametrize("tiny", [1, 10**9])
def test_every_batch_of_products_may_be_rewritten(tiny: int) -> None:
    """Also those of the Transformer, were they small enough; and none where none is."""
    stack = Stack(ShortTransformer(), torch.float64)
    example = rows_of(stack)
    by_row = gradient_kernel(stack._loss, stack.views, shared=False)
    traced = make_fx(by_row)(*example)
    check(traced, by_row, example, fewer=tiny > 1, largest=tiny, fewest=1)
    assert (products(traced) == 0) == (tiny > 1)


@pytest.mark.filterwarnings("default")  # the compiler's own warnings are not ours
def test_compiling_leaves_neither_threads_nor_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_threads", lambda: 2)
    monkeypatch.delenv("TORCH_WARM_POOL", raising=False)
    before = set(children())
    rows = torch.randn(5, 37)
    fast = kernel.compiled(lambda x: (torch.tanh(x) * 3 + x.sum(1, keepdim=True),), rows)
    torch.testing.assert_close(fast(rows)[0], torch.tanh(rows) * 3 + rows.sum(1, keepdim=True))
    assert set(children()) == before
    assert not [one for one in threading.enumerate() if "ThreadPool" in one.name]


def children() -> list[str]:
    """The processes that this one has started, by all of its threads."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [child for file in tasks for child in file.read_text().split()]


def test_a_worker_compiles_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert kernel._threads() == 8
    monkeypatch.setattr(kernel.multiprocessing, "parent_process", lambda: "the search")
    assert kernel._threads() == 1


@pytest.mark.parametrize(("steps", "is_compiled"), [(200, False), (2, True)])
def test_the_measurement_is_compiled_where_it_is_much_of_a_training(
    steps: int, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured against 200 or 2 gradients of 16 examples, each as long as three passes."""
    made: list[object] = []
    monkeypatch.setattr(
        "optforge.training.stack.compiled", lambda kernel, *example: made.append(kernel) or kernel
    )
    task = Blobs()
    task.steps = steps
    stack = Stack(task, compile=True)
    loss, _ = stack.evaluate(stack.initial([0, 1]), "validation")
    assert bool(made) == is_compiled
    torch.testing.assert_close(loss, Stack(task).evaluate(stack.initial([0, 1]), "validation")[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own warnings are not ours
@pytest.mark.parametrize(
    "task", [Blobs(), ShortViT(), ShortTransformer()], ids=lambda task: task.name
)
def test_compiled_kernels_equal_uncompiled_ones(task: Task) -> None:
    text = load_rule("adamw").text
    rates = [0.002 * (1 + i) for i in range(5)]
    programs = [parse(text.replace("0.001\n", f"{rate!r}\n")) for rate in rates]
    fast, plain = Stack(task, compile=True), Stack(task)
    for seeds in ([0], [0, 1, 2]):
        compiled, alone = (train_population(s, programs, seeds).losses for s in (fast, plain))
        torch.testing.assert_close(compiled, alone, rtol=1e-4, atol=0)
