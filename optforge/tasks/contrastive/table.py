"""The shipped contrastive tasks: miniatures of the paper's LiT and BASIC experiments."""

from __future__ import annotations

from typing import Any

from optforge.tasks.contrastive.both import TrainedImageText
from optforge.tasks.contrastive.task import LockedImageText

# Three scales of both towers.
SIZES: dict[str, dict[str, Any]] = {
    "small": {"image_tower": "vit_tiny", "width": 32, "layers": 2, "heads": 2},
    "medium": {"image_tower": "vit_small", "width": 48, "layers": 3, "heads": 3},
    "large": {"image_tower": "vit_base", "width": 64, "layers": 4, "heads": 4},
}
CONTRASTIVE_TASKS: dict[str, tuple[type[LockedImageText | TrainedImageText], dict[str, Any]]] = {
    **{f"lit_glyphs_{size}": (LockedImageText, sizes) for size, sizes in SIZES.items()},
    "lit_glyphs_photos": (
        LockedImageText,
        {**SIZES["medium"], "image_tower": "efficientnet_lite0"},
    ),
    **{f"basic_glyphs_{size}": (TrainedImageText, SIZES[size]) for size in ("small", "medium")},
}


def contrastive_task(name: str) -> LockedImageText | TrainedImageText | None:
    """Return a shipped contrastive task, or None if there is none of that name.

    Example:
        >>> contrastive_task("lit_glyphs_large").layers
        4
    """
    if name not in CONTRASTIVE_TASKS:
        return None
    kind, settings = CONTRASTIVE_TASKS[name]
    return kind(name, **settings)
