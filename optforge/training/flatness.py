"""Flatness of the loss around trained weights: its mean under Gaussian weight noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from optforge.tasks import Task
from optforge.training.random_numbers import draws_random_numbers, random_numbers


@dataclass(frozen=True)
class Flatness:
    """The effect of weight noise on a model's loss.

    Args:
        loss: Loss without noise.
        noisy: Mean loss over the draws of noise.
        error: Standard error of that mean.
    """

    loss: float
    noisy: float
    error: float


@dataclass(frozen=True)
class WeightNoise:
    r"""Gaussian noise on the weights of a model.

    Args:
        deviation: Standard deviation :math:`\sigma`.
        relative: Scale the noise of each parameter array by the root mean square of its
            elements, which takes the size of the weights out of the comparison.
        draws: Number of draws of the noise; the paper uses 1000.
        seed: Seed of the noise.
    """

    deviation: float
    relative: bool = False
    draws: int = 100
    seed: int = 0


def weight_noise_loss(
    task: Task,
    model: nn.Module,
    noise: WeightNoise | float,
    *,
    split: str = "train",
    examples: int = 1024,
) -> Flatness:
    r"""Estimate the mean loss of a model under weight noise; the model is left unchanged.

    .. math::
        L_\sigma = E_{\epsilon \sim N(0, I)}[L(w + \sigma \epsilon)]

    Two models of the same architecture that are measured with the same seed get the same noise, so
    that differences between them are paired.

    Args:
        task: Task with data and loss; training augmentation is not applied here.
        model: A trained model; buffers get no noise.
        noise: Noise on the weights; a number is its standard deviation, with the other defaults.
        split: ``train``, as in the paper, or ``validation`` or ``test``.
        examples: Number of examples, the first ones of the split.

    Returns:
        Loss, noisy loss and its standard error.

    Example:
        >>> from optforge.tasks import initial_model, load_task
        >>> task = load_task("digits_mlp")
        >>> flatness = weight_noise_loss(task, initial_model(task, 0), WeightNoise(0.0, draws=2))
        >>> abs(flatness.noisy - flatness.loss) < 1e-6, flatness.error
        (True, 0.0)

    Source: Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, table 10.
    """
    noise = noise if isinstance(noise, WeightNoise) else WeightNoise(noise)
    part = getattr(task.splits, split)
    device = next(model.parameters()).device
    inputs, targets = part.inputs[:examples].to(device), part.targets[:examples].to(device)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    sizes = {name: _size(w) if noise.relative else 1.0 for name, w in weights.items()}
    scales = {name: noise.deviation * size for name, size in sizes.items()}
    generator = torch.Generator().manual_seed(noise.seed)
    random = draws_random_numbers(task)
    was_training = model.training

    def loss(arrays: dict[str, torch.Tensor]) -> float:
        with random_numbers(0, 0, random):
            return task.loss(functional_call(model, arrays, (inputs,)), targets).item()

    model.eval()
    try:
        with torch.no_grad():
            plain = loss(weights)
            shaken = [loss(_shaken(weights, scales, generator)) for _ in range(noise.draws)]
    finally:
        model.train(was_training)
    values = torch.tensor(shaken, dtype=torch.float64)
    error = values.std().item() / math.sqrt(noise.draws) if noise.draws > 1 else math.nan
    return Flatness(plain, values.mean().item(), error)


def _size(weight: torch.Tensor) -> float:
    return weight.square().mean().sqrt().item()


def _shaken(
    weights: dict[str, torch.Tensor], scales: dict[str, float], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return weights with noise, drawn on the CPU so that it is the same on every device."""
    return {
        name: w + scales[name] * torch.randn(w.shape, generator=generator).to(w.device, w.dtype)
        for name, w in weights.items()
    }
