"""A training at full size: the loop, in one process or many, resumed bit for bit.

A script hands in its data, its model and its loss; what is here is the same for all of them.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

# Imported before there is a group of processes: functions of this module keep as their default
# argument the group that exists then, and its threads would outlive the interpreter.
import torch.distributed.nn.functional  # noqa: F401
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from optforge.tasks import schedule
from paper import folder, options
from paper.examples import MicroBatches, content_seed, loader, seeded
from paper.optimizers import MOMENTA, OPTIMIZERS, load_state, make_optimizer
from paper.options import TrainingError, option, session

say = partial(print, flush=True)
PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
DECAYS = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class TrainingOptions:
    """Options of every training: a preset replaces these defaults, the command line both."""

    preset: str | None = option(None, "name of the preset")
    data: str = session("", "place of the data")
    out: str = session("", "folder for checkpoint and log")
    resume: bool = session(False, "continue from the checkpoint in --out, if there is one")
    reduced: bool = option(False, "a tiny model of the same kind")
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
    batch_size: int = option(4096, "examples of a step, all processes together", "count")
    warmup_steps: int | None = option(None, "10,000, or a fifth of a shorter run", "whole")
    decay: str = option("cosine", "of the rate after the warm-up", "|".join(DECAYS))
    ema: float | None = option(None, "decay of a mean of the weights, which is evaluated", "share")
    seed: int = option(0, "of weights, order and all that is random", "whole")
    # The machine; the number of micro-batches, accumulation x processes, must stay
    accumulation: int = session(1, "micro-batches one after another", "count")
    precision: str = option("float32", "float32, or mixed precision", "|".join(PRECISIONS))
    compile: bool = session(False, "compile the model")
    workers: int = session(4, "processes that read data, for each device", "whole")
    cpu: bool = session(False, "train on the CPU even if there is a GPU")
    evaluate_every: int | None = session(None, "steps; by default a tenth of the run", "count")
    checkpoint_every: int | None = session(None, "steps; by default as evaluations", "count")
    checkpoint_minutes: float = session(30.0, "minutes between checkpoints at most", "limit")
    stop_after: int | None = session(None, "end with a checkpoint after so many steps", "count")

    def __post_init__(self) -> None:
        options.check_options(self)
        if self.steps is not None and self.epochs is not None:
            raise TrainingError("both steps and epochs are given; give one")


def budget(config: TrainingOptions, examples: int) -> tuple[int, int]:
    """Return the steps of the whole run and of its warm-up, for a number of training examples.

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


def rate_share(decay: str, step: int, steps: int, warmup: int) -> float:
    """Return the learning rate of a step as a share of its peak.

    Example:
        >>> [round(rate_share("linear", step, 5, 2), 2) for step in range(5)]
        [0.5, 1.0, 0.67, 0.33, 0.0]
    """
    if decay == "cosine" or step < warmup:
        return schedule(step, steps, warmup / steps)
    return 1.0 if decay == "constant" else (steps - 1 - step) / max(1, steps - warmup)


class TrainingLoop(ABC):
    """A training as it goes, in this process among all.

    Args:
        config: Its options.
        accelerator: Spreads it over processes and devices.
    """

    noun = "examples"  # what a batch consists of
    counted = 2  # the length of `sums`
    evaluated = 256  # examples of an evaluation batch

    def __init__(self, config: Any, accelerator: Accelerator) -> None:
        self.config, self.accelerator, self.number = config, accelerator, 0
        self.reduce: Any = accelerator.reduce
        self.process = accelerator.process_index, accelerator.num_processes
        self.micro_batches = config.accumulation * accelerator.num_processes
        if config.batch_size % self.micro_batches:
            raise TrainingError(
                f"a batch of {config.batch_size} {self.noun} cannot be cut into "
                f"{self.micro_batches} equal parts (processes times accumulation); change one of "
                "them"
            )
        self.examples, self.held = self.open_data()
        self.steps, self.warmup = budget(config, len(self.examples))
        self._build()

    @abstractmethod
    def open_data(self) -> tuple[Any, Any]:
        """Return the examples to train on and to evaluate on, indexed by (epoch, number)."""

    @abstractmethod
    def make_model(self) -> nn.Module:
        """Return the model to start from, drawn from torch's global generator."""

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the training loss of a micro-batch; torch's generator belongs to its place."""

    @abstractmethod
    def sums(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return what :meth:`score` needs of an evaluation batch, float64, to be added up."""

    @abstractmethod
    def score(self, sums: list[float]) -> dict[str, float]:
        """Return the figures of an evaluation by name, ``loss`` first."""

    def data_plan(self) -> dict[str, Any]:
        """Return what belongs to the plan besides options and budget."""
        return {}

    def _build(self) -> None:
        config = self.config
        with seeded(content_seed(config.seed, "model")):
            self.model = self.make_model()
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
        return {
            **options.fixed_options(self.config),
            **{"steps": self.steps, "epochs": None, "warmup_steps": self.warmup},
            **{"micro_batches": self.micro_batches, "examples": len(self.examples)},
            **self.data_plan(),
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
        lr = self.lr * rate_share(self.config.decay, self.number, self.steps, self.warmup)
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
        loss = self.loss(x, y)
        self.accelerator.backward(loss)
        return loss.detach()

    def evaluate(self) -> dict[str, float]:
        """Measure the model, or the mean of its weights, on every validation example once."""
        model = self.model if self.mean is None else self.mean.module
        broadcast(list(model.buffers()))  # those of the first process, as its checkpoint has them
        places = range(self.process[0], len(self.held), self.process[1])
        starts = range(0, len(places), self.evaluated)
        batches = [[(0, i) for i in places[at : at + self.evaluated]] for at in starts]
        device = self.accelerator.device
        total = torch.zeros(self.counted, dtype=torch.float64, device=device)
        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            for x, y in loader(self.held, batches, self.config.workers):
                total += self.sums(model, x.to(device), y.to(device))
        model.train()
        return self.score(self.reduce(total, "sum").tolist())

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


def train(config: TrainingOptions, make: type[TrainingLoop]) -> dict[str, float]:
    """Train in all processes that torchrun started; return the last score on validation data.

    Args:
        config: The options.
        make: The training.

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
        score = _conduct(make(config, accelerator))
        accelerator.wait_for_everyone()
        return score
    finally:
        accelerator.free_memory()  # nothing may refer to the group of processes when it ends


def _conduct(training: TrainingLoop) -> dict[str, float]:
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
            log.add(
                **step,
                **{f"{training.noun}_per_second": round(config.batch_size / (now - since), 2)},
            )
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
