"""Image tasks: every one builds, learns from batches that repeat, and keeps its splits apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from optforge.errors import TaskError
from optforge.tasks import Task, augmented, family_task_names, initial_model, load_task, task_names
from optforge.tasks.data import glyphs
from optforge.tasks.images import ARCHITECTURES, FineTuneTask, ImageTask
from optforge.tasks.images.architectures import build
from optforge.training import evaluate_model, pretrain, train_single

AUGMENTED = [name for name in family_task_names("images") if name.endswith("augmented")]


@pytest.fixture(scope="module", autouse=True)
def small_glyphs() -> object:
    """Four classes of glyphs instead of a hundred: the fonts are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "optforge.tasks.images.task.CLASSES", {"letters": 26, "mnist": 10, "glyphs": 4}
        )
        yield


def scratch(name: str) -> Task:
    task = load_task(name)
    if isinstance(task, FineTuneTask):
        task.checkpoint = "scratch"
    return task


def step(task: Task, model: torch.nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    loss = task.loss(model(inputs), targets)
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("name", family_task_names("images"))
def test_every_image_task_gives_a_loss_and_gradients(name: str) -> None:
    task = scratch(name)
    train, model = task.splits.train, initial_model(task, 0)
    inputs, targets = augmented(task, train.inputs[:8], train.targets[:8], 0, 0)
    assert inputs.shape == (8, 1, task.side, task.side)  # type: ignore[attr-defined]
    loss = step(task, model, inputs, targets)
    assert 0.3 < loss.item() < 8
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert task.target is None and task.evaluation_period
    assert name not in task_names()


@pytest.mark.parametrize("dataset", ["letters", "mnist", "glyphs"])
@pytest.mark.parametrize("side", [16, 24])
def test_splits_share_no_example(dataset: str, side: int) -> None:
    data = ImageTask(dataset=dataset, side=side).splits
    parts = [{one.numpy().tobytes() for one in part.inputs} for part in vars(data).values()]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert data.train.inputs.mean().item() == pytest.approx(0, abs=0.01)
    assert data.train.inputs.std().item() == pytest.approx(1, abs=0.01)
    classes = len(data.train.targets.unique())
    assert classes == len(data.test.targets.unique()) == len(data.validation.targets.unique())


def test_glyphs_hold_no_letter_and_no_twins() -> None:
    found = glyphs.characters()
    assert len(found) > 400 and not [c for c in found if c.isascii() and c.isalpha()]
    assert "\N{GREEK CAPITAL LETTER ALPHA}" not in found  # looks like the letter A
    assert sorted(set(found.values())) == list(range(len(set(found.values()))))


@pytest.mark.parametrize("name", AUGMENTED)
def test_augmentation_repeats_and_leaves_evaluation_alone(name: str) -> None:
    task = load_task(name)
    train = task.splits.train
    x, y = train.inputs[:6], train.targets[:6]
    kept = x.clone()
    first, again, other = (augmented(task, x, y, 3, at) for at in (5, 5, 6))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0]) and torch.equal(x, kept)
    torch.testing.assert_close(first[1].sum(1), torch.ones(6))
    low, high = train.inputs.aminmax()
    assert first[0].min() >= low - 1e-4 and first[0].max() <= high + 1e-4


def test_mild_settings_of_strong_augmentation_change_nothing() -> None:
    """No operation and no mixing: the images come back, up to the 256 levels of grey."""
    task = ImageTask(augmentation="strong", randaugment=(0, 0), mixup=0.0)
    x, y = task.splits.train.inputs[:4], task.splits.train.targets[:4]
    inputs, targets = augmented(task, x, y, 0, 0)
    torch.testing.assert_close(inputs, x, atol=1e-4, rtol=0)
    assert targets.argmax(1).tolist() == y.tolist()
    assert task.loss(2 * inputs.flatten(1)[:, :26], targets).item() == pytest.approx(
        task.loss(2 * inputs.flatten(1)[:, :26], y).item(), rel=1e-6
    )


def test_a_small_vit_learns_letters() -> None:
    task = ImageTask("quick", dataset="mnist", steps=60, batch_size=32)
    untrained = evaluate_model(task, initial_model(task, 0), "validation").loss
    trained = train_single(task, lambda p: torch.optim.AdamW(p, lr=1e-2), 0).loss
    assert trained < untrained - 0.3


@pytest.mark.parametrize("architecture", ["vit_tiny", "mixer_small", "resnet", "coatnet"])
def test_fine_tuning_starts_from_the_weights_of_its_seed(architecture: str, tmp_path: Path) -> None:
    side = 16 if architecture == "mixer_small" else 24  # a Mixer is bound to its resolution
    before = ImageTask("before", architecture=architecture, dataset="mnist", steps=1, batch_size=8)
    file = str(tmp_path / "weights-{seed}.pt")
    for seed in (0, 1):
        pretrain(before, lambda p: torch.optim.SGD(p, lr=0.1), seed, file)
    task = FineTuneTask("after", architecture=architecture, checkpoint=file, side=side)
    if architecture == "coatnet":  # and so are its tables of relative positions
        with pytest.raises(TaskError, match="relative_position_bias_table"):
            initial_model(task, 1)
        return
    model, fresh = initial_model(task, 1).state_dict(), task.model().state_dict()
    saved = torch.load(tmp_path / "weights-1.pt", weights_only=True)["model"]
    same = [key for key in saved if torch.equal(saved[key], model[key])]
    assert len(same) >= len(saved) - 3  # head and positions
    assert model["head.weight" if "head.weight" in model else "fc.weight"].shape[0] == 26
    if "pos_embed" in model:
        assert model["pos_embed"].shape == fresh["pos_embed"].shape == (1, 36, 16)
    other = initial_model(task, 0).state_dict()
    assert any(not torch.equal(other[key], model[key]) for key in same)
    moved = FineTuneTask("after", architecture=architecture, side=side)
    assert moved.hash != task.hash


def test_fine_tuning_refuses_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="has none; set its attribute checkpoint"):
        initial_model(load_task("finetune_vit_small"), 0)
    with pytest.raises(TaskError, match="cannot be read"):
        initial_model(FineTuneTask(checkpoint=str(tmp_path / "no.pt")), 0)
    before = ImageTask("before", architecture="vit_tiny", dataset="mnist", steps=1, batch_size=8)
    pretrain(before, lambda p: torch.optim.SGD(p, lr=0.1), 0, tmp_path / "tiny.pt")
    with pytest.raises(TaskError, match="only heads and positions may differ"):
        initial_model(FineTuneTask(checkpoint=str(tmp_path / "tiny.pt")), 0)
    with pytest.raises(TaskError, match="another architecture"):
        mixer = FineTuneTask(checkpoint=str(tmp_path / "tiny.pt"), architecture="mixer_small")
        initial_model(mixer, 0)


def test_bad_settings_are_refused_by_name() -> None:
    with pytest.raises(TaskError, match="no attribute 'depth'"):
        ImageTask(depth=3)
    with pytest.raises(TaskError, match="dataset of task 'ImageTask' is 'cifar'; allowed"):
        _ = ImageTask(dataset="cifar").splits
    with pytest.raises(TaskError, match="unknown architecture 'vgg'; there are: resnet"):
        build("vgg", 16, 10)
    with pytest.raises(TaskError, match="side is 20"):
        build("resnet", 20, 10)
    with pytest.raises(TaskError, match="dropout is for Vision Transformers"):
        build("resnet", 16, 10, dropout=0.1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_initial_model_depends_on_the_seed_alone(name: str) -> None:
    task = ImageTask("same", architecture=name)
    first, again, other = (initial_model(task, seed) for seed in (0, 0, 1))
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


def test_a_missing_timm_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("timm", "timm.models.vision_transformer"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TaskError, match=r"'timm'.*pip install 'optforge\[vision\]'"):
        load_task("letters_vit_small").model()
