"""Image tasks with timm's architectures; timm and torchvision come with the extra ``vision``."""

from __future__ import annotations

from optforge.tasks.images.architectures import ARCHITECTURES
from optforge.tasks.images.finetune import FineTuneTask
from optforge.tasks.images.table import IMAGE_TASKS, image_task
from optforge.tasks.images.task import ImageTask

__all__ = ["ARCHITECTURES", "IMAGE_TASKS", "FineTuneTask", "ImageTask", "image_task"]
