"""What breaks late, in a second step or for one example, is found before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks import Data, Split, Task, check_task, has_metric, users_code
from tests.helpers.tiny import Blobs, blobs

Change = Callable[[Tensor, Tensor], Any]


class Classes(Blobs):
    """Ninety examples a split, of which a batch is the first 16."""

    cache_key = "classes"  # type: ignore[assignment]
    part, change = "train", staticmethod(lambda inputs, targets: None)

    def data(self) -> Data:
        splits = {name: _copied(split) for name, split in vars(blobs()).items()}
        self.change(splits[self.part].inputs, splits[self.part].targets)
        return Data(**splits)


def _copied(split: Split) -> Split:
    return Split(split.inputs[:90].clone(), split.targets[:90].clone())


def put(where: str, row: int, value: float) -> Change:
    def change(inputs: Tensor, targets: Tensor) -> None:
        {"inputs": inputs, "targets": targets}[where][row] = value

    return change


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("targets", 80, 3), r"loss\(\) on the {} split.*Target 3 is out of bounds"),
        (put("targets", 70, -5), r"loss\(\) on the {} split.*Target -5 is out of bounds"),
        (put("inputs", 60, torch.nan), "inputs of the {} split hold NaN or infinity.*loss.. nan"),
    ],
)
def test_one_odd_example_is_found(part: str, change: Change, said: str) -> None:
    task = type("Odd", (Classes,), {"part": part, "change": staticmethod(change)})()
    with pytest.raises(TaskError, match=said.format(part)):
        check_task(task)


def test_a_token_that_the_model_lacks_is_found() -> None:
    class Tokens(Classes):
        def data(self) -> Data:
            tokens = torch.arange(90)[:, None] % 5
            tokens[77] = 9
            return Data(*(Split(tokens, torch.arange(90) % 3) for _ in range(3)))

        def model(self) -> nn.Module:
            return nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(4, 3))

    with pytest.raises(TaskError, match="model on the train split failed: IndexError"):
        check_task(Tokens())


def test_what_a_loss_leaves_out_may_be_there() -> None:
    class Masked(Classes):
        change = staticmethod(put("inputs", 60, torch.inf))

        def loss(self, output: Tensor, targets: Tensor) -> Tensor:
            known = output.isfinite().all(1)
            return super().loss(output[known], targets[known])

    check_task(Masked())
    check_task(type("Ignored", (Classes,), {"change": staticmethod(put("targets", 70, -100))})())


class Remembering(nn.Module):
    """Keeps what it computed, with all that led there."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last, self.kept = nn.Linear(4, 8), nn.Linear(8, 3), torch.zeros(8)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.inner(x) + self.kept)
        self.kept = x.mean(0)
        return self.last(x)


class Growing(nn.Module):
    """A buffer of another size for each seed."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.register_buffer("noise", torch.zeros(int(torch.randint(1, 10**6, ()))))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Remembering, "the gradient failed: RuntimeError: Trying to backward through the graph a"),
        (Growing, "built other parameters or buffers at its second call; their names and shapes"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, device="meta")), "device meta"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.LazyBatchNorm1d(affine=False)), "lazy layers"),
    ],
)
def test_what_a_second_model_or_step_shows_is_found(
    model: Callable[[], nn.Module], said: str
) -> None:
    task = type("Late", (Classes,), {"model": lambda _: model()})()
    with pytest.raises(TaskError, match=said):
        check_task(task)


def test_code_of_the_users_that_fails_later_is_named() -> None:
    with (
        pytest.raises(TaskError, match="task 'Blobs': a training failed: SystemExit: 3"),
        users_code(Blobs(), "a training"),
    ):
        raise SystemExit(3)
    failing: Any = type("Failing", (Classes,), {"metric": Task.metric, "model": lambda _: 1 / 0})
    failing.metric = Task.metric
    with pytest.raises(TaskError, match=r"metric\(\) failed: ZeroDivisionError"):
        has_metric(failing())
