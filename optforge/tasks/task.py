"""The definition of a task: its data, model, loss and budget, without any optimizer."""

from __future__ import annotations

import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.errors import (
    USERS_ERRORS,
    OptforgeError,
    TaskError,
    one_line,
    real_number,
    whole_number,
)
from optforge.options import plain_value
from optforge.tasks.random_state import python_and_numpy
from optforge.tasks.splits import Data, checked_data, raw_values
from optforge.tasks.task_content import task_content

_PLAIN = (bool, int, float, str, tuple)  # public attributes of these kinds are settings of a task
_NAME = 200  # bytes; names of files are made of it
MOST_EXAMPLES = 250_000_000  # that a training draws; their order takes 8 bytes each


class Task(ABC):
    """Data, model, loss, metric and budget; subclass it and implement ``data`` and ``model``.

    The model must run under ``torch.func.functional_call`` and ``torch.vmap`` over stacked
    parameters to train fast: no data-dependent control flow, no in-place change of its inputs.

    Attributes:
        name: The task's name; by default the name of the class.
        steps: The number of training steps.
        batch_size: The number of examples in a step.
        warmup: The share of the steps in which the schedule rises.
        target: The validation loss at which a comparison counts a run as having arrived; None for
            no target.
        evaluation_period: Number of steps between validations of a comparison; None to validate
            only at the end. Neither this nor ``target`` enters the hash, since neither changes what
            is trained.
        version: Raised by hand when the computation of a shipped task changes; its runs are then
            repeated. A refactoring does not change it.
        cache_key: A text that identifies the code of your own task. Without it, the files in which
            the task is defined identify it, so that every edit of them, even of a comment, repeats
            its runs. A task that was defined in a notebook needs one.

    Example:
        >>> from optforge.tasks import Data, Split
        >>> class Line(Task):
        ...     steps = 20
        ...     def data(self):
        ...         x = torch.linspace(-1, 1, 90)[:, None]
        ...         return Data(*(Split(x[i::3], 2 * x[i::3]) for i in range(3)))
        ...     def model(self):
        ...         return nn.Linear(1, 1)
        ...     def loss(self, output, targets):
        ...         return ((output - targets) ** 2).mean()
        >>> Line().name, len(Line().splits.train)
        ('Line', 30)
    """

    name: str = ""
    steps: int = 150
    batch_size: int = 64
    warmup: float = 0.1
    target: float | None = None
    evaluation_period: int | None = None
    version: int = 1
    cache_key: str = ""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    @abstractmethod
    def data(self) -> Data:
        """Build the three splits, the same at every call; ``splits`` caches the result."""

    @abstractmethod
    def model(self) -> nn.Module:
        """Build a fresh model, initialized from torch's global generator."""

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model to start from: the fresh one, or a pre-trained one."""
        return model

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return a randomly changed training batch; unchanged unless a task overrides this.

        Args:
            inputs: Inputs of a training batch, [B, ...]; must not be changed in place.
            targets: Targets of the batch; must not be changed in place.
            generator: The only source of randomness, the same for every optimizer.

        Returns:
            Inputs and targets; targets may be float [B, classes] if ``loss`` accepts them.
        """
        return inputs, targets

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch; cross entropy unless a task overrides this.

        Args:
            output: Logits, float [B, V] or [B, T, V].
            targets: Classes, int64 [B] or [B, T].

        Returns:
            Float [].
        """
        return functional.cross_entropy(output.flatten(0, -2), targets.flatten())

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the share of correct answers; override it for another measure.

        Higher is better: a comparison with ``objective="metric"`` chooses the highest, and tables
        print it times 100. For an error, return its negative. If targets are not classes, there are
        no correct answers, and the result is NaN, which stands for no metric.
        """
        answers = output.argmax(-1)
        if targets.is_floating_point() or answers.numel() != targets.numel():
            return torch.full((), torch.nan, device=output.device)
        return (answers.flatten() == targets.flatten()).to(output.dtype).mean()

    def scores(self, model: nn.Module, seed: int) -> dict[str, float]:
        """Return further scores of a trained model on test data by name; lower is better.

        A comparison with ``extras = ["scores"]`` computes them in its final runs and compares them
        by their ratio. There are none unless a task overrides this.

        Args:
            model: The model, in evaluation mode.
            seed: Seed of the run, for scores that draw random numbers.
        """
        return {}

    @cached_property
    def splits(self) -> Data:
        """The data, built and checked at first use, then cached."""
        _make_plain(self)
        try:
            data = self.data()
        except OptforgeError:
            raise
        except USERS_ERRORS as error:
            raise TaskError(
                f"task {self.name!r}: data() failed: {one_line(error)}; it returns the data as Data"
            ) from error
        return checked_data(self.name, data)

    def settings(self) -> dict[str, Any]:
        """Return everything that enters the hash besides the data.

        Returns:
            The public attributes that are plain values, the name and shape of every parameter, and
            the identity of the task's code: digests of the files that define it and its model, or
            its ``cache_key``; for a shipped task, a fixed text and its version.

        Raises:
            TaskError: If a user's task was not defined in a file and has no ``cache_key``.
        """
        model = fresh_model(self, 0)  # without `prepare`, which may need a file
        shapes = {name: list(value.shape) for name, value in model.named_parameters()}
        classes = [cls for cls in type(self).__mro__ if issubclass(cls, Task) and cls is not Task]
        content = task_content(self, classes, model)
        return {**_plain_attributes(self), "parameters": shapes, "source": content}

    @cached_property
    def hash(self) -> str:
        """Sixteen hexadecimal digits over settings and data; a different task has other digits."""
        splits = self.splits  # which makes settings plain that are NumPy numbers
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for split in (splits.train, splits.validation, splits.test):
            for value in (split.inputs, split.targets):
                digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
                digest.update(raw_values(value))
        return digest.hexdigest()[:16]


def fresh_model(task: Task, seed: int) -> nn.Module:
    """Return the result of ``model`` before ``prepare``; global generators are left unchanged."""
    own_seed = content_seed(task, seed, "model")
    with torch.random.fork_rng(devices=[]), python_and_numpy(own_seed):
        torch.default_generator.manual_seed(own_seed)
        return task.model()


def content_seed(task: Task, seed: int, purpose: str) -> int:
    """Return a seed that depends only on the task's name, a seed and a purpose."""
    text = f"{task.name}|{seed}|{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _make_plain(task: Task) -> None:
    """Reject budgets that cannot train anything; convert NumPy numbers to plain ones."""
    for name in {*dir(type(task)), *vars(task)}:
        value = inspect.getattr_static(task, name)
        if isinstance(value, numpy.generic | tuple) and not name.startswith("_"):
            _set(task, name, plain_value(value))
    _check_name(task)
    where = f"of task {task.name!r}"
    for name, least in (("steps", 1), ("batch_size", 1), ("evaluation_period", 1)):
        value = getattr(task, name)
        if value is not None or name != "evaluation_period":
            _set(task, name, whole_number(f"{name} {where}", value, least, TaskError))
    if (drawn := task.steps * task.batch_size) > MOST_EXAMPLES:
        raise TaskError(
            f"steps times batch_size {where} is {drawn:,}; a training may draw at most "
            f"{MOST_EXAMPLES:,} examples: give fewer steps or smaller batches"
        )
    if task.target is not None:
        _set(task, "target", real_number(f"target {where}", task.target, wrong=TaskError))
    share = real_number(f"warmup {where}", task.warmup, wrong=TaskError)
    if not 0 <= share <= 1:
        raise TaskError(f"warmup {where} is {share}; it is a share of the steps, from 0 to 1")
    if not isinstance(task.warmup, int | float):  # another kind of number
        _set(task, "warmup", share)


def _set(task: Task, name: str, value: Any) -> None:
    """Set an attribute, unless it has this value: a frozen task stays as it is."""
    if getattr(task, name) is not value:
        setattr(task, name, value)


def _check_name(task: Task) -> None:
    """Reject a name that no file, table or page can show."""
    name: object = task.name
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.encode()) <= _NAME:
        shown = repr(name) if len(repr(name)) < _NAME else f"{repr(name)[:40]}..."
        raise TaskError(
            f"the name of a task of class {type(task).__name__} is {shown}; it must be a text of "
            f"printable characters, of 1 to {_NAME} bytes"
        )


def _plain_attributes(task: Task) -> dict[str, Any]:
    apart = {"hash", "target", "evaluation_period", "cache_key"}
    if task.version == 1:
        apart.add("version")  # so that hashes which are older than versions hold
    settings = {
        name: getattr(task, name)
        for name in {*dir(type(task)), *vars(task)} - apart
        if not name.startswith("_")
        # Looked up without calling properties: `splits` and `hash` would recurse.
        and isinstance(inspect.getattr_static(task, name), _PLAIN)
    }
    for name, value in settings.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise TaskError(
                f"the attribute {name} of task {task.name!r} cannot be stored ({error}); public "
                "attributes are settings: give numbers and texts, or a name that begins with _"
            ) from error
    return {name: list(v) if isinstance(v, tuple) else v for name, v in sorted(settings.items())}
