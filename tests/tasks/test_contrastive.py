"""Contrastive tasks: names that are new compositions of known words, and who wins."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import pytest
import torch
from torch.nn import functional

import optforge
from optforge.comparison.suite import recipe_from
from optforge.errors import TaskError
from optforge.tasks import family_task_names, load_task
from optforge.tasks.contrastive.pairs import PARTS, pairs, split_names
from optforge.tasks.contrastive.task import LockedImageText, TextTower, recall

pytest.importorskip("timm", reason="needs the package timm: optforge[vision]")


def small(**changes: Any) -> LockedImageText:
    few = {"image_tower": "vit_tiny", "copies": (1, 1, 1), "width": 16, "layers": 1, "steps": 40}
    return LockedImageText("small_contrastive", **few | changes)


def test_names_for_the_test_are_new_and_made_of_known_words() -> None:
    arrays = pairs(16, (1, 1, 1))
    names = {
        part: {unicodedata.name(chr(label)).replace("-", " ") for label in set(labels.tolist())}
        for part in PARTS
        for labels in (arrays[f"{part}_labels"],)
    }
    known = {word for name in names["train"] for word in name.split()}
    for part in PARTS[1:]:
        assert len(names[part]) > 40 and not names[part] & names["train"]
        assert {word for name in names[part] for word in name.split()} <= known
    assert not names["validation"] & names["test"]


def test_rows_hold_the_name_of_their_character() -> None:
    arrays = pairs(16, (1, 1, 1))
    words = arrays["words"].tolist()
    for part in PARTS:
        rows = zip(arrays[f"{part}_names"].tolist(), arrays[f"{part}_labels"].tolist(), strict=True)
        for numbers, label in list(rows)[:50]:
            name = " ".join(words[number - 1] for number in numbers if number)
            assert name == unicodedata.name(chr(label)).replace("-", " ")


def test_a_word_that_is_rare_keeps_its_names_in_training() -> None:
    names = {chr(65 + i): f"SIGN {'RARE' if i == 3 else 'PLAIN'} {i % 4}" for i in range(26)}
    split = split_names(names)
    assert "D" in split["train"] and len(split["validation"]) == len(split["test"]) == 4


def test_the_loss_of_distinct_names_is_that_of_clip() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = functional.normalize(torch.randn(7, 2, 5, generator=generator), dim=2)
    output, targets = directions * math.sqrt(12.0), torch.arange(7)
    logits = 12.0 * directions[:, 0] @ directions[:, 1].T
    expected = functional.cross_entropy(logits, targets) + functional.cross_entropy(
        logits.T, targets
    )
    torch.testing.assert_close(small().loss(output, targets), expected / 2)


def test_images_of_one_character_share_its_name() -> None:
    """Two pairs of one character: each may say the other's name, and nothing is lost by it."""
    directions = torch.eye(3)[torch.tensor([0, 0, 1])].unsqueeze(1).expand(3, 2, 3) * 10.0
    assert small().loss(directions, torch.tensor([5, 5, 9])).item() == pytest.approx(
        (math.log(2) + math.log(2) + 0.0) / 3, abs=1e-4
    )


def test_recall_counts_characters_once_and_both_ways() -> None:
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    names = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.95, 0.3]])
    output, targets = torch.stack([images, names], 1), torch.tensor([4, 4, 7])
    assert recall(output, targets, 1).item() == pytest.approx(1 / 3)
    assert recall(output, targets, 2).item() == 1.0
    assert recall(output, targets, 1, of_images=False).item() == pytest.approx(2 / 3)


def test_a_tower_reads_words_and_not_what_is_after_them() -> None:
    tower, x = TextTower(20, 8, (16, 1, 2), 10.0).eval(), torch.zeros(2, 18)
    x[:, 8:10] = torch.tensor([[3.0, 5.0], [3.0, 6.0]])
    with torch.no_grad():
        (first, second) = tower(x)[:, 1]
        scale = tower(x)[:, 1].norm(dim=1)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(scale, torch.full((2,), math.sqrt(10.0)))


def test_the_image_tower_is_locked_and_sees_letters() -> None:
    first, second = small().splits, small().splits
    assert torch.equal(first.test.inputs, second.test.inputs)
    names = {name for name, _ in small().model().named_parameters()}
    assert not any("image" in name or "patch" in name for name in names)
    features = first.train.inputs[:, :16]
    assert features.mean(0).abs().max() < 1e-4 and (features.std(0) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("name", family_task_names("contrastive"))
def test_shipped_contrastive_tasks_are_as_large_as_their_towers(name: str) -> None:
    task: Any = load_task(name)
    model: Any = task.model()
    assert (
        model.head.out_features
        == {"vit_tiny": 16, "vit_small": 32, "vit_base": 64}[task.image_tower]
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"temperature": 0.0}, "it is a number above 0"), ({"loss_scale": 3}, "no attribute")],
)
def test_what_is_not_allowed_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(TaskError, match=text):
        LockedImageText("wrong", **changes)


def test_adamw_with_too_small_a_rate_loses() -> None:
    slow = recipe_from("slow", {"optimizer": "adamw", "space": {"lr": [1e-6, 1e-5]}})
    few = {"trials": 4, "seeds": 3, "finalists": 1, "again": 0, "extensions": 0}
    result = optforge.compare([small()], ["adamw", slow], workers=0, **few)
    (row,) = (row for row in result.table if row["optimizer"] == "slow")
    assert row["runs"] == 3 and row["log_ratio_low"] > 0
