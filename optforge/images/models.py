"""The presets' models, from timm, at full size or reduced to try the pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from optforge.errors import TrainingError
from optforge.images.packages import package
from optforge.images.presets import ImagePreset

# The same architecture at a width and depth that train on a laptop.
REDUCED: dict[str, dict[str, Any]] = {
    "vit": {"embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0},
    "mixer": {"embed_dim": 48, "num_blocks": 2},
    "resnet": {"layers": (1, 1, 1, 1), "channels": (8, 16, 24, 32)},
    "coatnet": {"embed_dim": (32, 32, 32, 32), "depths": (1, 1, 1, 1), "stem_width": 8},
}


def build_model(
    preset: ImagePreset,
    classes: int = 1000,
    image_size: int | None = None,
    reduced: bool = False,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build a preset's model with random weights; nothing is downloaded.

    Args:
        preset: Which one.
        classes: Number of classes.
        image_size: Pixels along one edge; the preset's by default.
        reduced: Few narrow layers of the same kind, to try the pipeline.
        device: ``meta`` builds without memory, to count.

    Returns:
        The model, from [B, 3, size, size] to logits [B, classes], in training mode.

    Raises:
        TrainingError: If timm is missing or the size does not fit the architecture.

    Example:
        >>> from optforge.images.presets import preset
        >>> model = build_model(preset("vit_s16"), device="meta")
        >>> round(sum(p.numel() for p in model.parameters()) / 1e6, 2)
        22.05
    """
    timm: Any = package("timm")
    size = preset.image_size if image_size is None else image_size
    family = preset.model.split("_")[0].rstrip("0123456789")
    if size < 1 or size % _grain(preset.model, family):
        raise TrainingError(
            f"{preset.model} takes images whose edge is a multiple of "
            f"{_grain(preset.model, family)} pixels, not {size}"
        )
    options: dict[str, Any] = dict(preset.options)
    if family != "resnet":
        options["img_size"] = size
    if preset.dropout:
        options |= {"pos_drop_rate": preset.dropout, "proj_drop_rate": preset.dropout}
    if preset.stochastic_depth:
        options["drop_path_rate"] = preset.stochastic_depth
    if family == "vit":
        options["weight_init"] = "jax" if torch.device(device).type != "meta" else "skip"
    if reduced:
        options |= REDUCED[family]
    make = timm.create_model
    if reduced and family == "mixer":  # timm's entry points fix a Mixer's sizes
        mixer: Any = package("timm.models.mlp_mixer").MlpMixer
        make = partial(_without_name, partial(mixer, patch_size=16))
    with torch.device(device):
        return make(preset.model, num_classes=classes, **options)


def _grain(model: str, family: str) -> int:
    """Pixels that the edge of an image is a multiple of: a patch, or all strides together."""
    if family == "resnet":
        return 1
    patch = re.search(r"patch(\d+)", model)
    return int(patch.group(1)) if patch else {"mixer": 16, "coatnet": 32}[family]


def _without_name(make: Callable[..., nn.Module], name: str, **options: Any) -> nn.Module:
    return make(**options)
