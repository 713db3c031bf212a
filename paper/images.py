"""Train one of the paper's image models on your own pictures, on one device or on many.

    python -m paper.images vit_b16_augmented --data /data/imagenet --out runs/vit --accumulation 16
    torchrun --nproc-per-node 8 -m paper.images vit_b16_augmented ... --accumulation 2
    python -m paper.images --list

With --resume it continues from the last checkpoint. paper/README.md starts every preset here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

# Imported before there is a group of processes: functions of this module keep as their default
# argument the group that exists then, and its threads would outlive the interpreter.
import torch.distributed.nn.functional  # noqa: F401
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from optforge.tasks import schedule
from optforge.tasks.images.finetune import fit
from paper import folder, options
from paper.augmentation import evaluation_transform, mix_up, training_transform
from paper.examples import Examples, MicroBatches, content_seed, loader, seeded
from paper.models import build_model
from paper.optimizers import MOMENTA, OPTIMIZERS, load_state, make_optimizer
from paper.options import TrainingError, option, session
from paper.pictures import open_pictures

PRESETS = options.read_presets("images")
say = partial(print, flush=True)
PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class Config:
    """Options of a training: a preset replaces these defaults, the command line replaces both."""

    preset: str | None = option(None, "name of the preset")
    data: str = session(
        "", "folder of train/CLASS/*.jpg and val/..., of Parquet files, or hub:NAME"
    )
    out: str = session("", "folder for checkpoint and log")
    init: str | None = session(None, "checkpoint to fine-tune; give it when resuming too")
    resume: bool = session(False, "continue from the checkpoint in --out, if there is one")
    # The model
    model: str = option("", "timm's name of the architecture")
    model_options: dict[str, Any] | None = option(None, "further options of timm's model")
    image_size: int = option(224, "pixels along one edge", "count")
    dropout: float = option(0.0, "share of activations dropped (Vision Transformers)", "share")
    stochastic_depth: float = option(0.0, "share of branches dropped in the last block", "share")
    reduced: bool = option(False, "a tiny model of the same kind, on small pictures")
    # The optimizer
    optimizer: str = option("lion", f"{', '.join(OPTIMIZERS)}, or a rule by its name or file")
    lr: float | None = option(None, "peak learning rate", "positive")
    weight_decay: float | None = option(None, "decoupled; of sgd L2", "not negative")
    betas: tuple[float, float] | None = option(None, "both betas", "share")
    momentum_dtype: str = option("bfloat16", "dtype of Lion's and Adafactor's", "|".join(MOMENTA))
    clip_norm: float = option(1.0, "largest global norm of the gradients, or inf", "limit")
    # The budget
    epochs: float | None = option(None, "passes over the data", "positive")
    steps: int | None = option(None, "optimizer steps, in place of epochs", "count")
    batch_size: int = option(4096, "pictures of a step, all processes together", "count")
    warmup_steps: int | None = option(None, "10,000, or a fifth of a shorter run", "whole")
    # Regularization
    randaugment: tuple[int, int] | None = option(None, "operations and magnitude", "count")
    mixup: float = option(0.0, "parameter of Mixup's Beta distribution, or 0", "not negative")
    label_smoothing: float = option(0.0, "share of the label spread over all classes", "share")
    ema: float | None = option(None, "decay of a mean of the weights, which is evaluated", "share")
    seed: int = option(0, "of weights, order, augmentation, dropout and Mixup", "whole")
    # The machine; the number of micro-batches, accumulation x processes, must stay
    accumulation: int = session(1, "micro-batches one after another", "count")
    precision: str = option("float32", "float32, or mixed precision", "|".join(PRECISIONS))
    compile: bool = session(False, "compile the model")
    workers: int = session(4, "processes that read pictures, for each device", "whole")
    cpu: bool = session(False, "train on the CPU even if there is a GPU")
    evaluate_every: int | None = session(None, "steps; by default a tenth of the run", "count")
    checkpoint_every: int | None = session(None, "steps; by default as evaluations", "count")
    checkpoint_minutes: float = session(30.0, "minutes between checkpoints at most", "limit")
    stop_after: int | None = session(None, "end with a checkpoint after so many steps", "count")

    def __post_init__(self) -> None:
        options.check_options(self)
        if self.steps is not None and self.epochs is not None:
            raise TrainingError("both steps and epochs are given; give one")


def load_preset(name: str, optimizer: str = "lion", **changes: Any) -> Config:
    """Return the configuration of a preset with options replaced.

    Raises:
        TrainingError: If there is no such preset, or a value is not allowed.

    Example:
        >>> config = load_preset("vit_b16_augmented", steps=100)
        >>> config.lr, config.weight_decay, config.steps
        (0.0001, 10.0, 100)
    """
    if name not in PRESETS:
        raise TrainingError(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}")
    row = PRESETS[name]
    known = {f.name: row[f.name] for f in fields(Config) if f.name in row}
    if "steps" in changes:
        known.pop("epochs", None)
    if changes.get("reduced"):
        known["image_size"] = 28 if "patch14" in row["model"] else 64
    settings = row["optimizers"].get(optimizer, {})
    return Config(preset=name, optimizer=optimizer, **{**known, **settings, **changes})


def budget(config: Config, examples: int) -> tuple[int, int]:
    """Return the steps of the whole run and of its warm-up, for a number of training pictures.

    Raises:
        TrainingError: If there is no budget, or the warm-up is longer.
    """
    steps = config.steps
    if steps is None:
        if config.epochs is None:
            raise TrainingError(f"no budget for {config.preset} in the paper; give epochs or steps")
        steps = max(1, round(config.epochs * examples / config.batch_size))
    warmup = config.warmup_steps
    if warmup is not None and warmup > steps:
        raise TrainingError(f"warmup_steps is {warmup} in a run of {steps} steps; at most as many")
    return steps, min(10_000, max(1, steps // 5)) if warmup is None else warmup


class Training:
    """A training as it goes, in this process among all."""

    def __init__(self, config: Config, accelerator: Accelerator) -> None:
        self.config, self.accelerator, self.number = config, accelerator, 0
        self.reduce: Any = accelerator.reduce
        self.process = accelerator.process_index, accelerator.num_processes
        self.micro_batches = config.accumulation * accelerator.num_processes
        if config.batch_size % self.micro_batches:
            raise TrainingError(
                f"a batch of {config.batch_size} images cannot be cut into {self.micro_batches} "
                "equal parts (processes times accumulation); change one of them"
            )
        data = open_pictures(config.data)
        self.classes, self.digest = len(data.classes), data.digest
        augment = training_transform(config.image_size, config.randaugment)
        self.examples = Examples(data.train, augment, config.seed)
        self.held = Examples(data.validation, evaluation_transform(config.image_size))
        self.steps, self.warmup = budget(config, len(self.examples))
        self._build()

    def _build(self) -> None:
        config = self.config
        with seeded(content_seed(config.seed, "model")):
            self.model = build_model(config, self.classes)
        if config.init is not None:  # fine-tune, with a new head and positions if need be
            weights = folder.read_checkpoint(Path(config.init))["model"]
            self.model.load_state_dict(fit(weights, self.model.state_dict(), str(config.preset)))
        self.model.to(self.accelerator.device)
        self.mean = None
        if config.ema is not None:
            update = get_ema_multi_avg_fn(config.ema)
            self.mean = AveragedModel(self.model, multi_avg_fn=update, use_buffers=True)
        more = {"momentum_dtype": config.momentum_dtype, "steps": self.steps}
        rates = (config.lr, config.weight_decay, config.betas)
        optimizer = make_optimizer(config.optimizer, self.model, *rates, **more)
        self.lr = optimizer.param_groups[0]["lr"]
        if config.compile:
            self.model.compile()
        # `forward` is the model spread over the processes; the bare one has plain names to save.
        self.forward, self.optimizer = self.accelerator.prepare(self.model, optimizer)

    def plan(self) -> dict[str, Any]:
        """Return what is trained; a training that is resumed must have the same."""
        init = self.config.init
        return {
            **options.fixed_options(self.config),
            **{"steps": self.steps, "epochs": None, "warmup_steps": self.warmup},
            **{"micro_batches": self.micro_batches, "classes": self.classes},
            **{"examples": len(self.examples), "pictures": self.digest},
            "initial": None if init is None else folder.file_digest(Path(init)),
        }

    def run(self, until: int) -> Iterator[dict[str, Any]]:
        """Train up to a step and yield the numbers of each."""
        config, count = self.config, self.micro_batches
        order = MicroBatches(
            *(len(self.examples), config.batch_size // count, count),
            *((self.number, until), self.process, config.seed),
        )
        batches = iter(loader(self.examples, order, config.workers))
        while self.number < until:
            step = self._step(batches)
            if not math.isfinite(step["loss"]):
                raise TrainingError(
                    f"the training loss is {step['loss']} at step {self.number}; a smaller "
                    "learning rate or a longer warm-up may help. The last checkpoint is unchanged"
                )
            yield step

    def _step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        lr = self.lr * schedule(self.number, self.steps, self.warmup / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        scaler, total = self.accelerator.scaler, torch.zeros((), device=self.accelerator.device)
        scale = scaler.get_scale() if scaler else 1.0
        for number in range(self.process[0], self.micro_batches, self.process[1]):
            with self.accelerator.accumulate(self.forward):
                total += self._backward(*next(batches), number) / self.micro_batches
                if self.accelerator.sync_gradients and math.isfinite(self.config.clip_norm):
                    self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
        if self.mean is not None:
            self.mean.update_parameters(self.model)
        self.number += 1
        loss = self.reduce(total, "sum").item()
        # A scaler whose gradients overflow leaves the step out and halves its scale.
        taken = scaler is None or scaler.get_scale() >= scale
        return {"number": self.number, "loss": loss, "lr": lr, "taken": taken}

    def _backward(self, x: Tensor, y: Tensor, number: int) -> Tensor:
        """Add the gradients of a micro-batch; what is random in it depends on its place alone."""
        x, y = (t.to(self.accelerator.device, non_blocking=True) for t in (x, y))
        torch.manual_seed(content_seed(self.config.seed, "step", self.number, number))
        if self.config.mixup:
            x, y = mix_up(x, y, self.config.mixup, self.classes)
        output = self.forward(x).float()
        loss = functional.cross_entropy(output, y, label_smoothing=self.config.label_smoothing)
        self.accelerator.backward(loss)
        return loss.detach()

    def evaluate(self) -> dict[str, float]:
        """Measure the model, or the mean of its weights, on every validation picture once."""
        model = self.model if self.mean is None else self.mean.module
        broadcast(list(model.buffers()))  # those of the first process, as its checkpoint has them
        places = range(self.process[0], len(self.held), self.process[1])
        batches = [[(0, i) for i in places[at : at + 256]] for at in range(0, len(places), 256)]
        sums = torch.zeros(4, dtype=torch.float64, device=self.accelerator.device)
        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            for x, y in loader(self.held, batches, self.config.workers):
                sums += _sums(model(x.to(sums.device)).float(), y.to(sums.device))
        model.train()
        loss, top1, top5, count = self.reduce(sums, "sum").tolist()
        return {"loss": loss / count, "top1": top1 / count, "top5": top5 / count}

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "mean": self.mean}
        parts["scaler"] = self.accelerator.scaler
        return {name: part for name, part in parts.items() if part is not None}

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        states = {name: part.state_dict() for name, part in self._parts().items()}
        return {"number": self.number, **states}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state as if nothing had been in between."""
        for name, part in self._parts().items():
            load_state(part, state[name])
        self.number = state["number"]


def _sums(output: Tensor, y: Tensor) -> Tensor:
    """Return the sums of loss, hits and hits among the five likeliest, and the count."""
    loss = functional.cross_entropy(output.double(), y, reduction="sum")
    hits = (output.topk(min(5, output.shape[1]), dim=1).indices == y[:, None]).double()
    return torch.stack([loss, hits[:, 0].sum(), hits.sum(), loss.new_tensor(len(y))])


def train(config: Config) -> dict[str, float]:
    """Train in all processes that torchrun started; return the last score on validation pictures.

    Raises:
        OptforgeError: If something does not fit or is missing, or the loss diverges.
    """
    try:
        accelerator = Accelerator(
            cpu=config.cpu,
            mixed_precision=PRECISIONS[config.precision],
            gradient_accumulation_steps=config.accumulation,
        )
        if config.precision == "float16" and accelerator.scaler is None:
            raise ValueError("it needs a GPU")
    except ValueError as error:
        raise TrainingError(f"precision {config.precision} cannot be used: {error}") from error
    try:
        score = _conduct(Training(config, accelerator))
        accelerator.wait_for_everyone()
        return score
    finally:
        accelerator.free_memory()  # nothing may refer to the group of processes when it ends


def _conduct(training: Training) -> dict[str, float]:
    """Train with evaluations, checkpoints and the log; only the first process writes."""
    config, first, plan = training.config, training.accelerator.is_main_process, training.plan()
    out, log, score = Path(config.out), folder.Log(Path(config.out)), None
    folder.resume(out, plan, config.resume, training.load)
    if first:
        log.begin(training.number, plan=plan, first=training.number, torch=torch.__version__)
        size = sum(p.numel() for p in training.model.parameters()) / 1e6
        begin, end = training.number, training.steps
        say(f"{config.preset}: {size:.2f} M parameters, lr {training.lr:g}, steps {begin} to {end}")
    training.accelerator.wait_for_everyone()
    last = min(training.steps, training.number + (config.stop_after or training.steps))
    evaluate_every = config.evaluate_every or max(1, training.steps // 10)
    checkpoint_every = config.checkpoint_every or evaluate_every
    since = saved = time.perf_counter()
    for step in training.run(last):
        number, now = step["number"], time.perf_counter()
        if first:
            log.add(**step, images_per_second=round(config.batch_size / (now - since), 2))
            if not step["taken"]:
                say(f"step {number}: infinite gradients, left out")
        if number == last or number % evaluate_every == 0:
            score = training.evaluate()
            if first:
                log.add(number=number, validation=score)
                words = ", ".join(f"{name} {value:.4f}" for name, value in score.items())
                say(f"step {number}: training loss {step['loss']:.4f}; validation {words}")
        since = time.perf_counter()
        due = number % checkpoint_every == 0 or now - saved >= 60 * config.checkpoint_minutes
        if first and (number == last or due):
            folder.save_checkpoint(out, plan, training.state())
            saved = time.perf_counter()
    return score or training.evaluate()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""

    def run(**values: Any) -> None:
        train(load_preset(**values))

    options.run_command(Config, PRESETS, run, str(__doc__), arguments)


if __name__ == "__main__":
    main()
