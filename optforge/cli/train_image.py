"""``optforge train-image``: one of the paper's image trainings on your own pictures."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from optforge.cli.console import screen
from optforge.cli.display import make_display
from optforge.cli.options import PlainDebug
from optforge.errors import TrainingError
from optforge.images.choices import PRECISIONS, Changes, Machine
from optforge.images.evaluate import Score
from optforge.images.plan import Plan
from optforge.images.presets import PRESETS, OptimizerSettings
from optforge.images.run import Watch, train_images
from optforge.images.trainer import Step
from optforge.jobs import Display

_CHANGES, _MACHINE = "In place of the preset's", "Machine"


def _change(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=_CHANGES, **more)


def _machine(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_MACHINE, **more)


def train_image(
    preset: Annotated[
        str | None, typer.Argument(help="A preset; --list shows all.", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder with train/CLASS/*.jpg and val/CLASS/*.jpg, a folder of Parquet files, "
            "or hub:NAME.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoint and log.", show_default=False)
    ] = None,
    optimizer: Annotated[str, typer.Option(help="lion, adamw, adafactor or sgd.")] = "lion",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    init: Annotated[
        str | None,
        typer.Option(
            help="A checkpoint to fine-tune, mostly with a larger --image-size.", show_default=False
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the presets and end.")] = False,
    lr: Annotated[float | None, _change("Peak learning rate.")] = None,
    weight_decay: Annotated[float | None, _change("Decoupled weight decay; L2 for sgd.")] = None,
    betas: Annotated[tuple[float, float] | None, _change("Both betas.")] = None,
    epochs: Annotated[float | None, _change("Passes over the data.")] = None,
    steps: Annotated[int | None, _change("Steps, in place of epochs.")] = None,
    batch_size: Annotated[int | None, _change("Images a step, all processes together.")] = None,
    warmup_steps: Annotated[int | None, _change("Steps in which the rate rises.")] = None,
    image_size: Annotated[int | None, _change("Pixels along one edge.")] = None,
    label_smoothing: Annotated[float, _change("Share of the label spread over all.")] = 0.0,
    ema: Annotated[float | None, _change("Decay of a mean of the weights to evaluate.")] = None,
    momentum_dtype: Annotated[
        str, _change("float32 or bfloat16, of Lion and Adafactor. [dim]Default: bfloat16[/]")
    ] = "bfloat16",
    reduced: Annotated[
        bool, _change("A tiny model of the same kind, to try everything.", "--reduced")
    ] = False,
    seed: Annotated[int, _change("Of weights, order and augmentation. [dim]Default: 0[/]")] = 0,
    accumulation: Annotated[int, _machine("Micro-batches one after another.")] = 1,
    precision: Annotated[str, _machine(", ".join(PRECISIONS) + " (mixed).")] = "float32",
    compile: Annotated[bool, _machine("Compile the model.", "--compile")] = False,
    workers: Annotated[int, _machine("Processes that read pictures, for each GPU.")] = 4,
    device: Annotated[
        str | None, _machine("cpu or cuda; what is there by default.", show_default=False)
    ] = None,
    evaluate_every: Annotated[
        int | None, _machine("Steps; a tenth of the run by default.", show_default=False)
    ] = None,
    checkpoint_every: Annotated[
        int | None, _machine("Steps; with every evaluation by default.", show_default=False)
    ] = None,
    checkpoint_minutes: Annotated[
        float, _machine("Minutes after the one before, at the latest.")
    ] = 30.0,
    stop_after: Annotated[
        int | None, _machine("End with a checkpoint after so many steps.", show_default=False)
    ] = None,
    debug: PlainDebug = False,
) -> None:
    """Train a model as in the paper, on your own pictures.

    Several GPUs: torchrun --nproc-per-node 8 -m optforge train-image ...
    """
    if listed:
        screen().print(_table())
        return
    missing = [
        name
        for name, value in (("PRESET", preset), ("--data", data), ("--out", out))
        if value is None
    ]
    if missing or preset is None or data is None or out is None:
        raise TrainingError(f"{' and '.join(missing)} must be given; --list shows the presets")
    changes = Changes(
        lr=lr,
        weight_decay=weight_decay,
        betas=betas,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        warmup_steps=warmup_steps,
        image_size=image_size,
        momentum_dtype=momentum_dtype,
        label_smoothing=label_smoothing,
        ema=ema,
        reduced=reduced,
        seed=seed,
    )
    machine = Machine(
        accumulation=accumulation,
        precision=precision,
        compile=compile,
        workers=workers,
        device=device,
        evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every,
        checkpoint_minutes=checkpoint_minutes,
        stop_after=stop_after,
    )
    first = os.environ.get("RANK", "0") == "0"
    with make_display() as display:
        done = train_images(
            preset,
            data,
            out,
            optimizer,
            changes,
            machine,
            initial=init,
            resume=resume,
            watch=_Training(display) if first else None,
        )
    if first:
        screen().print(
            f"{done.steps:,} of {done.plan.steps:,} steps, validation: {_said(done.score)}; "
            f"checkpoint and log in {escape(str(done.folder))}"
        )


class _Training(Watch):
    """Forwards the events of a training to a display."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._started = time.perf_counter()
        self._steps = 0

    def begin(self, plan: Plan, parameters: int, first: int) -> None:
        settings, self._steps = plan.settings, plan.steps
        self._display.say(
            f"{plan.preset}, {parameters / 1e6:.2f} M parameters, {plan.optimizer} "
            f"(lr {settings.lr:g}, weight decay {settings.weight_decay:g}, betas "
            f"{settings.betas[0]:g} {settings.betas[1]:g}), {plan.steps:,} steps of "
            f"{plan.batch_size} images of {plan.image_size} pixels, {plan.examples:,} images, "
            f"{plan.classes} classes" + (f"; going on from step {first:,}" if first else "")
        )

    def step(self, step: Step) -> None:
        skipped = "" if step.taken else " (left out: infinite gradients)"
        self._display.progress(f"loss {step.loss:.4f}{skipped}", step.number, self._steps)

    def score(self, number: int, score: Score) -> None:
        seconds = time.perf_counter() - self._started
        self._display.say(f"step {number:,}: {_said(score)} ({seconds:.0f} s)")


def _said(score: Score) -> str:
    return f"loss {score.loss:.4f}, top-1 {score.top1:.2%}, top-5 {score.top5:.2%}"


def _table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("preset", no_wrap=True)
    table.add_column("data", no_wrap=True)
    for column in ("M params", "pixels", "epochs", "batch"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("strong")
    table.add_column("lr, weight decay")
    for preset in PRESETS.values():
        fine_tuned = f", {preset.final_size}" if preset.final_size != preset.image_size else ""
        table.add_row(
            f"[bold]{preset.name}[/]",
            preset.data,
            f"{preset.parameters:g}",
            f"{preset.image_size}{fine_tuned}",
            "-" if preset.epochs is None else f"{preset.epochs:g}",
            str(preset.batch_size),
            "yes" if preset.randaugment else "",
            "; ".join(_setting(name, settings) for name, settings in preset.optimizers.items()),
        )
    return table


def _setting(name: str, settings: OptimizerSettings) -> str:
    return f"{name} {settings.lr:g}, {settings.weight_decay:g}"
