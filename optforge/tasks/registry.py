"""The shipped tasks and the table of their names. Sizes are class attributes: change them here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import nn

from optforge.errors import TaskError
from optforge.tasks.contrastive.table import CONTRASTIVE_TASKS, contrastive_task
from optforge.tasks.data.letters import letters
from optforge.tasks.data.mnist import digits, mnist
from optforge.tasks.data.python_source import provenance, python_source
from optforge.tasks.diffusion.table import DIFFUSION_TASKS, diffusion_task
from optforge.tasks.files import is_place, task_from_file
from optforge.tasks.held_out import NamesCNN
from optforge.tasks.images.table import IMAGE_TASKS, image_task
from optforge.tasks.ladder import LADDER, SANITY, SET_ASIDE
from optforge.tasks.language.table import LANGUAGE_TASKS, language_task
from optforge.tasks.models import (
    MLP,
    CausalTransformer,
    ConvNet,
    TransformerSize,
    VisionTransformer,
)
from optforge.tasks.paper import PAPER_TASKS
from optforge.tasks.splits import Data
from optforge.tasks.task import Task


class MnistMLP(Task):
    """MNIST at 14x14, one hidden layer: the cheapest proxy."""

    name = "mnist_mlp"
    version = 2
    steps = 150
    batch_size = 16  # noise of the gradient tells rules that hold elsewhere from those that do not
    sizes = (1600, 1700, 1700)  # a thousand images to choose by, or to judge by, decide by luck
    pool = 2
    hidden = (32,)

    def data(self) -> Data:
        """Return inputs [N, 14, 14]."""
        return mnist(self.sizes, self.pool)

    def model(self) -> nn.Module:
        """Return an MLP 196-32-10."""
        return MLP(((28 // self.pool) ** 2, *self.hidden, 10))


class MnistViT(Task):
    """MNIST at 14x14, a three-layer Vision Transformer over four patches."""

    name = "mnist_vit"
    steps = 120
    batch_size = 16
    sizes = (1600, 1700, 1700)
    pool = 2
    patch = 7
    width = 16
    layers = 3
    heads = 1
    expansion = 2

    def data(self) -> Data:
        """Return inputs [N, 14, 14]."""
        return mnist(self.sizes, self.pool)

    def model(self) -> nn.Module:
        """Return the Vision Transformer."""
        size = TransformerSize(self.width, self.layers, self.heads, self.expansion)
        return VisionTransformer(28 // self.pool, self.patch, 10, size)


class PythonTransformer(Task):
    """Python source by character, a two-layer causal Transformer, 128 tokens a step."""

    name = "python_transformer"
    steps = 120
    batch_size = 8
    train_sequences = 4096
    evaluation_sequences = 256
    length = 16
    vocabulary = 64
    width = 16
    layers = 2
    heads = 1
    expansion = 2

    def data(self) -> Data:
        """Return inputs and targets [N, length]."""
        return python_source(
            self.train_sequences, self.evaluation_sequences, self.length, self.vocabulary
        )

    def model(self) -> nn.Module:
        """Return the language model."""
        size = TransformerSize(self.width, self.layers, self.heads, self.expansion)
        return CausalTransformer(self.vocabulary, self.length, size)

    def settings(self) -> dict[str, Any]:
        """Add the version of Python and the list of files, which decide the text."""
        return {**super().settings(), **provenance()}


class PythonTransformerB(PythonTransformer):
    """Task B of the benchmarks: the same text, width 32, about 30 K parameters."""

    name = "python_transformer_b"
    steps = 200
    batch_size = 16
    length = 32
    evaluation_sequences = 128
    width = 32
    heads = 2
    expansion = 4


class DigitsMLP(Task):
    """Task A of the benchmarks: 8x8 digits, an MLP 64-64-10."""

    name = "digits_mlp"
    steps = 200
    batch_size = 64
    sizes = (997, 400, 400)
    hidden = (64,)

    def data(self) -> Data:
        """Return inputs [N, 8, 8]."""
        return digits(self.sizes)

    def model(self) -> nn.Module:
        """Return an MLP 64-64-10."""
        return MLP((64, *self.hidden, 10))


class LettersCNN(Task):
    """Letters from fonts, split by typeface, a small convolutional network."""

    name = "letters_cnn"
    steps = 100
    batch_size = 64
    side = 16
    copies = (6, 5, 4)
    channels = (8, 16)

    def data(self) -> Data:
        """Return inputs [N, side, side]."""
        return letters(self.side, self.copies)

    def model(self) -> nn.Module:
        """Return two strided convolutions and a linear map."""
        return ConvNet(self.side, self.channels, 26)


TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        MnistMLP,
        MnistViT,
        PythonTransformer,
        NamesCNN,
        LettersCNN,
        DigitsMLP,
        PythonTransformerB,
    )
}
PROXY_TASKS: tuple[str, ...] = (MnistMLP.name, MnistViT.name, PythonTransformer.name)
HELD_OUT_TASK: str = NamesCNN.name


def task_names() -> tuple[str, ...]:
    """Return the names of the shipped tasks: proxies, the held-out one, benchmarks.

    Returns:
        The names.

    Example:
        >>> "digits_mlp" in task_names()
        True
    """
    return tuple(TASKS)


# By name: the names of their tasks, and what builds one of them; models come with extras.
FAMILIES: Mapping[str, tuple[Collection[str], Callable[[str], Task | None]]] = {
    "images": (IMAGE_TASKS, image_task),
    "language": (LANGUAGE_TASKS, language_task),
    "diffusion": (DIFFUSION_TASKS, diffusion_task),
    "contrastive": (CONTRASTIVE_TASKS, contrastive_task),
}


def family_task_names(family: str) -> tuple[str, ...]:
    """Return the names of the tasks of a family of ``FAMILIES``.

    They are for comparisons and need extras: ``vision``, ``language`` or ``diffusion``.

    Example:
        >>> "letters_resnet" in family_task_names("images")
        True
    """
    return tuple(FAMILIES[family][0])


_NEVER_SEARCHED = {task.name: task for task in (*LADDER, *SANITY, *SET_ASIDE)}
_PRESETS = {task.name: task for task in PAPER_TASKS}


def ladder_task_names() -> tuple[str, ...]:
    """Return the names of the tasks of the ladder, cheapest first.

    Example:
        >>> ladder_task_names()[0]
        'mnist_autoencoder'
    """
    return tuple(task.name for task in LADDER)


def is_shipped(task: Task) -> bool:
    """Return whether a task is one of optforge's own, so that it needs no check.

    Example:
        >>> is_shipped(load_task("mnist_mlp")), is_shipped(load_task("shakespeare_gpt"))
        (True, True)
    """
    return type(task) in (TASKS.get(task.name), _NEVER_SEARCHED.get(task.name))


def is_shipped_name(name: str) -> bool:
    """Return whether a task of this name is shipped; its class is not called."""
    families = (names for names, _ in FAMILIES.values())
    return any(name in names for names in (TASKS, _NEVER_SEARCHED, _PRESETS, *families))


def load_task(name: str) -> Task:
    """Load a shipped task by name, or your own by file; its data is built on first use.

    Args:
        name: One of ``task_names()``, ``ladder_task_names()`` or ``family_task_names(family)``, a
            task that is set aside, one of the paper's proxies (``paper_vision``,
            ``paper_language``), or ``file.py:Class``; that file is run.

    Returns:
        A new instance.

    Raises:
        TaskError: If there is no such task, or its file or class fails.

    Example:
        >>> load_task("mnist_vit").steps
        120
    """
    for table in (TASKS, _NEVER_SEARCHED, _PRESETS):
        if name in table:
            return table[name]()
    if is_place(name):
        return task_from_file(name)
    for names, build in FAMILIES.values():
        if name in names and (task := build(name)) is not None:
            return task
    raise TaskError(
        f"unknown task {name!r}; there are: {', '.join(task_names())}, and those that 'optforge "
        f"tasks --family {'|'.join(FAMILIES)}' lists; a task of your own is given as file.py:Class"
    )


def find_tasks(names: Sequence[str], tasks: Sequence[Task] = ()) -> list[Task]:
    """Return the tasks of a run: those given, or shipped ones.

    Args:
        names: Names of the run's tasks.
        tasks: The user's own tasks.

    Returns:
        One task per name, in order.

    Raises:
        TaskError: If a name is neither given nor shipped.

    Example:
        >>> [task.name for task in find_tasks(["digits_mlp"])]
        ['digits_mlp']
    """
    by_name = {task.name: task for task in tasks}
    return [by_name[name] if name in by_name else _shipped(name) for name in names]


def _shipped(name: str) -> Task:
    try:
        return load_task(name)
    except TaskError as error:
        raise TaskError(
            f"the run was made with the task {name!r}, which is not a shipped one; hand it over "
            "again (tasks=[...] in Python, --tasks file.py:Class on the command line)"
        ) from error
