"""The shipped language tasks: miniatures of the paper's language experiments, for comparisons."""

from __future__ import annotations

from typing import Any

from optforge.tasks.data.python_questions import QUESTIONS
from optforge.tasks.language.finetune import READERS, QuestionTask
from optforge.tasks.language.task import LanguageTask
from optforge.tasks.task import Task

# Width, blocks and heads grow together, as in the paper's three models.
SIZES: dict[str, dict[str, int]] = {
    "small": {"width": 64, "layers": 2, "heads": 2},
    "medium": {"width": 96, "layers": 3, "heads": 3},
    "large": {"width": 128, "layers": 4, "heads": 4},
}
MODELS = {
    "python_gpt2": ("python", "gpt2"),
    "shakespeare_gpt2": ("shakespeare", "gpt2"),
    "python_bert": ("python", "bert"),
    "python_t5": ("python", "t5"),
}


def language_task(name: str) -> Task | None:
    """Return a shipped language task, or None if there is none of that name.

    Example:
        >>> task = language_task("finetune_bert_order")
        >>> task.question, task.before().name
        ('order', 'before_bert')
    """
    if name not in LANGUAGE_TASKS:
        return None
    kind, settings = LANGUAGE_TASKS[name]
    return kind(name, **settings)


def _table() -> dict[str, tuple[type[LanguageTask | QuestionTask], dict[str, Any]]]:
    tasks: dict[str, tuple[type[LanguageTask | QuestionTask], dict[str, Any]]] = {}
    for name, (corpus, architecture) in MODELS.items():
        for size, shape in SIZES.items():
            settings = {"corpus": corpus, "architecture": architecture, **shape}
            tasks[f"{name}_{size}"] = (LanguageTask, settings)
    for architecture in READERS:
        for question in QUESTIONS:
            settings = {"architecture": architecture, "question": question}
            tasks[f"finetune_{architecture}_{question}"] = (QuestionTask, settings)
    return tasks


LANGUAGE_TASKS = _table()
