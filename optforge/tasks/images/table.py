"""The shipped image tasks: miniatures of the paper's image experiments, for comparisons."""

from __future__ import annotations

from typing import Any

from optforge.tasks.images.finetune import FineTuneTask
from optforge.tasks.images.task import ImageTask
from optforge.tasks.task import Task

FROM_SCRATCH = ("resnet", "mixer_small", "mixer_base", "vit_small", "vit_base", "coatnet")
# Enough that the slowest of them learns; a run takes about 3 to 10 seconds on one core.
STEPS = {"letters": 400, "mnist": 200, "glyphs": 400}
SIZES = ("vit_tiny", "vit_small", "vit_base")


def image_task(name: str) -> Task | None:
    """Return a shipped image task, or None if there is none of that name.

    Example:
        >>> image_task("letters_vit_small_augmented").augmentation
        'strong'
    """
    if name not in IMAGE_TASKS:
        return None
    kind, settings = IMAGE_TASKS[name]
    return kind(name, **settings)


def _table() -> dict[str, tuple[type[ImageTask], dict[str, Any]]]:
    tasks: dict[str, tuple[type[ImageTask], dict[str, Any]]] = {}
    for dataset in ("letters", "mnist"):
        for architecture in FROM_SCRATCH:
            settings = _settings(dataset, architecture)
            name = f"{dataset}_{architecture}"
            tasks[name] = (ImageTask, settings)
            tasks[f"{name}_augmented"] = (ImageTask, {**settings, "augmentation": "strong"})
    for size in SIZES:
        tasks[f"glyphs_{size}"] = (ImageTask, _settings("glyphs", size))
        tasks[f"finetune_{size}"] = (FineTuneTask, {"architecture": size, "evaluation_period": 10})
    return tasks


def _settings(dataset: str, architecture: str) -> dict[str, Any]:
    steps = STEPS[dataset]
    if (dataset, architecture) == ("letters", "resnet"):  # convolutions need half as many
        steps //= 2
    return {
        "dataset": dataset,
        "architecture": architecture,
        "steps": steps,
        "evaluation_period": steps // 20,
    }


IMAGE_TASKS = _table()
