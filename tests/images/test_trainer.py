"""The trainer: against a loop by hand, resumed bit for bit, spread over processes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from optforge.errors import TaskError, TrainingError
from optforge.images import (
    PRESETS,
    Changes,
    Machine,
    Trainer,
    make_optimizer,
    make_plan,
    open_data,
    preset,
    train_images,
)
from optforge.images import checkpoint as checkpoints
from optforge.images.data import ImageData
from optforge.images.order import Pieces
from optforge.images.processes import Processes
from tests.helpers.pictures import folders

ALONE = Processes(0, 1, torch.device("cpu"))
TINY: dict[str, Any] = {"batch_size": 8, "image_size": 32, "reduced": True, "lr": 1e-3}
CPU: dict[str, Any] = {"device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folders(tmp_path_factory.mktemp("pictures") / "data"))


@pytest.fixture(scope="module")
def data(place: str) -> ImageData:
    return open_data(place)


def trainer(
    data: ImageData, name: str, optimizer: str = "adamw", pieces: int = 1, **changes: Any
) -> Trainer:
    settings = Changes(**{"steps": 4, **TINY, "weight_decay": 0.1, **changes})
    plan = make_plan(name, optimizer, settings, examples=18, classes=3, pieces=pieces)
    return Trainer(plan, data, ALONE)


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_steps_and_evaluates_at_reduced_width(name: str, data: ImageData) -> None:
    size = 28 if "14" in name else 64 if "coatnet" in name else 32
    optimizer = "adafactor" if "g14" in name else "lion"
    made = trainer(data, name, optimizer, steps=1, image_size=size)
    before = weights(made.model)
    (step,) = made.run(1)
    assert 0.5 < step.loss < 5 and step.taken
    assert any(not torch.equal(before[key], value) for key, value in weights(made.model).items())
    score = made.evaluate()
    assert 0 <= score.top1 <= score.top5 == 1 and math.isfinite(score.loss)


def test_training_is_the_loop_by_hand(data: ImageData) -> None:
    """No dropout, no augmentation but the crop: what the trainer adds is checked by hand."""
    made = trainer(data, "vit_b16_jft", pieces=2, warmup_steps=2, betas=(0.8, 0.95))
    other = trainer(data, "vit_b16_jft", betas=(0.8, 0.95))
    model, examples = other.model, other.train_set
    assert all(
        torch.equal(a, b) for a, b in zip(made.model.parameters(), model.parameters(), strict=True)
    )
    plan = made.plan
    optimizer = make_optimizer("adamw", model, plan.settings)
    batches = list(Pieces(18, 8, 1, (0, 4), 0, 1, 0))
    # Two steps up to the peak, then a cosine that would reach 0 one step after the last.
    rates = [0.5e-3, 1e-3] + [1e-3 * (1 + math.cos(math.pi * k / 3)) / 2 for k in (1, 2)]
    for done, batch, rate in zip(made.run(4), batches, rates, strict=True):
        rows = [examples[item] for item in batch]
        x, y = torch.stack([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        assert done.lr == pytest.approx(rate)
        assert done.loss == pytest.approx(loss.item(), rel=1e-5)
    for a, b in zip(made.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "optimizer", "precision"),
    [
        ("vit_s16_augmented", "lion", "float32"),
        ("vit_s16", "lion", "bfloat16"),
        ("vit_s16", "lion", "float16"),
        ("resnet50", "sgd", "float32"),
        ("vit_s16", "adamw", "float16"),
        ("vit_s16_augmented", "adafactor", "bfloat16"),
    ],
)
def test_resuming_changes_no_bit(
    name: str, optimizer: str, precision: str, place: str, tmp_path: Path
) -> None:
    changes = Changes(steps=4, **TINY, weight_decay=0.1, ema=0.6, label_smoothing=0.1)
    common: dict[str, Any] = {"accumulation": 2, "precision": precision, "evaluate_every": 4, **CPU}

    def run(folder: str, resume: bool = False, **more: Any) -> None:
        machine = Machine(**common, **more)
        out = tmp_path / folder
        train_images(name, place, out, optimizer, changes, machine, resume=resume)

    run("whole")
    run("parts", stop_after=2)
    torch.manual_seed(77)
    run("parts", resume=True)
    whole, parts = (
        checkpoints.read(tmp_path / folder / checkpoints.CHECKPOINT)
        for folder in ("whole", "parts")
    )
    assert whole["step"] == parts["step"] == 4
    same(whole, parts)
    assert json.loads((tmp_path / "parts" / "log.jsonl").read_text().splitlines()[-1])["validation"]


def same(first: Any, second: Any) -> None:
    """Equal in every number, and in every dtype."""
    assert type(first) is type(second)
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype and torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            same(first[key], second[key])
    elif isinstance(first, list | tuple):
        for a, b in zip(first, second, strict=True):
            same(a, b)
    else:
        assert first == second


THREADS = """
import os
from pathlib import Path
from sys import argv
from optforge.images import Changes, Machine, train_images

changes = Changes(steps=1, batch_size=4, image_size=32, reduced=True)
train_images("vit_s16", argv[1], argv[2], "lion", changes, Machine(device="cpu"))
names = sorted({file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")})
Path(argv[2], f"threads-{os.environ['RANK']}").write_text(" ".join(names))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of threads")
def test_no_thread_of_the_process_group_is_left_at_the_end(place: str, tmp_path: Path) -> None:
    """One that outlives the interpreter aborts the process, now and then."""
    script = tmp_path / "script.py"
    script.write_text(THREADS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", str(31_500 + os.getpid() % 2000)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*launch, str(script), place, str(tmp_path)], check=True, env=environment, timeout=200
    )
    for rank in range(2):
        assert "gloo" not in (tmp_path / f"threads-{rank}").read_text()


def in_two_processes(name: str, place: str, out: Path, *options: str) -> list[dict[str, Any]]:
    """Train three steps by the command line, and give the log."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", str(29_500 + os.getpid() % 2000)]
    verb = f"-m optforge train-image {name} --steps 3 --batch-size 8 --image-size 32 --reduced"
    machine = "--workers 0 --device cpu --lr 1e-3 --evaluate-every 3"
    command = [*launch, *verb.split(), *machine.split(), "--data", place, "--out", str(out)]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("top-1") == 2  # one process speaks
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_two_processes_agree_with_one_that_accumulates(place: str, tmp_path: Path) -> None:
    """Dropout, Mixup and augmentation included: chance belongs to the micro-batch."""
    logged = in_two_processes("vit_s16_augmented", place, tmp_path / "two")
    changes = Changes(steps=3, **TINY)
    machine = Machine(accumulation=2, evaluate_every=3, **CPU)
    one = train_images("vit_s16_augmented", place, tmp_path / "one", "lion", changes, machine)
    saved = [
        checkpoints.read(tmp_path / name / checkpoints.CHECKPOINT)["model"]
        for name in ("one", "two")
    ]
    for key, value in saved[0].items():
        torch.testing.assert_close(value, saved[1][key], rtol=1e-6, atol=1e-7)
    assert logged[-1]["validation"]["loss"] == pytest.approx(one.score.loss, rel=1e-5)


def test_processes_measure_the_mean_that_the_checkpoint_holds(
    place: str, data: ImageData, tmp_path: Path
) -> None:
    """Batch norm's statistics differ between processes, those of the mean of weights too."""
    logged = in_two_processes("resnet50", place, tmp_path, "--ema", "0.5")
    made = trainer(data, "resnet50", "lion", steps=3, ema=0.5)
    made.load(checkpoints.read(tmp_path / checkpoints.CHECKPOINT))
    assert logged[-1]["validation"]["loss"] == pytest.approx(made.evaluate().loss, rel=1e-5)


def test_reading_processes_change_nothing(data: ImageData) -> None:
    plain = trainer(data, "vit_s16_augmented", "lion", steps=2)
    read = Trainer(plain.plan, data, ALONE, workers=1)
    losses = [[step.loss for step in made.run(2)] for made in (plain, read)]
    assert losses[0] == losses[1]


def test_the_running_mean_of_weights_is_what_is_evaluated(data: ImageData) -> None:
    made = trainer(data, "vit_b16_jft", ema=0.75)
    key = "head.weight"
    mean = made.model.state_dict()[key].clone()
    for number, _ in enumerate(made.run(3)):
        now = made.model.state_dict()[key]
        mean = now.clone() if number == 0 else 0.75 * mean + 0.25 * now
    assert made.average is not None
    torch.testing.assert_close(made.average.module.state_dict()[key], mean)
    averaged = made.evaluate().loss
    made.average = None
    assert made.evaluate().loss != averaged


def test_fine_tuning_raises_the_resolution_and_replaces_the_head(
    place: str, data: ImageData, tmp_path: Path
) -> None:
    train_images("vit_s16", place, tmp_path / "a", "lion", Changes(steps=1, **TINY), Machine(**CPU))
    file = tmp_path / "a" / checkpoints.CHECKPOINT
    saved = checkpoints.read(file)["model"]
    made = trainer(data, "vit_s16", image_size=64)
    made.start_from({**saved, "head.weight": torch.ones(7, 48), "head.bias": torch.ones(7)})
    now = made.model.state_dict()
    assert now["pos_embed"].shape[1] == 17 and saved["pos_embed"].shape[1] == 5
    assert torch.equal(now["pos_embed"][:, 0], saved["pos_embed"][:, 0])  # the class token's
    assert torch.equal(now["blocks.0.attn.qkv.weight"], saved["blocks.0.attn.qkv.weight"])
    assert now["head.weight"].shape == (3, 48) and not now["head.weight"].any()  # a new one
    larger = Changes(steps=1, **{**TINY, "image_size": 64})
    out = tmp_path / "b"
    done = train_images("vit_s16", place, out, "lion", larger, Machine(**CPU), initial=str(file))
    assert done.steps == 1
    with pytest.raises(TaskError, match="another architecture"):
        trainer(data, "mixer_s16").start_from(saved)


def test_a_failed_save_leaves_the_old_checkpoint(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(data, "vit_s16")
    checkpoints.save(tmp_path, made.plan, 1, made.state())
    kept = (tmp_path / checkpoints.CHECKPOINT).read_bytes()

    def full(content: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="No space left"):
        checkpoints.save(tmp_path, made.plan, 2, made.state())
    assert [file.name for file in tmp_path.iterdir()] == [checkpoints.CHECKPOINT]
    assert (tmp_path / checkpoints.CHECKPOINT).read_bytes() == kept


def test_a_diverging_loss_ends_with_a_sentence(data: ImageData) -> None:
    made = trainer(data, "vit_b16_jft", lr=1e30, warmup_steps=1)
    with pytest.raises(TrainingError, match="training loss is .* smaller learning rate"):
        list(made.run(4))


def test_plans_of_the_paper() -> None:
    plan = make_plan("resnet50", "sgd", Changes(), examples=1_281_167, classes=1000)
    assert (plan.steps, plan.warmup_steps, plan.settings.lr) == (112_603, 10_000, 0.4)
    jft = make_plan("vit_b16_jft", "lion", Changes(), examples=303_000_000, classes=18_291)
    assert jft.steps == pytest.approx(517_791, rel=1e-3)
    with pytest.raises(TrainingError, match="no settings of sgd for vit_b16, only of adamw, lion"):
        make_plan("vit_b16", "sgd", Changes(), examples=18, classes=3)
    with pytest.raises(TrainingError, match="no budget for vit_large_g14_jft"):
        make_plan("vit_large_g14_jft", "lion", Changes(), examples=18, classes=3)
    with pytest.raises(TrainingError, match="precision 'int4'"):
        make_plan("vit_b16", "lion", Changes(), examples=18, classes=3, precision="int4")
    assert preset("vit_b16").name == "vit_b16"


@pytest.mark.slow
def test_a_compiled_model_trains_alike(data: ImageData) -> None:
    plain = trainer(data, "vit_b16_jft", steps=3)
    fast = Trainer(plain.plan, data, ALONE, compile=True)
    for a, b in zip(plain.run(3), fast.run(3), strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-3)
    assert weights(plain.model).keys() == weights(fast.model).keys()
