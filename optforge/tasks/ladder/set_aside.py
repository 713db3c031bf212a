"""Three families that are set aside: nothing is searched, tuned for promotion or chosen on them.

Their data, architectures and losses are unlike those of the proxies and of the ladder. The final
table of a discovery trains on them, and nothing else does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.errors import TaskError
from optforge.tasks.data.imports import import_graph, import_pairs
from optforge.tasks.data.mnist import digits
from optforge.tasks.data.photo import photo
from optforge.tasks.data.python_source import provenance
from optforge.tasks.ladder.rungs import Regression
from optforge.tasks.ladder.set_aside_models import CouplingFlow, GraphScorer, SineField
from optforge.tasks.splits import Data, Split
from optforge.tasks.task import Task


class PhotoField(Regression):
    """A photograph as a function of the place: regression, sines in the place of ReLU."""

    name = "photo_field"
    steps = 500
    batch_size = 256
    sizes = (16384, 4096, 4096)
    features = 32
    hidden = (48, 48, 48)

    def data(self) -> Data:
        """Return inputs [N, 2], targets [N, 3]."""
        return photo(self.sizes)

    def model(self) -> nn.Module:
        """Return Fourier features and three layers."""
        return SineField(self.features, self.hidden)


class DigitsFlow(Task):
    """The density of 8x8 digits by a normalizing flow: the loss is bits a pixel, above 0."""

    name = "digits_flow"
    steps = 500
    batch_size = 64
    sizes = (997, 400, 400)
    couplings = 4
    hidden = 48
    levels = 17

    def data(self) -> Data:
        """Return inputs [N, 8, 8] from 0 to 17; training pixels are whole until augmented."""
        generator = torch.Generator().manual_seed(0)
        counts = [_levels(part.inputs) for part in vars(digits(self.sizes)).values()]
        spread = [counts[0], *(x + torch.rand(x.shape, generator=generator) for x in counts[1:])]
        return Data(*(Split(x, torch.zeros(len(x))) for x in spread))

    def model(self) -> nn.Module:
        """Return a flow with four couplings."""
        return CouplingFlow(64, self.couplings, self.hidden, self.levels)

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Spread each whole number uniformly over its interval."""
        return inputs + torch.rand(inputs.shape, generator=generator), targets

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the mean bits per pixel, a bound on those of the whole numbers."""
        return -output.mean() / (64 * math.log(2))

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the negative bits per pixel."""
        return -self.loss(output, targets)


class ImportGraph(Task):
    """Which module imports which, by a graph network over the standard library."""

    name = "import_graph"
    steps = 200
    batch_size = 128
    width = 16

    def data(self) -> Data:
        """Return inputs [N, 2], two modules; targets are 1 for an import."""
        return import_pairs()

    def model(self) -> nn.Module:
        """Return a model with two graph convolutions."""
        return GraphScorer(import_graph(), self.width)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross entropy of logits."""
        return functional.binary_cross_entropy_with_logits(output, targets)

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the share of correct answers."""
        return ((output > 0) == (targets > 0.5)).to(output.dtype).mean()

    def settings(self) -> dict[str, Any]:
        """Add the version of Python and the list of files, which decide the graph."""
        return {**super().settings(), **provenance()}


SET_ASIDE: tuple[type[Task], ...] = (PhotoField, DigitsFlow, ImportGraph)


def set_aside_names() -> tuple[str, ...]:
    """Return the names of the tasks that decide nothing and are for a final table alone.

    Example:
        >>> set_aside_names()
        ('photo_field', 'digits_flow', 'import_graph')
    """
    return tuple(task.name for task in SET_ASIDE)


def refuse_set_aside(tasks: Iterable[Task], what: str) -> None:
    """Check that nothing is decided on a task that is set aside for final tables.

    Args:
        tasks: The tasks, or those derived from them.
        what: What they would be used for, such as ``a search``.

    Raises:
        TaskError: If one of them is set aside.

    Example:
        >>> refuse_set_aside([PhotoField()], "a search")
        Traceback (most recent call last):
            ...
        optforge.errors.TaskError: photo_field is set aside for the final table of a discovery, ...
    """
    names = [task.name for task in tasks if isinstance(task, SET_ASIDE)]
    if names:
        raise TaskError(
            f"{', '.join(names)} is set aside for the final table of a discovery, so that a search "
            f"cannot fit it; {what} needs other tasks, such as those that 'optforge tasks' lists"
        )


def _levels(images: Tensor) -> Tensor:
    """Return standardized pixels as the whole numbers from 0 to 16 that they came from."""
    low, high = images.min(), images.max()
    return ((images - low) * (16 / (high - low))).round()
