"""Language tasks with the models of transformers; they need the extra ``language``."""

from __future__ import annotations

from optforge.tasks.language.finetune import QuestionTask
from optforge.tasks.language.table import LANGUAGE_TASKS, language_task
from optforge.tasks.language.task import LanguageTask

__all__ = ["LANGUAGE_TASKS", "LanguageTask", "QuestionTask", "language_task"]
