"""Models as people write them: candidates trained together against an ordinary loop.

Prints for each kind of model the processor time of one training by `torch.optim.AdamW` in a plain
loop, that of one candidate among 16 trained together, and the ratio: the median of some rounds, and
its range.

    python benchmarks/own_models.py            # minutes
    python benchmarks/own_models.py --quick    # a few steps of each
    python benchmarks/own_models.py --compile --only TransformerEncoder
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from optforge import Data, Split, Task
from optforge.language import load_rule
from optforge.training import Stack, keep_freed_memory, train_population, train_single

TIME, WIDTH, CLASSES, CANDIDATES = 12, 16, 5, 16


class Recurrent(nn.Module):
    def __init__(self, layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.inner = layer(WIDTH, 32, batch_first=True)
        self.last = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(x)[0][:, -1])


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(48, 4, 96, 0.0, batch_first=True)
        self.first, self.last = nn.Linear(WIDTH, 48), nn.Linear(48, CLASSES)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.encoder(self.first(x)).mean(1))


def perceptron(middle: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(TIME * WIDTH, 64), middle, nn.ReLU(), nn.Linear(64, CLASSES)
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(TIME, 16, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, CLASSES),
    )  # fmt: skip


def frozen() -> nn.Module:
    model = perceptron(nn.Identity())
    model[1].requires_grad_(False)  # type: ignore[index]
    return model


def tied() -> nn.Module:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(TIME * WIDTH, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(),
        nn.Linear(64, 64), nn.Linear(64, CLASSES),
    )  # fmt: skip
    model[5].weight = model[3].weight
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "nn.TransformerEncoder, 2 layers, width 48": Attentive,
    "nn.LSTM": lambda: Recurrent(nn.LSTM),
    "nn.GRU": lambda: Recurrent(nn.GRU),
    "nn.RNN": lambda: Recurrent(nn.RNN),
    "two convolutions": convolutional,
    "nn.BatchNorm1d": lambda: perceptron(nn.BatchNorm1d(64)),
    "nn.Dropout": lambda: perceptron(nn.Dropout(0.2)),
    "tied weights": tied,
    "frozen weights": frozen,
}


class Own(Task):
    batch_size, cache_key = 32, "benchmarks/own_models.py"

    def __init__(self, name: str, steps: int) -> None:
        self.name, self.steps = name, steps

    def data(self) -> Data:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(3000, TIME, WIDTH, generator=generator)
        y = x.mean(1)[:, :CLASSES].argmax(1)
        return Data(*(Split(x[i::3], y[i::3]) for i in range(3)))

    def model(self) -> nn.Module:
        return MODELS[self.name]()


def seconds(call: Callable[[], object]) -> float:
    """Return the processor time of a call, which other work on the machine leaves alone."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(name: str, steps: int, rounds: int, compile: bool) -> tuple[float, float, list[float]]:
    """Seconds of one training alone and together, and their ratio in each round."""
    task = Own(name, steps)
    stack = Stack(task, compile=compile, batched=True)
    rules = [load_rule("adamw")] * CANDIDATES

    def alone() -> object:
        return train_single(task, lambda p: torch.optim.AdamW(p, lr=1e-3), 0)

    def together() -> object:
        return train_population(stack, rules, [0])

    for call in (alone, together):  # once, for what is set up
        call()
    pairs = [(seconds(alone), seconds(together) / CANDIDATES) for _ in range(rounds)]
    one, many = (statistics.median(part) for part in zip(*pairs, strict=True))
    return one, many, [a / b for a, b in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", default="", help="part of the names of the models to measure")
    options = parser.parse_args()
    quick = options.quick
    keep_freed_memory()
    torch.set_num_threads(1)
    print("| model | alone, ms | together, ms | times as fast |\n|---|---|---|---|")
    for name in (name for name in MODELS if options.only in name):
        steps, rounds = (5, 1) if quick else (100, 3)
        one, many, ratios = measure(name, steps, rounds, options.compile)
        middle = statistics.median(ratios)
        print(
            f"| {name} | {1000 * one:.0f} | {1000 * many:.0f} | "
            f"{middle:.1f} [{min(ratios):.1f}, {max(ratios):.1f}] |",
            flush=True,
        )


if __name__ == "__main__":
    main()
