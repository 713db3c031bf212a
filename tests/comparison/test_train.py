"""One cell: the same run as the reference trainer, and what is measured beside it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from optforge.comparison import Cell, CellTable, Recipe, load_recipe, run_comparison, vary
from optforge.comparison.cells.measurements import EXTRAS, PeakMemory, flatness, optimizer_bytes
from optforge.comparison.cells.runner import Runner
from optforge.comparison.cells.train import run_cell
from optforge.comparison.schedules import SCHEDULES
from optforge.errors import CompareError
from optforge.tasks import Task, initial_model
from optforge.training import train_single
from tests.helpers.comparisons import few
from tests.helpers.tiny import Blobs, Sums, WithBatchNorm, WithDropout

ADAMW = load_recipe("adamw")
SETTING = (("beta1", 0.9), ("beta2", 0.99), ("lr", 0.03), ("weight_decay", 0.1))


def cell(task: Task, **changes: object) -> Cell:
    return replace(Cell(task.name, "adamw", SETTING, 3), **changes)


@pytest.mark.parametrize("kind", [Blobs, Sums, WithBatchNorm, WithDropout])
def test_a_cell_is_the_reference_run_bit_for_bit(kind: type[Task]) -> None:
    task = kind()
    found = run_cell(vary(task, {}), ADAMW, cell(task, curve=True, test=True))
    for split, loss, metric in (
        ("validation", found.loss, found.metric),
        ("test", found.test_loss, found.test_metric),
    ):
        expected = train_single(
            task,
            lambda p: torch.optim.AdamW(
                p, lr=0.03, betas=(0.9, 0.99), weight_decay=0.1, fused=True
            ),
            3,
            split,
        )
        assert (loss, metric) == (expected.loss, expected.metric)


def test_looking_on_the_way_changes_nothing() -> None:
    task = WithDropout()
    plain = run_cell(vary(task, {}), ADAMW, cell(task))
    curve = run_cell(vary(task, {}), ADAMW, cell(task, curve=True, extras=("flatness",)))
    assert plain.loss == curve.loss and plain.train_loss == curve.train_loss
    assert math.isnan(plain.test_loss) and not plain.curve


def test_a_curve_ends_with_the_final_loss_and_has_the_task_s_period() -> None:
    task = Blobs()
    task.evaluation_period = 6
    found = run_cell(vary(task, {}), ADAMW, cell(task, curve=True))
    assert [point[0] for point in found.curve] == [6, 12, 18, 20]
    assert found.curve[-1][1:3] == (found.loss, found.metric)
    seconds = [point[3] for point in found.curve]
    assert seconds == sorted(seconds) and seconds[-1] < found.seconds


def test_a_run_stops_at_its_target() -> None:
    task = Blobs()
    whole = run_cell(vary(task, {}), ADAMW, cell(task, curve=True))
    step, loss = whole.curve[9][:2]
    found = run_cell(vary(task, {}), ADAMW, cell(task, until=loss))
    assert found.steps == step < task.steps
    assert [p[:3] for p in found.curve] == [p[:3] for p in whole.curve[:10]]
    assert found.loss == loss


@pytest.mark.parametrize("lr", [1e6, 1e30])
def test_divergence_is_noticed(lr: float) -> None:
    task = Sums()
    sgd = load_recipe("sgd")
    found = run_cell(
        vary(task, {}), sgd, cell(task, setting=(("lr", lr), ("beta1", 0.9)), test=True)
    )
    assert found.diverged


def test_a_run_that_learns_nothing_has_not_diverged() -> None:
    task = Blobs()
    found = run_cell(vary(task, {}), ADAMW, cell(task, setting=(("lr", 1e-3),)))
    assert not found.diverged


def test_warmup_of_the_setting_replaces_that_of_the_task() -> None:
    task, other = Blobs(), Blobs()
    other.warmup = 0.5
    asked = cell(task, setting=(*SETTING, ("warmup", 0.5)))
    found = run_cell(vary(task, {}), ADAMW, asked)
    assert found.loss == run_cell(vary(other, {}), ADAMW, cell(other)).loss
    assert found.loss != run_cell(vary(task, {}), ADAMW, cell(task)).loss


@pytest.mark.parametrize("changes", [{"clip": 0.01}, {"schedule": "linear"}, {"decay": "matrices"}])
def test_what_a_recipe_says_is_done(changes: dict) -> None:
    task = Blobs()
    setting = (("beta1", 0.9), ("lr", 0.1), ("weight_decay", 0.5))
    sgd, other = load_recipe("sgd"), load_recipe("sgd", **changes)
    asked = cell(task, setting=setting)
    assert run_cell(vary(task, {}), sgd, asked).loss != run_cell(vary(task, {}), other, asked).loss


def test_clipping_is_the_global_norm() -> None:
    """A step of plain SGD with clipping is as long as the rate times the bound."""
    task = Blobs()
    task.steps, task.warmup = 1, 1.0
    recipe: Recipe = load_recipe("plain", "torch:SGD", clip=0.01)
    start = torch.cat([p.detach().flatten() for p in initial_model(task, 3).parameters()])
    kept = []

    def measure(_: Task, model: torch.nn.Module, __: int) -> dict[str, float]:
        end = torch.cat([p.detach().flatten() for p in model.parameters()])
        kept.append((end - start).norm().item())
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRAS, "length", measure)  # type: ignore[arg-type]
        run_cell(vary(task, {}), recipe, cell(task, setting=(("lr", 2.0),), extras=("length",)))
    assert kept == [pytest.approx(2.0 * 0.01, rel=1e-3)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_rise_to_one_and_do_not_rise_again(name: str) -> None:
    values = [SCHEDULES[name](step, 50, 0.2) for step in range(50)]
    assert values[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert all(a >= b for a, b in zip(values[9:], values[10:], strict=False))
    assert (values[-1] == 1.0) if name == "constant" else (0 < values[-1] < 0.05)


def test_optimizer_bytes_count_every_state_once() -> None:
    weights = [torch.nn.Parameter(torch.ones(100, 10)), torch.nn.Parameter(torch.ones(7))]
    adam = torch.optim.AdamW(weights)
    sum(w.sum() for w in weights).backward()
    assert optimizer_bytes(adam) == 0
    adam.step()
    # Two moments and a step counter of four bytes for each array.
    assert optimizer_bytes(adam) == 2 * 4 * 1007 + 2 * 4


class Hoarder(torch.optim.SGD):
    """Keeps 25 million numbers: 100 million bytes."""

    def step(self, closure: Any = None) -> Any:
        if not self.state:
            self.state[self.param_groups[0]["params"][0]]["hoard"] = torch.ones(25_000_000)
        return super().step(closure)


def test_the_growth_of_memory_is_that_of_the_states() -> None:
    task = Blobs()
    recipe = load_recipe("hoarder", Hoarder, space={"lr": [0.01, 0.1]})
    asked = cell(task, setting=(("lr", 0.05),), test=True)
    found = run_cell(vary(task, {}), recipe, asked)
    if math.isnan(found.peak_mb):
        pytest.skip("this system does not tell how much memory a process holds at most")
    assert found.optimizer_bytes == 100_000_000
    assert 0.95 < found.peak_mb * 2**20 / 1e8 < 1.15
    assert run_cell(vary(task, {}), ADAMW, cell(task, test=True)).peak_mb < 50


def test_memory_that_the_system_does_not_tell_is_unknown_and_not_nothing() -> None:
    memory = PeakMemory(torch.device("cpu"), status=Path("/nowhere"))
    assert math.isnan(memory.megabytes())


class TwoFaced(torch.optim.SGD):
    """Schedule-free in the plainest form: trains at one point, results hold at another."""

    training = False

    def train(self) -> None:
        self._move(-1.0, not self.training)
        self.training = True

    def eval(self) -> None:
        self._move(1.0, self.training)
        self.training = False

    def step(self, closure: Any = None) -> Any:
        assert self.training
        return super().step(closure)

    def _move(self, by: float, wanted: bool) -> None:
        with torch.no_grad():
            for p in self.param_groups[0]["params"] if wanted else ():
                p.add_(by)


def test_optimizers_that_keep_other_weights_for_results_are_asked_for_them() -> None:
    """Training sees weights that are shifted by -1; curves, validation and test data must not."""
    task = Blobs()
    asked = cell(task, setting=(("lr", 1e-9),), curve=True, test=True)
    kinds = (TwoFaced, torch.optim.SGD)
    recipes = [load_recipe("a", kind, space={"lr": [0.01, 0.1]}) for kind in kinds]
    two, plain = (run_cell(vary(task, {}), recipe, asked) for recipe in recipes)
    assert two.train_loss != pytest.approx(plain.train_loss, rel=1e-2)
    for name in ("loss", "metric", "test_loss", "test_metric"):
        assert getattr(two, name) == pytest.approx(getattr(plain, name), rel=1e-4)
    assert [p[1] for p in two.curve] == pytest.approx([p[1] for p in plain.curve], rel=1e-4)


def test_a_schedule_free_optimizer_of_a_library_is_measured_at_its_average() -> None:
    task = Blobs()
    recipe = load_recipe("pytorch_optimizer:schedulefreeadamw", schedule="constant")
    found = run_cell(vary(task, {}), recipe, cell(task, setting=(("lr", 0.05),), curve=True))
    assert found.loss < 0.9 * found.curve[0][1] and not found.diverged


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("torch:LBFGS", "its step needs a closure"),
        ("pytorch_optimizer:sophiah", "create_graph=True"),
        ("pytorch_optimizer:adahessian", "create_graph=True"),
    ],
)
def test_optimizers_that_need_more_than_a_backward_pass_are_refused(name: str, says: str) -> None:
    asked = few(name)
    with pytest.raises(CompareError, match="cannot be compared on Blobs") as caught:
        run_comparison(asked, Runner(asked.bench, CellTable(None)))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_flatness_is_larger_for_more_noise_and_leaves_the_model() -> None:
    task = Blobs()
    model = initial_model(task, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        task.loss(model(task.splits.train.inputs), task.splits.train.targets).backward()
        optimizer.step()
    before = [p.detach().clone() for p in model.parameters()]
    found = flatness(task, model, 1)
    assert found["loss_under_relative_noise_0.1"] > found["loss_without_noise"]
    assert abs(found["loss_under_relative_noise_0.03"] / found["loss_without_noise"] - 1) < 0.2
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_wider_batch_sees_the_same_examples() -> None:
    narrow = vary(Blobs(), {"batch_size": 8, "samples": 320})
    wide = vary(Blobs(), {"batch_size": 32, "samples": 320})
    from optforge.tasks import batch_order

    assert (narrow.task.steps, wide.task.steps) == (40, 10)
    assert torch.equal(batch_order(narrow.task, 5).flatten(), batch_order(wide.task, 5).flatten())
    assert narrow.task.hash != wide.task.hash
