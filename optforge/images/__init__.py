"""Full-size image training as the paper did it: presets, data, a trainer, checkpoints.

Example:
    >>> from optforge.images import preset
    >>> preset("vit_b16").optimizers["lion"].lr
    0.001
"""

from __future__ import annotations

from optforge.images.choices import Changes, Machine
from optforge.images.data import ImageData, open_data
from optforge.images.models import build_model
from optforge.images.optimizers import OPTIMIZERS, make_optimizer
from optforge.images.plan import Plan, make_plan
from optforge.images.presets import PRESETS, ImagePreset, OptimizerSettings, preset
from optforge.images.run import Trained, Watch, train_images
from optforge.images.trainer import Trainer

__all__ = [
    "OPTIMIZERS",
    "PRESETS",
    "Changes",
    "ImageData",
    "ImagePreset",
    "Machine",
    "OptimizerSettings",
    "Plan",
    "Trained",
    "Trainer",
    "Watch",
    "build_model",
    "make_optimizer",
    "make_plan",
    "open_data",
    "preset",
    "train_images",
]
