"""The training: against a loop by hand, resumed bit for bit, spread over processes."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional

from optforge.errors import TaskError
from paper import images
from paper.examples import MicroBatches
from paper.folder import CHECKPOINT, read_checkpoint
from paper.images import PRESETS, Training, load_preset
from paper.optimizers import make_optimizer
from paper.options import TrainingError
from paper.training import train

TINY: dict[str, Any] = {"batch_size": 8, "image_size": 32, "reduced": True, "lr": 1e-3}
TINY |= {"weight_decay": 0.1, "steps": 4, "cpu": True, "workers": 0}


def start(place: str, name: str, optimizer: str = "adamw", **changes: Any) -> Training:
    config = load_preset(name, optimizer, data=place, **{**TINY, **changes})
    return Training(config, Accelerator(cpu=True, gradient_accumulation_steps=config.accumulation))


def whole(place: str, name: str, out: Path, optimizer: str = "lion", **changes: Any) -> Any:
    config = load_preset(name, optimizer, data=place, out=str(out), **{**TINY, **changes})
    return train(config, Training)


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_steps_and_evaluates_at_reduced_width(name: str, place: str) -> None:
    optimizer = "adafactor" if "g14" in name else "lion"
    size = 28 if "14" in name else 64
    made = start(place, name, optimizer, steps=1, image_size=size)
    before = weights(made.model)
    (step,) = made.run(1)
    assert 0.5 < step["loss"] < 5 and step["taken"]
    assert any(not torch.equal(before[key], value) for key, value in weights(made.model).items())
    score = made.evaluate()
    assert 0 <= score["top1"] <= score["top5"] == 1 and math.isfinite(score["loss"])


def test_training_is_the_loop_by_hand(place: str) -> None:
    """No dropout, no augmentation but the crop: what the script adds is checked by hand."""
    more: dict[str, Any] = {"warmup_steps": 2, "betas": (0.8, 0.95)}
    other = start(place, "vit_b16_jft", **more)
    made = start(place, "vit_b16_jft", accumulation=2, **more)
    model, examples = other.model, other.examples
    assert all(
        torch.equal(a, b) for a, b in zip(made.model.parameters(), model.parameters(), strict=True)
    )
    optimizer = make_optimizer("adamw", model, 1e-3, 0.1, (0.8, 0.95))
    batches = list(MicroBatches(18, 8, 1, (0, 4), (0, 1), 0))
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
        assert done["lr"] == pytest.approx(rate)
        assert done["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for a, b in zip(made.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "optimizer", "precision"),
    [
        ("vit_s16_augmented", "lion", "float32"),
        ("resnet50", "sgd", "float32"),
        ("vit_s16_augmented", "adafactor", "bfloat16"),
        pytest.param("vit_s16", "lion", "bfloat16", marks=pytest.mark.slow),
        pytest.param("mixer_s16", "muon", "float32", marks=pytest.mark.slow),
    ],
)
def test_resuming_changes_no_bit(
    name: str, optimizer: str, precision: str, place: str, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"accumulation": 2, "precision": precision, "evaluate_every": 4}
    more |= {"ema": 0.6, "label_smoothing": 0.1}

    def run(folder: str, **options: Any) -> None:
        whole(place, name, tmp_path / folder, optimizer, **more, **options)

    run("whole")
    run("parts", stop_after=2)
    torch.manual_seed(77)
    run("parts", resume=True)
    first, second = (
        read_checkpoint(tmp_path / folder / CHECKPOINT) for folder in ("whole", "parts")
    )
    assert first["number"] == second["number"] == 4
    same(first, second)
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


def command(name: str, place: str, out: Path, *options: str) -> list[str]:
    verb = f"-m paper.images {name} --steps 3 --batch-size 8 --image-size 32 --reduced"
    rest = "--workers 0 --cpu --lr 1e-3 --weight-decay 0.1 --evaluate-every 3"
    return [*verb.split(), *rest.split(), "--data", place, "--out", str(out), *options]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_killed_and_resumed_is_the_same(place: str, tmp_path: Path) -> None:
    """By SIGKILL, at whatever moment the third step has come."""
    options = ["--checkpoint-every", "1", "--steps", "2000"]
    words = [sys.executable, *command("vit_s16_augmented", place, tmp_path / "run", *options)]
    process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    log, until = tmp_path / "run" / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and '"number": 3' in log.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    more: dict[str, Any] = {"steps": 2000, "evaluate_every": 3}
    killed = read_checkpoint(tmp_path / "run" / CHECKPOINT)["number"]
    for folder, count in (("run", 3), ("whole", killed + 3)):
        whole(place, "vit_s16_augmented", tmp_path / folder, resume=True, stop_after=count, **more)
    numbers = [
        json.loads(line).get("number") for line in log.read_text().splitlines() if "lr" in line
    ]
    assert killed >= 2
    assert [n for n in numbers if n] == sorted({n for n in numbers if n})
    same(*(read_checkpoint(tmp_path / folder / CHECKPOINT) for folder in ("run", "whole")))


LOOK = """
import os, sys
from pathlib import Path
from paper.images import main

main(sys.argv[2:])
names = sorted({file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")})
Path(sys.argv[1], f"threads-{os.environ['RANK']}").write_text(" ".join(names))
"""


@pytest.fixture(scope="module")
def spread(place: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two presets, one after the other, in two processes by the command line."""
    out = tmp_path_factory.mktemp("spread")
    (out / "look.py").write_text(LOOK)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", str(29_500 + os.getpid() % 2000), str(out / "look.py"), str(out)]
    done = subprocess.run(
        [*launch, "resnet50", *command("vit_s16_augmented", place, out, "--ema", "0.5")[2:]],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(images.__file__).parents[1])},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("top1") == 2  # one process speaks, once a preset
    return out


def last_loss(out: Path) -> float:
    return json.loads((out / "log.jsonl").read_text().splitlines()[-1])["validation"]["loss"]


@pytest.mark.slow
def test_two_processes_agree_with_one_that_accumulates(
    place: str, spread: Path, tmp_path: Path
) -> None:
    """Dropout, Mixup and augmentation included: chance belongs to the micro-batch."""
    name, changes = "vit_s16_augmented", {"steps": 3, "accumulation": 2, "ema": 0.5}
    one = whole(place, name, tmp_path, evaluate_every=3, **changes)
    first, second = (read_checkpoint(out / CHECKPOINT) for out in (tmp_path, spread / name))
    assert first["plan"] == second["plan"]  # so that either goes on where the other stopped
    for key, value in first["model"].items():
        torch.testing.assert_close(value, second["model"][key], rtol=1e-6, atol=1e-7)
    assert last_loss(spread / name) == pytest.approx(one["loss"], rel=1e-5)


@pytest.mark.slow
def test_processes_measure_the_mean_that_the_checkpoint_holds(place: str, spread: Path) -> None:
    """Batch norm's statistics differ between processes, those of the mean of weights too."""
    made = start(place, "resnet50", "lion", steps=3, ema=0.5)
    made.load(read_checkpoint(spread / "resnet50" / CHECKPOINT))
    assert last_loss(spread / "resnet50") == pytest.approx(made.evaluate()["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's list of threads")
def test_no_thread_of_the_process_group_is_left_at_the_end(spread: Path) -> None:
    """One that outlives the interpreter aborts the process, now and then."""
    for rank in range(2):
        assert "gloo" not in (spread / f"threads-{rank}").read_text()


def test_reading_processes_change_nothing(place: str) -> None:
    losses = []
    for workers in (0, 1):
        made = start(place, "vit_s16_augmented", "lion", steps=2, workers=workers)
        losses.append([step["loss"] for step in made.run(2)])
    assert losses[0] == losses[1]


def test_the_running_mean_of_weights_is_what_is_evaluated(place: str) -> None:
    made = start(place, "vit_b16_jft", ema=0.75)
    key = "head.weight"
    mean = made.model.state_dict()[key].clone()
    for number, _ in enumerate(made.run(3)):
        now = made.model.state_dict()[key]
        mean = now.clone() if number == 0 else 0.75 * mean + 0.25 * now
    assert made.mean is not None
    torch.testing.assert_close(made.mean.module.state_dict()[key], mean)
    averaged = made.evaluate()["loss"]
    made.mean = None
    assert made.evaluate()["loss"] != averaged


def test_fine_tuning_raises_the_resolution_and_replaces_the_head(
    place: str, tmp_path: Path
) -> None:
    whole(place, "vit_s16", tmp_path / "a", steps=1)
    content = read_checkpoint(tmp_path / "a" / CHECKPOINT)
    saved, file = content["model"], tmp_path / "seven.pt"
    heads = {"head.weight": torch.ones(7, 48), "head.bias": torch.ones(7)}  # of seven classes
    torch.save({**content, "model": {**saved, **heads}}, file)
    now = start(place, "vit_s16", image_size=64, init=str(file)).model.state_dict()
    assert now["pos_embed"].shape[1] == 17 and saved["pos_embed"].shape[1] == 5
    assert torch.equal(now["pos_embed"][:, 0], saved["pos_embed"][:, 0])  # the class token's
    assert torch.equal(now["blocks.0.attn.qkv.weight"], saved["blocks.0.attn.qkv.weight"])
    assert now["head.weight"].shape == (3, 48) and not now["head.weight"].any()  # a new one
    score = whole(place, "vit_s16", tmp_path / "b", steps=1, image_size=64, init=str(file))
    assert math.isfinite(score["loss"])
    with pytest.raises(TaskError, match="another architecture"):
        start(place, "mixer_s16", init=str(file))


def test_a_diverging_loss_ends_with_a_sentence(place: str) -> None:
    made = start(place, "vit_b16_jft", lr=1e30, warmup_steps=1)
    with pytest.raises(TrainingError, match="training loss is .* smaller learning rate"):
        list(made.run(4))


def test_a_batch_that_cannot_be_divided_is_refused(place: str) -> None:
    with pytest.raises(TrainingError, match="a batch of 9 images cannot be cut into 2"):
        start(place, "vit_b16", batch_size=9, accumulation=2)


def test_float16_without_a_gpu_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="precision float16 cannot be used: it needs a GPU"):
        whole(place, "vit_b16", tmp_path, precision="float16")


def test_a_step_with_infinite_gradients_is_left_out(place: str) -> None:
    config = load_preset("vit_b16_jft", data=place, **TINY, clip_norm=math.inf)
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=1e-30)
    made = Training(config, accelerator)
    made.model.get_parameter("norm.weight").data.fill_(1000)  # times the scale it overflows
    before = weights(made.model)
    steps = made.run(2)
    assert not next(steps)["taken"]
    same(before, weights(made.model))
    assert next(steps)["taken"]
    assert not torch.equal(before["head.bias"], made.model.state_dict()["head.bias"])


@pytest.mark.slow
def test_a_compiled_model_trains_alike(place: str) -> None:
    plain, fast = (start(place, "vit_b16_jft", steps=3, compile=c) for c in (False, True))
    for a, b in zip(plain.run(3), fast.run(3), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
    assert weights(plain.model).keys() == weights(fast.model).keys()
    assert fast.evaluate()["loss"] == pytest.approx(plain.evaluate()["loss"], rel=1e-3)
