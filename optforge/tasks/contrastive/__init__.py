"""Contrastive tasks: images of characters and their names; they need the extra ``vision``."""

from __future__ import annotations

from optforge.tasks.contrastive.both import TrainedImageText
from optforge.tasks.contrastive.table import CONTRASTIVE_TASKS, contrastive_task
from optforge.tasks.contrastive.task import LockedImageText

__all__ = ["CONTRASTIVE_TASKS", "LockedImageText", "TrainedImageText", "contrastive_task"]
