"""Loss under weight noise: against the closed form of a quadratic."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from optforge.tasks import Data, Split, initial_model
from optforge.training import WeightNoise, weight_noise_loss
from tests.helpers.tiny import Blobs, WithBatchNorm, WithDropout


class Square(Blobs):
    """Loss |W x|^2 over x = e1, e2, e3, so its mean under noise is known."""

    def data(self) -> Data:
        return Data(*(Split(torch.eye(3), torch.zeros(3)) for _ in range(3)))

    def model(self) -> nn.Module:
        return nn.Linear(3, 2, bias=False)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return output.square().sum(1).mean()

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        return output.mean()


@pytest.mark.parametrize("relative", [False, True])
def test_the_mean_is_that_of_the_closed_form(relative: bool) -> None:
    task, deviation = Square(), 0.5
    model = initial_model(task, 0)
    weight = next(model.parameters()).detach()
    kept = weight.clone()
    size = weight.square().mean().sqrt().item() if relative else 1.0
    found = weight_noise_loss(task, model, WeightNoise(deviation, relative, draws=2000))
    expected = weight.square().sum().item() / 3 + 2 * (deviation * size) ** 2
    assert found.loss == pytest.approx(weight.square().sum().item() / 3, rel=1e-5)
    assert abs(found.noisy - expected) < 4 * found.error < 0.3
    assert torch.equal(weight, kept) and model.training


def test_noise_is_paired_between_models() -> None:
    task = Square()
    models = [initial_model(task, seed) for seed in (0, 1)]
    with torch.no_grad():
        next(models[1].parameters()).copy_(next(models[0].parameters()))
    first, second = (weight_noise_loss(task, model, WeightNoise(0.3, draws=5)) for model in models)
    assert first == second
    assert first != weight_noise_loss(task, models[0], WeightNoise(0.3, draws=5, seed=1))


@pytest.mark.parametrize("kind", [WithDropout, WithBatchNorm])
def test_it_measures_the_evaluated_model(kind: type[Blobs]) -> None:
    task = kind()
    model = initial_model(task, 0)
    found = weight_noise_loss(task, model, WeightNoise(0.0, draws=3), split="validation")
    assert found.noisy == pytest.approx(found.loss, rel=1e-6) and found.error < 1e-6
