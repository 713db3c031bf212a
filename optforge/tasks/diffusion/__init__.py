"""Diffusion tasks with the models of diffusers; they need the extra ``diffusion``."""

from __future__ import annotations

from optforge.tasks.diffusion.task import DIFFUSION_TASKS, GlyphDiffusion, diffusion_task

__all__ = ["DIFFUSION_TASKS", "GlyphDiffusion", "diffusion_task"]
