"""An image tower trained to classify letters: locked, pre-trained, or for its features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.data.cache import Arrays, cached, require
from optforge.tasks.data.letters import letters
from optforge.tasks.images import photo_tower
from optforge.tasks.images.architectures import build

_STEPS, _BATCH, _RATE = 400, 64, 3e-3


def locked_features(architecture: str, side: int, images: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a locked image tower says of images, with mean 0 and deviation 1 in training.

    Of a tower for photographs, features with a deviation below the median are divided by it: some
    are all but constant on glyphs.

    The tower classifies A to Z first: AdamW, 400 steps of 64 images, half a cosine. Its head is
    left out then. ``efficientnet_lite0`` has been trained on photographs instead.

    Args:
        architecture: One of timm's, by its name in ``optforge.tasks.images``, or
            ``efficientnet_lite0``.
        side: Pixels along one edge.
        images: Images of each part, float32 [N, side, side], from 0 to 1; ``train`` among them.

    Returns:
        Features of each part, float32 [N, features].

    Raises:
        TaskError: If timm is missing.
    """
    key = {"version": 1, "architecture": architecture, "side": side, "torch": torch.__version__}
    key |= {"timm": require("timm", "timm", "vision").__version__}
    key |= {part: float(values.double().sum()) for part, values in images.items()}
    arrays = cached("tower", key, lambda: _features(architecture, side, images))
    features = {part: torch.from_numpy(arrays[part]) for part in images}
    mean, deviation = features["train"].mean(0), features["train"].std(0) + 1e-6
    if architecture == photo_tower.NAME:  # some features tell glyphs hardly apart
        deviation = deviation.clamp(min=deviation.median())
    return {part: (values - mean) / deviation for part, values in features.items()}


def letters_tower(architecture: str, side: int) -> nn.Module:
    """Return the tower that classifies A to Z, without its head, in evaluation mode.

    Args:
        architecture: One of timm's, by its name in ``optforge.tasks.images``.
        side: Pixels along one edge.

    Returns:
        The tower, from images [B, 1, side, side] with values from 0 to 1 to features.

    Raises:
        TaskError: If timm is missing.
    """
    key = {"version": 1, "architecture": architecture, "side": side, "torch": torch.__version__}
    key |= {"timm": require("timm", "timm", "vision").__version__}
    weights = cached("tower_weights", key, lambda: _weights(architecture, side))
    with torch.random.fork_rng(devices=[]):
        tower: Any = build(architecture, side, 26)
    tower.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    tower.reset_classifier(0)
    return tower.eval()


def _weights(architecture: str, side: int) -> Arrays:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = _trained(architecture, side)
    return {name: np.array(value.numpy()) for name, value in tower.state_dict().items()}


def tower_width(architecture: str, side: int) -> int:
    """Return the number of features of a locked tower.

    Example:
        >>> tower_width("vit_tiny", 16), tower_width("efficientnet_lite0", 16)
        (16, 1280)
    """
    if architecture == photo_tower.NAME:
        return photo_tower.FEATURES
    tower: Any = build(architecture, side, 1)
    return tower.num_features


def _features(architecture: str, side: int, images: dict[str, Tensor]) -> Arrays:
    if architecture == photo_tower.NAME:
        return {part: photo_tower.photo_features(x).numpy() for part, x in images.items()}
    tower = letters_tower(architecture, side)
    with torch.no_grad():
        return {part: tower(x.unsqueeze(1)).numpy() for part, x in images.items()}


def _trained(architecture: str, side: int) -> nn.Module:
    data = letters(side).train
    low, high = data.inputs.aminmax()
    inputs = ((data.inputs - low) / (high - low)).unsqueeze(1)
    tower = build(architecture, side, 26)
    optimizer = torch.optim.AdamW(tower.parameters(), _RATE, weight_decay=0.1)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        chosen = torch.randint(len(inputs), (_BATCH,))
        loss = functional.cross_entropy(tower(inputs[chosen]), data.targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return tower
