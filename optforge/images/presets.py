"""The paper's image trainings as settings: model, budget, augmentation, optimizers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from optforge.errors import TrainingError


@dataclass(frozen=True)
class OptimizerSettings:
    """What one optimizer was tuned to.

    Args:
        lr: Peak learning rate.
        weight_decay: Decoupled, times the rate of the step; for SGD L2, added to the gradient.
        betas: Of AdamW and Lion; momentum and the cap of the second moment's for Adafactor;
            momentum and nothing for SGD.
    """

    lr: float
    weight_decay: float
    betas: tuple[float, float]


@dataclass(frozen=True)
class ImagePreset:
    """One row of the paper's image trainings.

    Args:
        name: How the command line calls it.
        model: timm's name of the architecture.
        parameters: In millions, as the paper reports them at ``final_size`` and 1000 classes.
        optimizers: Settings by optimizer's name.
        data: What it was trained on.
        options: Further options of timm's model.
        image_size: Pixels along one edge in (pre-)training.
        final_size: Pixels along one edge when fine-tuned; the same where nothing was.
        epochs: Passes over the data; None where the paper gives none.
        batch_size: Images a step, all processes together.
        warmup_steps: Steps in which the rate rises; then it falls along a cosine.
        dropout: Share of activations dropped (Vision Transformers only).
        stochastic_depth: Share of residual branches dropped at the last block.
        randaugment: Operations an image, and magnitude on a scale of 10 that may be exceeded.
        mixup: Parameter of Mixup's Beta distribution; 0: none.
        clip_norm: Gradients are scaled down to this global norm.
    """

    name: str
    model: str
    parameters: float
    optimizers: dict[str, OptimizerSettings]
    data: str = "ImageNet"
    options: dict[str, Any] = field(default_factory=dict)
    image_size: int = 224
    final_size: int = 224
    epochs: float | None = 300
    batch_size: int = 4096
    warmup_steps: int = 10_000
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    randaugment: tuple[int, int] | None = None
    mixup: float = 0.0
    clip_norm: float | None = 1.0

    def settings_of(self, optimizer: str) -> OptimizerSettings | None:
        """The paper's settings of an optimizer, or None where it gives none."""
        return self.optimizers.get(optimizer)


def preset(name: str) -> ImagePreset:
    """Look a preset up.

    Raises:
        TrainingError: If there is none of that name.

    Example:
        >>> preset("vit_b16_augmented").optimizers["lion"]
        OptimizerSettings(lr=0.0001, weight_decay=10.0, betas=(0.9, 0.99))
    """
    if name not in PRESETS:
        raise TrainingError(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


def _both(
    adamw: tuple[float, float], lion: tuple[float, float], baseline: str = "adamw"
) -> dict[str, OptimizerSettings]:
    """Rates and decays of table 12, with its betas."""
    return {
        baseline: OptimizerSettings(*adamw, (0.9, 0.999)),
        "lion": OptimizerSettings(*lion, (0.9, 0.99)),
    }


_STRONG: dict[str, Any] = {"randaugment": (2, 15), "mixup": 0.5}
_DROPPED: dict[str, Any] = {"dropout": 0.1, "stochastic_depth": 0.1}
_IN21K: dict[str, Any] = {"data": "ImageNet-21K", "final_size": 384, "epochs": 90, **_DROPPED}
_JFT: dict[str, Any] = {"data": "JFT-300M"}
_JFT_3B: dict[str, Any] = {"data": "JFT-3B", "epochs": None, "final_size": 518}
# The largest two read their patches by attention (MAP) instead of a class token.
_MAP: dict[str, Any] = {"options": {"global_pool": "map", "class_token": False}}
# The paper trains ResNet with momentum SGD too and does not say how: as Goyal et al., 2017.
_SGD = OptimizerSettings(0.4, 1e-4, (0.9, 0.0))

_LIST = (
    ImagePreset(
        "resnet50",
        "resnet50",
        25.56,
        {**_both((3e-3, 0.1), (3e-4, 1.0)), "sgd": _SGD},
        epochs=90,
        batch_size=1024,
        clip_norm=None,
    ),
    ImagePreset(
        "mixer_s16",
        "mixer_s16_224",
        18.53,
        _both((1e-2, 0.3), (3e-3, 1.0)),
        stochastic_depth=0.1,
    ),
    ImagePreset(
        "mixer_b16",
        "mixer_b16_224",
        59.88,
        _both((1e-2, 0.3), (3e-3, 3.0)),
        stochastic_depth=0.1,
    ),
    ImagePreset(
        "vit_s16", "vit_small_patch16_224", 22.05, _both((1e-2, 0.1), (1e-3, 1.0)), **_DROPPED
    ),
    ImagePreset(
        "vit_s16_augmented",
        "vit_small_patch16_224",
        22.05,
        _both((3e-3, 0.1), (3e-4, 1.0)),
        **_STRONG,
    ),
    ImagePreset(
        "vit_b16", "vit_base_patch16_224", 86.57, _both((3e-3, 0.3), (1e-3, 1.0)), **_DROPPED
    ),
    ImagePreset(
        "vit_b16_augmented",
        "vit_base_patch16_224",
        86.57,
        _both((1e-3, 1.0), (1e-4, 10.0)),
        **_STRONG,
    ),
    ImagePreset(
        "coatnet_1",
        "coatnet_1_224",
        42.23,
        _both((1e-3, 0.05), (2e-4, 1.0)),
        stochastic_depth=0.3,
        randaugment=(2, 15),
        mixup=0.8,
    ),
    ImagePreset(
        "coatnet_3",
        "coatnet_3_224",
        166.97,
        _both((1e-3, 0.05), (2e-4, 1.0)),
        stochastic_depth=0.7,
        randaugment=(2, 15),
        mixup=0.8,
    ),
    ImagePreset(
        "vit_b16_in21k", "vit_base_patch16_224", 86.86, _both((1e-3, 0.1), (1e-4, 0.3)), **_IN21K
    ),
    ImagePreset(
        "vit_l16_in21k", "vit_large_patch16_224", 304.72, _both((1e-3, 0.3), (1e-4, 1.0)), **_IN21K
    ),
    ImagePreset(
        "vit_b16_jft",
        "vit_base_patch16_224",
        86.86,
        _both((6e-4, 0.1), (1e-4, 0.3)),
        epochs=7,
        final_size=384,
        **_JFT,
    ),
    ImagePreset(
        "vit_l16_jft",
        "vit_large_patch16_224",
        305.18,
        _both((3e-4, 0.1), (1e-4, 0.3)),
        epochs=14,
        final_size=512,
        **_JFT,
    ),
    ImagePreset(
        "vit_h14_jft",
        "vit_huge_patch14_224",
        633.47,
        _both((3e-4, 0.1), (3e-5, 0.3)),
        epochs=14,
        final_size=518,
        **_JFT,
    ),
    ImagePreset(
        "vit_small_g14_jft",
        "vit_giant_patch14_224",
        1040.0,
        _both((8e-4, 0.03), (3e-5, 0.3), "adafactor"),
        **_JFT_3B,
        **_MAP,
    ),
    ImagePreset(
        "vit_large_g14_jft",
        "vit_gigantic_patch14_224",
        1880.0,
        _both((8e-4, 0.03), (3e-5, 0.3), "adafactor"),
        **_JFT_3B,
        **_MAP,
    ),
)
PRESETS: dict[str, ImagePreset] = {one.name: one for one in _LIST}
