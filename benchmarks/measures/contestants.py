"""The optimizers whose steps are timed: ours, torch's, and other Lions where they are installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optforge.analysis import cost
from optforge.language import load_rule, rule_names
from optforge.optim.lion import Lion
from optforge.optim.program import ProgramOptimizer

LR, DECAY = 1e-4, 0.1
REFERENCE = "torch AdamW fused"
OURS = "Lion fused"

Make = Callable[[list[Tensor]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Args:
        name: Of the row.
        make: Builds the optimizer.
        package: What must be installed.
        compiled: Whether it needs a compiler.
    """

    name: str
    make: Make
    package: str = "torch"
    compiled: bool = False

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


def _lion(**options: Any) -> Make:
    return lambda params: Lion(params, lr=LR, weight_decay=DECAY, **options)


def _torch(name: str, **options: Any) -> Make:
    return lambda params: getattr(torch.optim, name)(params, lr=LR, weight_decay=DECAY, **options)


def _other(module: str, name: str) -> Make:
    def make(params: list[Tensor]) -> torch.optim.Optimizer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # bitsandbytes without an accelerator
            package = importlib.import_module(module)
        return getattr(package, name)(params, lr=LR, weight_decay=DECAY)

    return make


def _rule(name: str) -> Make:
    return lambda params: ProgramOptimizer(params, name, fused=True)


CONTESTANTS = (
    Contestant(OURS, _lion(fused=True), compiled=True),
    Contestant("Lion fused, bfloat16 momentum", _lion(fused=True, momentum_dtype=torch.bfloat16)),
    Contestant("Lion fused, 8 bits", _lion(fused=True, momentum_dtype="8bit"), compiled=True),
    Contestant("Lion foreach", _lion(foreach=True)),
    Contestant("Lion foreach, 8 bits", _lion(foreach=True, momentum_dtype="8bit")),
    Contestant("Lion loop", _lion(foreach=False)),
    Contestant(REFERENCE, _torch("AdamW", fused=True)),
    Contestant("torch AdamW foreach", _torch("AdamW", foreach=True)),
    Contestant("torch AdamW single", _torch("AdamW", foreach=False)),
    Contestant("torch SGD fused", _torch("SGD", fused=True, momentum=0.9)),
    Contestant("lion-pytorch", _other("lion_pytorch", "Lion"), "lion_pytorch"),
    Contestant("lion-pytorch foreach", _other("lion_pytorch.foreach", "Lion"), "lion_pytorch"),
    Contestant("timm", _other("timm.optim", "Lion"), "timm"),
    Contestant("pytorch_optimizer", _other("pytorch_optimizer", "Lion"), "pytorch_optimizer"),
    Contestant("bitsandbytes", _other("bitsandbytes.optim", "Lion"), "bitsandbytes"),
    Contestant("bitsandbytes 8 bits", _other("bitsandbytes.optim", "Lion8bit"), "bitsandbytes"),
)
RULE = "rule "  # how the names of their rows begin


def rules() -> Iterator[Contestant]:
    """Yield the fused path of each shipped rule that needs no sum over a tensor."""
    for name in rule_names():
        if cost(load_rule(name)).reductions == 0:
            yield Contestant(RULE + name, _rule(name), compiled=True)
