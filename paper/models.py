"""The models of the paper's image presets, from timm, at full size or reduced; two towers."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn
from torch.nn import functional

from paper.options import TrainingError

if TYPE_CHECKING:
    from paper import contrastive, images

# The same architectures at a width and depth that train on a laptop.
REDUCED: dict[str, dict[str, Any]] = {
    "vit": {"embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0},
    "mixer": {"embed_dim": 48, "num_blocks": 2},
    "resnet": {"layers": (1, 1, 1, 1), "channels": (8, 16, 24, 32)},
    "coatnet": {"embed_dim": (32, 32, 32, 32), "depths": (1, 1, 1, 1), "stem_width": 8},
}


def build_model(
    config: images.Config | contrastive.Config, classes: int = 1000, device: str = "cpu"
) -> nn.Module:
    """Build the model with random weights; nothing is downloaded.

    Args:
        config: The configuration.
        classes: Number of classes, or 0 for features without a head.
        device: ``meta`` builds without memory, to count parameters.

    Returns:
        The model, from [B, 3, size, size] to logits [B, classes], in training mode.

    Raises:
        TrainingError: If the image size does not fit the architecture.

    Example:
        >>> from paper.images import load_preset
        >>> model = build_model(load_preset("vit_s16"), device="meta")
        >>> round(sum(p.numel() for p in model.parameters()) / 1e6, 2)
        22.05
    """
    family = config.model.split("_")[0].rstrip("0123456789")
    patch = re.search(r"patch(\d+)", config.model)
    grain = int(patch[1]) if patch else {"mixer": 16, "coatnet": 32}.get(family, 1)
    if config.image_size % grain:
        raise TrainingError(
            f"{config.model} needs images whose edge is a multiple of {grain} pixels, not "
            f"{config.image_size}"
        )
    options = dict(config.model_options or {})
    if family != "resnet":
        options["img_size"] = config.image_size
    if config.dropout:
        options |= {"pos_drop_rate": config.dropout, "proj_drop_rate": config.dropout}
    if config.stochastic_depth:
        options["drop_path_rate"] = config.stochastic_depth
    if family == "vit":
        options["weight_init"] = "skip" if device == "meta" else "jax"
    make = partial(timm.create_model, config.model)
    if config.reduced:
        options |= REDUCED[family]
        if family == "mixer":  # timm's entry points fix a Mixer's sizes
            make = partial(MlpMixer, patch_size=16)
    with torch.device(device):
        return make(num_classes=classes, **options)


class Towers(nn.Module):
    """An image tower and a text tower that point into one space.

    Args:
        image: Maps images [B, 3, size, size] to features [B, D].
        text: Maps tokens int64 [B, length] to features [B, D].
        temperature: Initial factor of the cosines, which is trained.
        locked: Whether the image tower stays as it is, in evaluation mode.
    """

    def __init__(self, image: nn.Module, text: nn.Module, temperature: float, locked: bool) -> None:
        super().__init__()
        self.image, self.text, self.locked = image, text, locked
        self.log_scale = nn.Parameter(torch.tensor(math.log(temperature)))
        image.requires_grad_(not locked)

    def train(self, mode: bool = True) -> Towers:
        """Set the mode of what is trained."""
        super().train(mode)
        if self.locked:
            self.image.eval()
        return self

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that are spared, as both towers say."""
        towers = {"image": self.image, "text": self.text}
        spared = {k: getattr(tower, "no_weight_decay", set)() for k, tower in towers.items()}
        return {f"{key}.{name}" for key, names in spared.items() for name in names}

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Return directions [B, 2, D] of images and texts, and the factor of their cosines."""
        both = torch.stack([self.image(images).float(), self.text(texts).float()], 1)
        return functional.normalize(both, dim=2), self.log_scale.exp()
