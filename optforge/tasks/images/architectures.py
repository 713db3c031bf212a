"""timm's architectures at tiny sizes, built from settings; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks.data.cache import require

PATCH = 4  # pixels along a patch's edge, for models that cut images into patches


def build(
    name: str, side: int, classes: int, dropout: float = 0.0, stochastic_depth: float = 0.0
) -> nn.Module:
    """Build a fresh model for one-channel images, initialized from torch's global generator.

    Args:
        name: One of ``ARCHITECTURES``.
        side: Pixels along one edge, a multiple of 8.
        classes: Number of classes.
        dropout: Share of activations dropped in training (Vision Transformers only).
        stochastic_depth: Share of residual branches dropped in training at the last block.

    Returns:
        The model, from [B, 1, side, side] to logits [B, classes].

    Raises:
        TaskError: If there is no such architecture, the side does not fit, or timm is missing.

    Example:
        >>> import torch
        >>> tuple(build("vit_small", 16, 26)(torch.zeros(2, 1, 16, 16)).shape)
        (2, 26)
    """
    if name not in ARCHITECTURES:
        raise TaskError(f"unknown architecture {name!r}; there are: {', '.join(ARCHITECTURES)}")
    if side < 16 or side % 8:
        raise TaskError(f"side is {side}; allowed are multiples of 8 from 16 on")
    family, sizes = ARCHITECTURES[name]
    if dropout and family is not _vit:
        raise TaskError(f"dropout is for Vision Transformers; set it to 0 for {name!r}")
    if dropout:
        sizes = {**sizes, "proj_drop_rate": dropout, "pos_drop_rate": dropout}
    common = {"num_classes": classes, "drop_path_rate": stochastic_depth, "in_chans": 1}
    return family(side, common, sizes)


def _timm(module: str) -> Any:
    return require(f"timm.{module}", "timm", extra="vision")


def _vit(side: int, common: dict[str, Any], sizes: dict[str, Any]) -> nn.Module:
    """Build a model with patches as tokens, whose mean the head reads."""
    make = _timm("models.vision_transformer").VisionTransformer
    model = make(
        side, PATCH, class_token=False, global_pool="avg", weight_init="jax", **common, **sizes
    )
    # As the paper's code draws them; timm's deviation of 0.02 takes long runs to grow.
    nn.init.normal_(model.pos_embed, std=sizes["embed_dim"] ** -0.5)
    return model


def _mixer(side: int, common: dict[str, Any], sizes: dict[str, Any]) -> nn.Module:
    make = _timm("models.mlp_mixer").MlpMixer
    return make(img_size=side, patch_size=PATCH, **common, **sizes)


def _resnet(side: int, common: dict[str, Any], sizes: dict[str, Any]) -> nn.Module:
    """Build basic blocks after a stem of three convolutions that halves the resolution once."""
    resnet = _timm("models.resnet")
    model = resnet.ResNet(resnet.BasicBlock, stem_type="deep", **common, **sizes)
    model.maxpool = nn.Identity()
    return model


def _coatnet(side: int, common: dict[str, Any], sizes: dict[str, Any]) -> nn.Module:
    """Build a stage of MBConv blocks, then a stage of attention with relative positions."""
    parts = _timm("models.maxxvit")
    settings = parts.MaxxVitCfg(
        block_type=("C", "T"),
        stem_bias=True,
        conv_cfg=parts.MaxxVitConvCfg(expand_ratio=2.0),
        transformer_cfg=parts.MaxxVitTransformerCfg(dim_head=8, rel_pos_type="bias"),
        **sizes,
    )
    # The stem keeps the resolution; built for twice the side, positions fit all the same.
    model = parts.MaxxVit(settings, img_size=2 * side, **common)
    model.stem.conv1.stride = (1, 1)
    for module in model.modules():
        if hasattr(module, "qkv"):
            module.qkv.register_forward_hook(_contiguous)
    return model


def _contiguous(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """Make the output contiguous: for small images it is channels-last, which attention rejects."""
    return output.contiguous()


Family = Callable[[int, dict[str, Any], dict[str, Any]], nn.Module]
# A task's hash has the name, the shapes and the classes of a model, not the code of this module:
# who changes what a family builds raises the version that is in every key (compare/cell.py).
ARCHITECTURES: dict[str, tuple[Family, dict[str, Any]]] = {
    "resnet": (_resnet, {"layers": (1, 1, 1, 1), "channels": (16, 24, 32, 48), "stem_width": 8}),
    "mixer_small": (_mixer, {"embed_dim": 32, "num_blocks": 3}),
    "mixer_base": (_mixer, {"embed_dim": 64, "num_blocks": 3}),
    "vit_tiny": (_vit, {"embed_dim": 16, "depth": 3, "num_heads": 1}),
    "vit_small": (_vit, {"embed_dim": 32, "depth": 3, "num_heads": 2}),
    "vit_base": (_vit, {"embed_dim": 64, "depth": 3, "num_heads": 4}),
    "coatnet": (_coatnet, {"embed_dim": (8, 32), "depths": (1, 1), "stem_width": 8}),
}
