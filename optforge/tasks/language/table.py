"""The shipped language tasks: miniatures of the paper's language experiments, for comparisons."""

from __future__ import annotations

from typing import Any

from optforge.tasks.language.task import LanguageTask

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


def language_task(name: str) -> LanguageTask | None:
    """Return a shipped language task, or None if there is none of that name.

    Example:
        >>> language_task("python_bert_small").architecture
        'bert'
    """
    return LanguageTask(name, **LANGUAGE_TASKS[name]) if name in LANGUAGE_TASKS else None


def _table() -> dict[str, dict[str, Any]]:
    return {
        f"{name}_{size}": {"corpus": corpus, "architecture": architecture, **shape}
        for name, (corpus, architecture) in MODELS.items()
        for size, shape in SIZES.items()
    }


LANGUAGE_TASKS = _table()
