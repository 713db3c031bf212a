"""A comparison of each field in small, in which an optimizer that is known to be worse loses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import optforge
from optforge.comparison.suite import read_suite, recipe_from
from optforge.tasks import Task
from optforge.tasks.contrastive import LockedImageText, TrainedImageText
from optforge.tasks.diffusion import GlyphDiffusion, NamedDiffusion
from optforge.tasks.images import ImageTask
from optforge.tasks.language import LanguageTask

for package in ("timm", "diffusers", "transformers", "tokenizers"):
    pytest.importorskip(package, reason="needs the extras vision, diffusion and language")

SUITES = sorted((Path(__file__).parents[2] / "benchmarks" / "suites").glob("*.toml"))
TOWERS: dict[str, Any] = {
    "image_tower": "vit_tiny", "copies": (1, 1, 1), "width": 16, "layers": 1, "steps": 30,
}  # fmt: skip
PICTURES: dict[str, Any] = {
    "widths": (8, 8, 8), "copies": (1, 1, 1), "batch_size": 8, "steps": 6,
}  # fmt: skip
PIECES: dict[str, Any] = {
    "vocabulary": 384, "length": 24, "width": 32, "layers": 1, "heads": 2,
    "sequences": (512, 64, 64), "batch_size": 16, "steps": 30,
}  # fmt: skip
FIELDS: dict[str, Callable[[], Task]] = {
    "images": lambda: ImageTask("images", architecture="vit_tiny", steps=30),
    "locked tower": lambda: LockedImageText("locked", **TOWERS),
    "both towers": lambda: TrainedImageText("both", **TOWERS),
    "diffusion": lambda: GlyphDiffusion("diffusion", side=8, **PICTURES),
    "named diffusion": lambda: NamedDiffusion("named", side=16, **PICTURES),
    "next piece": lambda: LanguageTask("next", **PIECES),
    "masked pieces": lambda: LanguageTask("masked", architecture="bert", **PIECES),
    "spans": lambda: LanguageTask("spans", architecture="t5", **PIECES),
}


TWINS = ("named diffusion", "masked pieces", "spans")  # of fields that have a quicker one


@pytest.mark.parametrize(
    "field", [pytest.param(f, marks=[pytest.mark.slow] if f in TWINS else []) for f in FIELDS]
)
def test_adamw_with_too_small_a_rate_loses(field: str) -> None:
    slow = recipe_from("slow", {"optimizer": "adamw", "space": {"lr": [1e-6, 1e-5]}})
    few: Any = {"trials": 1, "seeds": 3, "finalists": 1, "again": 0, "extensions": 0}
    result = optforge.compare([FIELDS[field]()], ["adamw", slow], workers=0, **few)
    (row,) = (row for row in result.table if row["optimizer"] == "slow")
    assert row["runs"] == 3 and row["log_ratio_low"] > 0


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_the_paper_s_suites_can_be_read(file: Path) -> None:
    comparisons = read_suite(file)
    assert comparisons
    for comparison in comparisons.values():
        assert len(comparison.recipes) > 1 and comparison.claim and comparison.settings.seeds >= 10
