"""Loss, top-1 and top-5 of a model over all validation pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from optforge.images.data import Examples, collate
from optforge.images.processes import Processes


@dataclass(frozen=True)
class Score:
    """What a model reaches on the validation pictures.

    Args:
        loss: Mean cross entropy.
        top1: Share of pictures whose class is the likeliest.
        top5: Share of pictures whose class is among the five likeliest.
    """

    loss: float
    top1: float
    top5: float


def evaluate(
    model: nn.Module,
    examples: Examples,
    among: Processes,
    *,
    batch_size: int = 256,
    workers: int = 0,
    autocast: Any = None,
) -> Score:
    """Measure a model; every picture is seen once, by one process.

    Args:
        model: Left in the mode it was in.
        examples: Validation pictures.
        among: The processes that share the work.
        batch_size: Pictures at once.
        workers: Processes that read.
        autocast: Makes a context for the forward pass, or None.

    Returns:
        The same score in every process.
    """
    mine = [(0, index) for index in range(among.rank, len(examples), among.world)]
    batches = [mine[at : at + batch_size] for at in range(0, len(mine), batch_size)]
    loader: Any = DataLoader(
        examples,
        batch_sampler=batches,  # pyright: ignore[reportArgumentType]
        collate_fn=collate,
        num_workers=workers,
        pin_memory=among.device.type == "cuda",
    )
    was_training = model.training
    model.eval()
    sums = torch.zeros(4, dtype=torch.float64, device=among.device)
    try:
        with torch.inference_mode():
            for inputs, targets in loader:
                inputs, targets = (x.to(among.device, non_blocking=True) for x in (inputs, targets))
                if autocast is None:
                    output = model(inputs)
                else:
                    with autocast():
                        output = model(inputs)
                sums += _sums(output.float(), targets)
    finally:
        model.train(was_training)
    loss, top1, top5, count = among.total(sums).tolist()
    return Score(loss / count, top1 / count, top5 / count)


def _sums(output: Tensor, targets: Tensor) -> Tensor:
    loss = functional.cross_entropy(output, targets, reduction="sum").double()
    best = output.topk(min(5, output.shape[1]), dim=1).indices == targets[:, None]
    count = torch.tensor(float(len(targets)), dtype=torch.float64, device=output.device)
    return torch.stack([loss, best[:, 0].sum().double(), best.sum().double(), count])
