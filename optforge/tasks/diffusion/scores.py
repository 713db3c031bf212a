"""Sampling of a diffusion model, the distance of its images from real ones, and its errors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optforge.tasks.data.cache import require
from optforge.tasks.images.tower import letters_tower
from optforge.tasks.splits import Split

LEVELS = 1000  # of noise
DRAWN, STEPS = 200, 25  # images that scores are measured on, and steps in which they are drawn
TOWER = "resnet"  # trained to classify A to Z; its features are compared


def draw(
    model: nn.Module, count: int, side: int, steps: int, seed: int, given: Tensor | None = None
) -> Tensor:
    """Sample images from noise by DDPM, with fewer steps than in training.

    Args:
        model: Maps a noisy image, its level and what is given, [B, channels, side, side], to the
            noise.
        count: Number of images.
        side: Pixels along one edge.
        steps: Steps from noise to image, at most 1,000.
        seed: Seed of all noise, the same for all models.
        given: Further channels of the model's input, [count, channels, side, side].

    Returns:
        Images [count, 1, side, side], from -1 to 1.

    Source: Ho et al., 2020 (arXiv:2006.11239), algorithm 2; Nichol and Dhariwal, 2021
    (arXiv:2102.09672), section 4, for fewer steps.
    """
    scheduler = require("diffusers", "diffusers", "diffusion").DDPMScheduler(LEVELS)
    scheduler.set_timesteps(steps)
    generator, device = torch.Generator().manual_seed(seed), next(model.parameters()).device
    x = torch.randn(count, 1, side, side, generator=generator)
    more = [] if given is None else [given]
    with torch.no_grad():
        for level in scheduler.timesteps:
            shown = torch.cat([x, torch.full_like(x, float(level)), *more], 1)
            noise = model(shown.to(device)).cpu()
            x = scheduler.step(noise, level, x, generator=generator).prev_sample
    return x.clamp(-1, 1)


def noise_errors(model: nn.Module, split: Split) -> dict[str, float]:
    """Return the mean squared error of the noise in each third of the levels, by name.

    Where noise is low the model must see strokes, where it is high it must know characters.

    Args:
        model: Maps inputs to the noise, as in `draw`.
        split: Inputs whose second channel is the level, and the noise in them.
    """
    device, errors = next(model.parameters()).device, []
    with torch.no_grad():
        for inputs, noise in zip(split.inputs.split(256), split.targets.split(256), strict=True):
            predicted = model(inputs.to(device)).cpu()
            errors.append((predicted - noise).square().flatten(1).mean(1))
    thirds = (split.inputs[:, 1, 0, 0] * 3 / LEVELS).long()
    names = ("noise_error_low", "noise_error_middle", "noise_error_high")
    every = torch.cat(errors).double()
    return {name: every[thirds == third].mean().item() for third, name in enumerate(names)}


def distances(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """Return the Frechet and the kernel distance of drawn images from real ones, by name.

    Both are measured in the 48 features of a ResNet trained to classify A to Z at this resolution.
    Their names say so, because they are not the FID and KID of photographs.

    Args:
        real: Images [N, 1, side, side], from -1 to 1.
        drawn: Images [M, 1, side, side], from -1 to 1.
    """
    tower = letters_tower(TOWER, real.shape[-1])
    with torch.no_grad():
        first, second = (tower((x + 1) / 2).double() for x in (real, drawn))
    return {
        "frechet_distance_letters_resnet": frechet_distance(first, second),
        "kernel_distance_letters_resnet": kernel_distance(first, second),
    }


def frechet_distance(first: Tensor, second: Tensor) -> float:
    r"""Return the squared Frechet distance of two Gaussians fitted to features.

    With means :math:`m, m'` and covariances :math:`C, C'` it is
    :math:`|m - m'|^2 + tr(C + C' - 2 (C^{1/2} C' C^{1/2})^{1/2})`.

    Args:
        first: Features [N, D], at least two rows.
        second: Features [M, D], at least two rows.

    Example:
        >>> square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()
        >>> round(frechet_distance(square, square + 3.0), 6)
        18.0

    Source: Heusel et al., 2017 (arXiv:1706.08500), equation 6.
    """
    first_covariance, second_covariance = torch.cov(first.T), torch.cov(second.T)
    values, vectors = torch.linalg.eigh(first_covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second_covariance @ root).clamp(min=0).sqrt().sum()
    shift = (first.mean(0) - second.mean(0)).square().sum()
    return max(
        0.0, (shift + first_covariance.trace() + second_covariance.trace() - 2 * cross).item()
    )


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Return the squared maximum mean discrepancy of features under a cubic kernel.

    The estimate is unbiased: it does not depend on the number of examples in the mean, and may fall
    below 0 where both come from one distribution.

    Args:
        first: Features [N, D], at least two rows.
        second: Features [M, D], at least two rows.

    Example:
        >>> round(kernel_distance(torch.eye(2), torch.eye(2) + 1.0), 4)
        16.625

    Source: Binkowski et al., 2018 (arXiv:1801.01401), section 4.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1).pow(3)

    def within(a: Tensor) -> Tensor:
        values, count = kernel(a, a), len(a)
        return (values.sum() - values.trace()) / (count * (count - 1))

    return (within(first) + within(second) - 2 * kernel(first, second).mean()).item()
