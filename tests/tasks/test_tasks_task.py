"""The contract of Task: hash, batches, initial models, registry, and a user's own task."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks import (
    HELD_OUT_TASK,
    PROXY_TASKS,
    Data,
    Split,
    Task,
    batch_order,
    initial_model,
    load_task,
    task_names,
)


class Toy(Task):
    """Thirty points of a line."""

    steps, batch_size = 12, 4
    shift = 0.0

    def data(self) -> Data:
        """Disjoint points."""
        x = torch.linspace(-1, 1, 30)[:, None]
        return Data(*(Split(x[i::3], x[i::3] + self.shift) for i in range(3)))

    def model(self) -> nn.Module:
        """One map."""
        return nn.Linear(1, 1)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Squared error."""
        return ((output - targets) ** 2).mean()


class Wider(Toy):
    """The same with another model."""

    name = "Toy"

    def model(self) -> nn.Module:
        """Two maps."""
        return nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))


def test_hash_is_stable_and_covers_settings_data_and_model() -> None:
    assert len(Toy().hash) == 16
    assert Toy().hash == Toy().hash
    longer, shifted = Toy(), Toy()
    longer.steps = 13
    shifted.shift = 1e-6
    touched = Toy()
    touched.splits.test.targets[3] += 1
    hashes = {Toy().hash, longer.hash, shifted.hash, touched.hash, Wider().hash}
    assert len(hashes) == 5


def test_hash_covers_data_alone() -> None:
    class Fixed(Toy):
        def settings(self) -> dict[str, object]:
            return {}

    changed = Fixed()
    changed.splits.train.inputs[0] += 1
    assert Fixed().hash != changed.hash


@pytest.mark.parametrize("name", task_names())
def test_shipped_hashes(name: str) -> None:
    assert load_task(name).hash == load_task(name).hash
    changed = load_task(name)
    changed.steps += 1
    assert changed.hash != load_task(name).hash
    assert load_task(name).settings()["parameters"]


def test_python_version_enters_the_hash() -> None:
    assert load_task("python_transformer").settings()["python"] == sys.version.split()[0]
    assert "python" not in load_task("mnist_mlp").settings()


def test_batches_cover_each_epoch_without_repetition() -> None:
    order = batch_order(Toy(), 0)
    assert order.dtype == torch.int64
    assert tuple(order.shape) == (12, 4)
    seen = order.flatten()
    assert all(seen[i : i + 10].sort().values.tolist() == list(range(10)) for i in (0, 10, 20, 30))
    assert torch.equal(order, batch_order(Toy(), 0))
    assert not torch.equal(order, batch_order(Toy(), 1))


def test_a_batch_may_exceed_the_data() -> None:
    task = Toy()
    task.batch_size = 64
    assert tuple(batch_order(task, 0).shape) == (12, 64)


def test_initial_model_depends_on_the_seed_and_touches_nothing() -> None:
    before = torch.get_rng_state()
    first, again, other = (initial_model(Toy(), seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    torch.manual_seed(5)
    assert torch.equal(next(first.parameters()), next(initial_model(Toy(), 0).parameters()))


def test_bad_tasks_are_refused_by_name() -> None:
    empty, idle = Toy(), Toy()
    empty.data = lambda: Data(*(Split(torch.zeros(2, 1), torch.zeros(n)) for n in (2, 1, 2)))
    with pytest.raises(TaskError, match="validation split of task 'Toy' has 2 inputs and 1"):
        _ = empty.splits
    idle.steps = 0
    with pytest.raises(TaskError, match="at least 1"):
        _ = idle.splits


def test_registry() -> None:
    assert len(PROXY_TASKS) == 3
    assert HELD_OUT_TASK not in PROXY_TASKS
    assert {*PROXY_TASKS, HELD_OUT_TASK} < set(task_names())
    assert [load_task(name).name for name in task_names()] == list(task_names())
    with pytest.raises(TaskError, match="unknown task 'mnist'.*mnist_mlp.*letters_cnn"):
        load_task("mnist")


def test_the_example_of_an_own_task() -> None:
    place = f"{Path(__file__).parents[2] / 'examples' / 'own_task.py'}:Spirals"
    task = load_task(place)
    assert isinstance(task, Task)
    assert task.name == "Spirals"
    assert task.hash == load_task(place).hash
    model, train = initial_model(task, 0), task.splits.train
    loss = task.loss(model(train.inputs), train.targets)
    assert loss.shape == () and torch.isfinite(loss)


@pytest.mark.parametrize(("steps", "batch_size"), [(10, 10**20), (10**9, 1), (20_000, 20_000)])
def test_a_training_that_draws_too_many_examples_is_refused(steps: int, batch_size: int) -> None:
    """Their order alone would fill the memory."""

    class Vast(Toy):
        """A training without end."""

    Vast.steps, Vast.batch_size = steps, batch_size
    with pytest.raises(TaskError, match=r"steps times batch_size .* at most 250,000,000"):
        _ = Vast().splits
