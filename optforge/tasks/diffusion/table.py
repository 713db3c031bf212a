"""The shipped diffusion tasks: miniatures of the paper's figure 5 and of its Imagen experiments."""

from __future__ import annotations

from typing import Any

from optforge.tasks.diffusion.named import NamedDiffusion
from optforge.tasks.diffusion.task import GlyphDiffusion

DIFFUSION_TASKS: dict[str, tuple[type[GlyphDiffusion], dict[str, Any]]] = {
    **{f"glyph_diffusion_{side}": (GlyphDiffusion, {"side": side}) for side in (16, 24, 32)},
    "glyph_text_to_image_16": (NamedDiffusion, {"side": 16}),
    "glyph_super_resolution_32": (NamedDiffusion, {"side": 32, "enlarges": True}),
}


def diffusion_task(name: str) -> GlyphDiffusion | None:
    """Return a shipped diffusion task, or None if there is none of that name.

    Example:
        >>> diffusion_task("glyph_diffusion_24").side
        24
    """
    if name not in DIFFUSION_TASKS:
        return None
    kind, settings = DIFFUSION_TASKS[name]
    return kind(name, **settings)
