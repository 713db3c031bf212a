"""An image task: a data set, one of timm's architectures, and how it is augmented."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.errors import TaskError
from optforge.tasks.attributes import set_attributes
from optforge.tasks.data.glyphs import glyphs
from optforge.tasks.data.letters import letters
from optforge.tasks.data.mnist import mnist_at
from optforge.tasks.images.architectures import build
from optforge.tasks.images.augment import StrongAugmentation
from optforge.tasks.splits import Data, Split
from optforge.tasks.task import Task

AUGMENTATIONS = ("none", "strong")
CLASSES = {"letters": 26, "mnist": 10, "glyphs": 100}


class ImageTask(Task):
    """Classify small images with one of timm's architectures.

    Attributes:
        dataset: ``letters`` and ``glyphs`` (fonts, split by typeface) or ``mnist`` (5,000 images).
        architecture: See ``optforge.tasks.images.ARCHITECTURES``.
        side: Pixels along one edge, a multiple of 8 from 16 on.
        augmentation: ``none``, or ``strong``: RandAugment and Mixup, in training only.
        randaugment: Operations an image, and their magnitude from 0 to 30.
        mixup: Parameter of Mixup's Beta distribution.
        dropout: Share of activations dropped (Vision Transformers only).
        stochastic_depth: Share of residual branches dropped at the last block.

    Args:
        name: The task's name, which decides the seeds; the class's name by default.
        changes: Values of attributes.

    Raises:
        TaskError: If there is no such attribute, or its value is not allowed.

    Example:
        >>> task = ImageTask("mine", architecture="mixer_small", steps=50)
        >>> task.name, task.steps, task.classes
        ('mine', 50, 26)
    """

    steps = 200
    batch_size = 64
    dataset: str = "letters"
    architecture: str = "vit_small"
    side: int = 16
    augmentation: str = "none"
    randaugment: tuple[int, int] = (2, 10)
    mixup: float = 0.5
    dropout: float = 0.0
    stochastic_depth: float = 0.0

    def __init__(self, name: str = "", **changes: Any) -> None:
        set_attributes(self, "an image task", name, changes)

    @property
    def classes(self) -> int:
        """Number of classes."""
        self._check()
        return CLASSES[self.dataset]

    def data(self) -> Data:
        """Return inputs [N, 1, side, side]."""
        self._check()
        flat = self._flat()
        parts = (flat.train, flat.validation, flat.test)
        return Data(*(Split(part.inputs.unsqueeze(1), part.targets) for part in parts))

    def model(self) -> nn.Module:
        """Return the architecture with random weights."""
        return build(
            self.architecture, self.side, self.classes, self.dropout, self.stochastic_depth
        )

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Apply RandAugment and Mixup if they are selected."""
        if self.augmentation == "none":
            return inputs, targets
        augmentation = StrongAugmentation(
            *self.randaugment, mixup=self.mixup, classes=self.classes, limits=self._limits
        )
        return augmentation(inputs, targets, generator)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross entropy; targets are classes [B] or probabilities [B, V]."""
        return functional.cross_entropy(output, targets)

    @property
    def _limits(self) -> tuple[float, float]:
        """Return the values of black and white, which both occur in the training images."""
        low, high = self.splits.train.inputs.aminmax()
        return low.item(), high.item()

    def _flat(self) -> Data:
        if self.dataset == "letters":
            return letters(self.side)
        if self.dataset == "glyphs":
            return glyphs(self.side, (12, 3, 3), CLASSES["glyphs"])
        return mnist_at(self.side)

    def _check(self) -> None:
        for key, allowed in (("dataset", tuple(CLASSES)), ("augmentation", AUGMENTATIONS)):
            if getattr(self, key) not in allowed:
                raise TaskError(
                    f"{key} of task {self.name!r} is {getattr(self, key)!r}; "
                    f"allowed are {', '.join(allowed)}"
                )
