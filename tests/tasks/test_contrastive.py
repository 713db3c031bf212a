"""Contrastive tasks: names that are new compositions of known words, and who wins."""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import optforge
from optforge.errors import TaskError
from optforge.tasks import family_task_names, initial_model, load_task
from optforge.tasks.contrastive import TrainedImageText
from optforge.tasks.contrastive.pairs import PARTS, pairs, split_names
from optforge.tasks.contrastive.scores import misses, recall, zero_shot_errors
from optforge.tasks.contrastive.task import LockedImageText, TextTower
from optforge.tasks.images.task import ImageTask
from optforge.tasks.images.tower import letters_tower
from optforge.training import pretrain

pytest.importorskip("timm", reason="needs the package timm: optforge[vision]")


def small(**changes: Any) -> LockedImageText:
    few = {"image_tower": "vit_tiny", "copies": (1, 1, 1), "width": 16, "layers": 1, "steps": 30}
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


def test_recall_is_that_of_sorted_lists() -> None:
    """Each query ranks the characters by their best row, in a plain loop."""
    generator = torch.Generator().manual_seed(3)
    output = functional.normalize(torch.randn(60, 2, 4, generator=generator), dim=2)
    targets = torch.randint(65, 90, (60,), generator=generator)
    found = misses(output, targets)
    for way, (asked, answers) in {"image_to_text": (0, 1), "text_to_image": (1, 0)}.items():
        for count in (1, 5, 10):
            missed = 0
            for row, own in zip(output[:, asked], targets.tolist(), strict=True):
                products = [(row @ other).item() for other in output[:, answers]]
                order = sorted(range(60), key=lambda i, p=products: -p[i])
                ranked = dict.fromkeys(targets[order].tolist())
                missed += own not in list(ranked)[:count]
            assert found[f"missed_at_{count}_{way}"] == pytest.approx(missed / 60, abs=1e-6)


def test_zero_shot_errors_are_those_of_a_loop() -> None:
    generator = torch.Generator().manual_seed(4)
    named = torch.tensor([*range(65, 91), *range(97, 123), *range(0x391, 0x3A1), 0x416])
    asked = named[torch.randint(len(named), (80,), generator=generator)]
    images, names = (
        functional.normalize(torch.randn(len(x), 6, generator=generator), dim=1)
        for x in (asked, named)
    )
    errors = zero_shot_errors(images, asked, names, named)
    kinds = {"script": lambda c: unicodedata.name(c).split()[0], "category": unicodedata.category}
    for kind, class_of in kinds.items():
        members: dict[str, list[torch.Tensor]] = {}
        for code, name in zip(named.tolist(), names, strict=True):
            members.setdefault(class_of(chr(code)), []).append(name)
        texts = {k: sum(v, torch.zeros(6)) / len(v) for k, v in members.items() if len(v) >= 10}
        wrong = []
        for image, code in zip(images, asked.tolist(), strict=True):
            if (truth := class_of(chr(code))) in texts:
                near = {k: functional.cosine_similarity(image, v, dim=0) for k, v in texts.items()}
                wrong.append(max(near, key=lambda k, n=near: n[k].item()) != truth)
        assert 0 < sum(wrong) < len(wrong) <= 80
        assert errors[f"zero_shot_error_{kind}"] == pytest.approx(sum(wrong) / len(wrong))


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
    own = {"vit_tiny": 16, "vit_small": 32, "vit_base": 64}.get(task.image_tower, 1280)
    if name.startswith("lit"):
        assert model.head.out_features == own
    else:
        head = model.image.head
        assert (head.in_features, head.out_features) == (own, 32)
        assert model.text.head.out_features == 32


def test_classes_need_only_texts() -> None:
    """Images of A and α point where the names of their scripts, or of their categories, do."""
    latin, greek = "ABCDEFGHIJKLMNabcdefghijklmn", "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞαβγδεζηθικλμνξ"
    named = torch.tensor([ord(c) for c in latin + greek])
    names = torch.tensor(
        [[float(c in latin), float(c in greek), float(c.isupper()), float(c.islower())]
         for c in latin + greek]
    )  # fmt: skip
    seen = torch.tensor([[0.9, 0.1, 0.0, 0.8], [0.1, 0.8, 0.0, 0.9], [0.2, 0.3, 0.9, 0.0]])
    asked = torch.tensor([ord(c) for c in "aαA"])
    errors = zero_shot_errors(seen, asked, names, named)
    assert errors == {
        "zero_shot_error_script": pytest.approx(1 / 3),  # A looks Greek
        "zero_shot_error_category": 0.0,
    }


def test_a_comparison_measures_the_scores_of_its_tasks() -> None:
    few: Any = {"trials": 2, "seeds": 2, "finalists": 1, "again": 0, "extensions": 0}
    result = optforge.compare(
        [small(steps=10)], ["adamw", "lion"], workers=0, **few, extras=("scores",)
    )
    (task,) = result.findings.tasks
    for outcome in task.tuned["lion"].finals:
        assert outcome.extras["missed_at_1_image_to_text"] == pytest.approx(
            1 - outcome.test_metric, abs=1e-6
        )
        assert len(outcome.extras) == 8


def test_the_image_tower_begins_with_what_it_learnt_and_is_trained_on() -> None:
    few: Any = {"image_tower": "vit_tiny", "copies": (1, 1, 1), "width": 16, "layers": 1}
    task = TrainedImageText("small_both", **few)
    model: Any = initial_model(task, 3)
    tower = letters_tower("vit_tiny", 16).state_dict()
    for key, value in model.image.state_dict().items():
        if not key.startswith("head"):
            assert torch.equal(value, tower[key]), key
    x = task.splits.train.inputs[:8]
    features = model.image(x[:, :256].view(8, 1, 16, 16))
    torch.testing.assert_close(
        functional.normalize(model(x)[:, 0], dim=1), functional.normalize(features, dim=1)
    )
    task.loss(model(x), task.splits.train.targets[:8]).backward()
    assert all(p.grad is not None for p in model.image.parameters())


def test_a_tower_of_ones_own_pre_training_is_the_beginning(tmp_path: Path) -> None:
    before = ImageTask("before", architecture="vit_tiny", dataset="glyphs", steps=2)
    pretrain(before, lambda p: torch.optim.SGD(p, lr=0.01), 4, tmp_path / "{seed}.pt")
    file = str(tmp_path / "{seed}.pt")
    task = TrainedImageText("after", image_tower="vit_tiny", copies=(1, 1, 1), checkpoint=file)
    weights = torch.load(tmp_path / "4.pt", weights_only=True)["model"]
    model: Any = initial_model(task, 4)
    assert torch.equal(model.image.pos_embed, weights["pos_embed"])
    assert model.image.head.weight.shape == (32, 16)
    scratch = TrainedImageText("after", image_tower="vit_tiny", copies=(1, 1, 1),
                               checkpoint="scratch")  # fmt: skip
    assert len(task.settings()["checkpoint"]) == 1 and task.hash != scratch.hash


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"temperature": 0.0}, "it is a number above 0"), ({"loss_scale": 3}, "no attribute")],
)
def test_what_is_not_allowed_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(TaskError, match=text):
        LockedImageText("wrong", **changes)
