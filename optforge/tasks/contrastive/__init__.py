"""Contrastive tasks: images of characters and their names; they need the extra ``vision``."""

from __future__ import annotations

from optforge.tasks.contrastive.task import CONTRASTIVE_TASKS, LockedImageText, contrastive_task

__all__ = ["CONTRASTIVE_TASKS", "LockedImageText", "contrastive_task"]
