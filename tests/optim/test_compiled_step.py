"""`torch.compile(optimizer.step)`: the whole step is one graph, whatever the learning rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.optim import Lion


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        pytest.param({}, torch.float32, marks=pytest.mark.slow),
        ({"lr": torch.tensor(0.25)}, torch.float32),
        ({"lr": torch.tensor(0.25), "nonfinite": "skip_step"}, torch.float32),
        pytest.param({"momentum_dtype": "8bit"}, torch.float32, marks=pytest.mark.slow),
        pytest.param({"cautious": True}, torch.float32, marks=pytest.mark.slow),
        ({"rounding": "kahan"}, torch.bfloat16),
        pytest.param({}, torch.bfloat16, marks=pytest.mark.slow),
        pytest.param({"seed": 2**62 + 1}, torch.bfloat16, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_three_rates_take_one_graph_more_than_the_first_step(
    settings: dict[str, Any], dtype: torch.dtype
) -> None:
    """The first makes the states; the second has the rate as a variable, and serves all others."""
    torch._dynamo.reset()
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    settings = {"lr": 0.25, "weight_decay": 0.01, **settings}
    results = []
    for compiled in (True, False):
        weights = [Parameter(draw(*s).to(dtype)) for s in ((130, 64), (7,), ())]
        optimizer = Lion(weights, foreach=False, **settings)
        step = torch.compile(optimizer.step, fullgraph=True, backend=backend)
        for number, lr in enumerate((0.25, 0.125, 0.0625)):
            for weight in weights:
                weight.grad = draw(*weight.shape, seed=number + 1).to(dtype)
            group = optimizer.param_groups[0]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
            (step if compiled else optimizer.step)()
            if compiled:
                assert len(graphs) == min(number + 1, 2)
        results.append(weights)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
        assert not torch.equal(one, draw(*one.shape).to(dtype))
