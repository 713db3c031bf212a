"""Training on images: mixed precision, accumulation, several processes, exact resumption."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from optforge.errors import TrainingError
from optforge.images.data import Examples, ImageData, collate
from optforge.images.evaluate import Score, evaluate
from optforge.images.models import build_model
from optforge.images.optimizers import make_optimizer
from optforge.images.order import Pieces, content_seed
from optforge.images.packages import package
from optforge.images.plan import Plan
from optforge.images.processes import Processes
from optforge.images.transforms import evaluation_transform, seeded, training_transform
from optforge.tasks import schedule
from optforge.tasks.images.finetune import fit


@dataclass(frozen=True)
class Step:
    """What one step did.

    Args:
        number: From 1.
        loss: Mean training loss of the batch, over all processes.
        lr: Learning rate used.
        taken: False where infinite gradients of float16 made the scaler leave the step out.
    """

    number: int
    loss: float
    lr: float
    taken: bool


class Trainer:
    """A training as it goes.

    Args:
        plan: What is trained.
        data: The pictures.
        among: This process among all.
        compile: Whether to compile the model.
        workers: Processes that read pictures.

    Example: docs/images.md shows the command; tests/images trains on a handful of pictures.
    """

    def __init__(
        self,
        plan: Plan,
        data: ImageData,
        among: Processes,
        *,
        compile: bool = False,
        workers: int = 0,
    ) -> None:
        self.plan, self.among, self.workers, self.steps = plan, among, workers, 0
        source = plan.source
        train = training_transform(plan.image_size, source.randaugment)
        self.train_set = Examples(data.train, train, plan.seed)
        self.validation_set = Examples(data.validation, evaluation_transform(plan.image_size))
        with seeded(content_seed(plan.seed, "model")):
            model = build_model(source, plan.classes, plan.image_size, plan.reduced)
        self.model = model.to(among.device)
        self.optimizer = make_optimizer(
            plan.optimizer, self.model, plan.settings, plan.momentum_dtype
        )
        half = plan.precision == "float16"
        self.scaler = torch.amp.GradScaler(among.device.type, enabled=half)
        self.average = _average(self.model, plan.ema)
        self.forward = _forward(self.model, among, compile)

    def run(self, until: int) -> Iterator[Step]:
        """Train up to a step, yielding after each.

        Raises:
            TrainingError: If the loss is no longer finite.
        """
        pieces = Pieces(
            self.plan.examples,
            self.plan.piece,
            self.plan.pieces,
            (self.steps, min(until, self.plan.steps)),
            self.among.rank,
            self.among.world,
            self.plan.seed,
        )
        batches = iter(self._loader(pieces))
        while self.steps < min(until, self.plan.steps):
            done = self._step(batches)
            if not math.isfinite(done.loss):
                raise TrainingError(
                    f"the training loss is {done.loss} at step {done.number}; a smaller learning "
                    "rate or a longer warm-up may help. The last checkpoint is as it was"
                )
            yield done

    def evaluate(self) -> Score:
        """Measure the model, or the mean of its weights where one is kept."""
        measured = self.model if self.average is None else self.average.module
        self.among.share_buffers(measured)
        return evaluate(
            measured, self.validation_set, self.among, workers=self.workers, autocast=self._autocast
        )

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Fine-tune: take a trained model's weights, with a new head and positions if need be.

        Raises:
            TaskError: If they are of another architecture.
        """
        fitted = fit(weights, self.model.state_dict(), self.plan.preset)
        self.model.load_state_dict(fitted)
        self.average = _average(self.model, self.plan.ema)

    def state(self) -> dict[str, Any]:
        """Everything but the plan and the step that a checkpoint needs."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        return state

    def load(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint, as if nothing had been in between."""
        self.model.load_state_dict(content["model"])
        _load_optimizer(self.optimizer, content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.steps = content["step"]

    def _loader(self, pieces: Pieces) -> Any:
        return DataLoader(
            self.train_set,
            batch_sampler=pieces,  # pyright: ignore[reportArgumentType]
            collate_fn=collate,
            num_workers=self.workers,
            pin_memory=self.among.device.type == "cuda",
        )

    def _step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> Step:
        lr = self._set_rate()
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.among.device)
        numbers = range(self.among.rank, self.plan.pieces, self.among.world)
        for number in numbers:
            last = number == numbers[-1]
            total += self._backward(*next(batches), number, last) / self.plan.pieces
        before = self.scaler.get_scale()
        if self.plan.source.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.source.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.steps += 1
        taken = self.scaler.get_scale() >= before
        return Step(self.steps, self.among.total(total).item(), lr, taken)

    def _set_rate(self) -> float:
        plan = self.plan
        lr = plan.settings.lr * schedule(self.steps, plan.steps, plan.warmup_steps / plan.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _backward(self, inputs: Tensor, targets: Tensor, number: int, last: bool) -> Tensor:
        """Add the gradients of one micro-batch; whatever is random depends on its place alone."""
        inputs, targets = (x.to(self.among.device, non_blocking=True) for x in (inputs, targets))
        wait = isinstance(self.forward, DistributedDataParallel) and not last
        with self.forward.no_sync() if wait else nullcontext():  # pyright: ignore
            torch.manual_seed(content_seed(self.plan.seed, "step", self.steps, number))
            inputs, targets = self._mixed(inputs, targets)
            with self._autocast():
                output = self.forward(inputs)
            smoothing = self.plan.label_smoothing
            loss = functional.cross_entropy(output.float(), targets, label_smoothing=smoothing)
            # Processes take the mean of their gradients, pieces of one process the sum.
            share = self.plan.pieces // self.among.world
            self.scaler.scale(loss / share).backward()
        return loss.detach()

    def _mixed(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if not self.plan.source.mixup:
            return inputs, targets
        transforms: Any = package("torchvision.transforms.v2")
        return transforms.MixUp(alpha=self.plan.source.mixup, num_classes=self.plan.classes)(
            inputs, targets
        )

    def _autocast(self) -> Any:
        if self.plan.precision == "float32":
            return nullcontext()
        return torch.autocast(self.among.device.type, getattr(torch, self.plan.precision))


def _average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    update = get_ema_multi_avg_fn(decay)
    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def _forward(model: nn.Module, among: Processes, compile: bool) -> Any:
    """The model as it is called: compiled and spread over processes; its weights stay shared."""
    called: Any = torch.compile(model) if compile else model
    if among.world == 1:
        return called
    devices = [among.device.index] if among.device.type == "cuda" else None
    return DistributedDataParallel(called, device_ids=devices)


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state with its own dtypes: torch would turn a bfloat16 momentum into float32."""
    optimizer.load_state_dict(state)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, saved in state["state"].items():
        current = optimizer.state[parameters[number]]
        for key, value in saved.items():
            if isinstance(value, Tensor) and current[key].dtype != value.dtype:
                current[key] = value.to(current[key].device)
