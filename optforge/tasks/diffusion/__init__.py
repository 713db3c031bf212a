"""Diffusion tasks with the models of diffusers; they need the extra ``diffusion``."""

from __future__ import annotations

from optforge.tasks.diffusion.named import NamedDiffusion
from optforge.tasks.diffusion.table import DIFFUSION_TASKS, diffusion_task
from optforge.tasks.diffusion.task import GlyphDiffusion

__all__ = ["DIFFUSION_TASKS", "GlyphDiffusion", "NamedDiffusion", "diffusion_task"]
