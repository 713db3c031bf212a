"""A training at full size: the loop, in one process or many, resumed bit for bit.

A script hands in its data, its model and its loss; what is here is the same for all of them.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
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

from paper import folder, options
from paper.examples import MicroBatches, content_seed, loader, seeded
from paper.optimizers import load_state, make_optimizer
from paper.options import TrainingError
from paper.training_options import PRECISIONS, TrainingOptions, budget, rate_share

say = partial(print, flush=True)


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
        total = torch.zeros(self.counted, dtype=torch.float64, device=self.accelerator.device)
        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            for x, y in self.batches(self.held, self.places(self.held)):
                total += self.sums(model, x, y)
        model.train()
        return self.score(self.reduce(total, "sum").tolist())

    def places(self, examples: Sized) -> range:
        """Return the indices of the examples that this process evaluates."""
        return range(self.process[0], len(examples), self.process[1])

    def batches(self, examples: Any, places: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield evaluation batches of these examples on this process's device."""
        starts, device = range(0, len(places), self.evaluated), self.accelerator.device
        rows = [[(0, i) for i in places[at : at + self.evaluated]] for at in starts]
        for x, y in loader(examples, rows, self.config.workers):
            yield x.to(device), y.to(device)

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


def run_script(
    config: type[TrainingOptions],
    presets: Mapping[str, Any],
    load_preset: Callable[..., Any],
    make: type[TrainingLoop],
    text: str,
    arguments: list[str] | None,
) -> None:
    """Run the command line of a training script.

    Args:
        config: The dataclass of its options.
        presets: Its presets by name.
        load_preset: Returns the configuration of a preset with options replaced.
        make: Its training.
        text: Help text.
        arguments: The words of the command line; None for those of this process.
    """

    def run(**values: Any) -> None:
        train(load_preset(**values), make)

    options.run_command(config, presets, run, text, arguments)


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
