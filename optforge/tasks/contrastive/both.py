"""Contrastive training of both towers, the image tower pre-trained by classification."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from optforge.tasks.contrastive.scores import recall, zero_shot_errors
from optforge.tasks.contrastive.shifts import SHIFTS
from optforge.tasks.contrastive.task import ImageText, TextTower, directions
from optforge.tasks.data.characters import PARTS
from optforge.tasks.images.architectures import build
from optforge.tasks.images.finetune import fit_tower
from optforge.tasks.images.tower import letters_tower
from optforge.tasks.pretrained import SCRATCH, checkpoint_content, read_weights
from optforge.tasks.splits import Data, Split
from optforge.tasks.task import Task


class BothTowers(nn.Module):
    """An image tower and a text tower that map to one space.

    Args:
        image: Maps images [B, 1, side, side] to features.
        text: Maps features and words to directions.
        side: Pixels along one edge.
    """

    def __init__(self, image: nn.Module, text: TextTower, side: int) -> None:
        super().__init__()
        self.image, self.text, self.side = image, text, side

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, side * side + 10], pixels and words, to two directions [B, 2, features]."""
        pixels, names = x[:, : self.side**2], x[:, self.side**2 :]
        features = self.image(pixels.reshape(-1, 1, self.side, self.side))
        return self.text(torch.cat([features, names], 1))


class TrainedImageText(ImageText, Task):
    """Match images of characters with their names; both towers are trained, as BASIC's.

    Names, loss and metric are as in :class:`~optforge.tasks.contrastive.LockedImageText`. So are
    the scores; those of images to names are also reported for images under noise, bent and smaller.
    The image tower is pre-trained by classification: by default on A to Z by AdamW, the same for
    every optimizer. With ``checkpoint`` the optimizer under test has trained it, as in the paper
    (``optforge.training.pretrain`` on an image task of the same architecture).

    Attributes:
        side: Pixels along one edge, a multiple of 8 from 16 on.
        image_tower: One of ``optforge.tasks.images.ARCHITECTURES``.
        features: Features of both towers.
        width: Features of a word.
        layers: Blocks of the text tower.
        heads: Attention heads of each, a divisor of the width.
        temperature: Initial factor of the cosines.
        copies: Variants of each character and typeface, for training, validation and test.
        checkpoint: A file of ``pretrain``; ``{seed}`` in it stands for the seed of the run;
            ``scratch`` for random weights; empty for the tower trained on A to Z.

    Args:
        name: The task's name, which decides the seeds; the class's name by default.
        changes: Values of attributes.

    Raises:
        TaskError: If there is no such attribute, or its value is not allowed.

    Example:
        >>> TrainedImageText("mine", features=48).features
        48

    Source: Pham et al., Combined Scaling for Zero-shot Transfer Learning (BASIC), 2021
    (arXiv:2111.10050).
    """

    features: int = 32
    checkpoint: str = ""

    def data(self) -> Data:
        """Return inputs [N, side * side + 10], pixels and words; targets: the character."""
        arrays = self.arrays()
        splits = []
        for part in PARTS:
            pixels = torch.from_numpy(arrays[f"{part}_images"]).flatten(1) / 255
            names = torch.from_numpy(arrays[f"{part}_names"]).float()
            labels = torch.from_numpy(arrays[f"{part}_labels"]).long()
            splits.append(Split(torch.cat([pixels, names], 1), labels))
        return Data(*splits)

    def model(self) -> nn.Module:
        """Return both towers with random weights."""
        image = build(self.image_tower, self.side, self.features)
        sizes = (self.width, self.layers, self.heads)
        words = len(self.arrays()["words"])
        return BothTowers(
            image, TextTower(words, self.features, sizes, self.temperature), self.side
        )

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        """Load the pre-trained image tower, all but its head.

        Raises:
            TaskError: If the checkpoint cannot be read, or is of another architecture.
        """
        if self.checkpoint == SCRATCH:
            return model
        towers: Any = model
        weights = (
            read_weights(self.checkpoint, seed, self.name)
            if self.checkpoint
            else letters_tower(self.image_tower, self.side).state_dict()
        )
        weights = {key: value for key, value in weights.items() if not key.startswith("head.")}
        towers.image.load_state_dict(fit_tower(weights, towers.image.state_dict(), self.name))
        return model

    def scores(self, model: nn.Module, seed: int) -> dict[str, float]:
        """Add recall at 1 and zero-shot errors on shifted images: noise, distortion, scale."""
        test, (names, characters) = self.splits.test, self.known_names(model)
        pixels, words = test.inputs[:, : self.side**2], test.inputs[:, self.side**2 :]
        scores = super().scores(model, seed)
        for shift, change in SHIFTS.items():
            images = change(pixels.reshape(-1, self.side, self.side)).flatten(1)
            output = directions(model, torch.cat([images, words], 1))
            missed = 1 - recall(output, test.targets, 1).item()
            errors = zero_shot_errors(output[:, 0], test.targets, names, characters)
            scores |= {f"missed_at_1_image_to_text_{shift}": missed}
            scores |= {f"{name}_{shift}": error for name, error in errors.items()}
        return scores

    def settings(self) -> dict[str, Any]:
        """Add the content of the checkpoints, in place of their paths."""
        return {**super().settings(), "checkpoint": checkpoint_content(self.checkpoint)}
