"""Print, as JSON, digests of the weights after each of 50 steps on every path of the optimizers."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from optforge import Lion, ProgramOptimizer
from optforge.language import load_rule, rule_names

STEPS = 50
SHAPES = ((16, 8), (8,), (4, 3, 2, 2), ())
PATHS: dict[str, dict[str, bool]] = {
    "loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True, "fused": False},
    "fused": {"foreach": False, "fused": True},
}
LION: dict[str, dict[str, Any]] = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "independent decay": {"weight_decay": 0.01, "decay_mode": "independent"},
    "cautious decay": {"weight_decay": 0.1, "decay_mode": "cautious"},
    "cautious": {"cautious": True},
    "bfloat16 momentum": {"momentum_dtype": torch.bfloat16},
    "8 bits": {"momentum_dtype": "8bit"},
    "zero": {"nonfinite": "zero"},
}
BFLOAT16: dict[str, dict[str, Any]] = {
    name: {"rounding": name} for name in ("stochastic", "kahan", "nearest")
}


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(json.dumps({name: digest(make, dtype) for name, make, dtype in ways()}))


def ways() -> Iterator[tuple[str, Callable[[list[Any]], Any], torch.dtype]]:
    """Yield every optimizer with its name and the dtype of its weights."""
    for path, chosen in PATHS.items():
        for name, more in LION.items():
            for dtype in (torch.float32, torch.float64):
                if dtype == torch.float64 and "momentum_dtype" in more:
                    continue
                yield f"Lion, {name}, {path}, {dtype}", _lion({**chosen, **more}), dtype
        for name, more in BFLOAT16.items():
            yield f"Lion, {name}, {path}, bfloat16", _lion({**chosen, **more}), torch.bfloat16
        for rule in rule_names():
            yield f"{rule}, {path}", _rule(rule, chosen), torch.float32


def _lion(options: dict[str, Any]) -> Callable[[list[Any]], Any]:
    return lambda parameters: Lion(parameters, lr=0.02, **options)


def _rule(name: str, options: dict[str, Any]) -> Callable[[list[Any]], Any]:
    return lambda parameters: ProgramOptimizer(parameters, load_rule(name), lr=0.01, **options)


def digest(make: Callable[[list[Any]], Any], dtype: torch.dtype) -> list[str]:
    """Return a digest of all weights after each step; what is refused gives its reason."""
    draw = torch.Generator().manual_seed(0)
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=draw).to(dtype)) for shape in SHAPES
    ]
    try:
        optimizer = make(parameters)
    except Exception as error:  # noqa: BLE001 - a refusal is a result
        return [type(error).__name__]
    digests = []
    for _ in range(STEPS):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=draw).to(dtype)
        optimizer.step()
        values = b"".join(p.detach().double().numpy().tobytes() for p in parameters)
        digests.append(hashlib.sha256(values).hexdigest()[:16])
    return digests


if __name__ == "__main__":
    main()
