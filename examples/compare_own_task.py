"""Is Lion better than AdamW on a problem of your own? Plain PyTorch, a minute on a laptop.

Run it with `python examples/compare_own_task.py`, or from the command line, with progress:

    optforge compare --tasks examples/compare_own_task.py:Spirals --optimizers adamw,lion,sgd
"""

import torch
from torch import nn

from optforge.tasks import Data, Split, Task


class Spirals(Task):
    """Two interleaved spirals, separated by a small network."""

    steps, batch_size = 150, 32

    def data(self) -> Data:
        """Train, validation, test: settings are chosen on the second, the third is for the end."""
        generator = torch.Generator().manual_seed(0)
        return Data(*(self.draw(size, generator) for size in (2000, 500, 2000)))

    def draw(self, size: int, generator: torch.Generator) -> Split:
        """Points [size, 2] with some noise, and the number of their spiral [size]."""
        side, turn = torch.arange(size) % 2, 4 * torch.rand(size, generator=generator)
        points = torch.stack([turn * torch.cos(turn), turn * torch.sin(turn)], 1) / 2
        noise = 0.1 * torch.randn(size, 2, generator=generator)
        return Split(points * (1 - 2 * side[:, None]) + noise, side)

    def model(self) -> nn.Module:
        """Any module."""
        return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))


class MySignSGD(torch.optim.Optimizer):
    """An optimizer of your own needs nothing special."""

    def __init__(self, params, lr: float = 1e-3, weight_decay: float = 0.0) -> None:  # noqa: ANN001
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):  # noqa: ANN001, ANN201
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.sub_(weight.grad.sign(), alpha=group["lr"])


if __name__ == "__main__":
    import optforge

    result = optforge.compare(
        [Spirals()], {"adamw": "adamw", "lion": "lion", "mine": MySignSGD}, trials=12, seeds=10
    )
    print(result.markdown)
