"""The baselines compute what the optimizers compute whose names they have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from optforge.analysis import state_kinds
from optforge.language import Interpreter, Layout, Program
from optforge.tasks import Schedule
from optforge.tuning import THINGS, thing, tunable
from optforge.tuning.optimizers import ADAMW_DEFAULTS, adamw, lion, muon

STEPS = 30
VECTORS, ARRAYS = ((5,), (3,)), ((4, 6), (5, 3), (2, 3, 2, 2), (7,), (1, 5))
BASIC = {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.97, "bias_correction": 1.0}
MUON = {
    "lr": 0.02, "weight_decay": 0.3, "beta1": 0.9, "rest_beta1": 0.8, "rest_beta2": 0.97,
    "rest_share": 0.4,
}  # fmt: skip

Arrays = list[Tensor]


def draw(shapes: Sequence[tuple[int, ...]]) -> tuple[Arrays, list[Arrays]]:
    """Weights, and the gradients of each step."""
    generator = torch.Generator().manual_seed(0)

    def some(scale: float) -> Arrays:
        return [
            scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
        ]

    return some(1.0), [some(10.0 ** (step % 3 - 1)) for step in range(STEPS)]


def flat(arrays: Arrays) -> Tensor:
    return torch.cat([array.detach().flatten() for array in arrays])


def sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns; both are above 1 for what is a hidden matrix here."""
    return shape[0], int(np.prod(shape[1:]))


def path(program: Program, start: Arrays, gradients: list[Arrays]) -> list[Tensor]:
    """The weights after each step of a program."""
    shapes = tuple(sides(tuple(array.shape)) for array in start)
    sizes, matrices = tuple(a.numel() for a in start), tuple(min(s) > 1 for s in shapes)
    layout = Layout(sizes, shapes=shapes, matrices=matrices)
    rule = Interpreter(program, state_kinds(program), layout, torch.float64)
    weights, states, steps = flat(start)[None], rule.initial_states(1), []
    scalars = rule.schedule([1.0] * STEPS)
    for gradient, values in zip(gradients, scalars, strict=True):
        update, states = rule.step(weights, flat(gradient)[None], states, values)
        weights = weights - update
        steps.append(weights[0])
    return steps


def compare(
    ours: list[Tensor], optimizer: torch.optim.Optimizer, gradients: list[Arrays],
    largest: float | None = None,
) -> None:  # fmt: skip
    """An optimizer of torch goes the same way, with gradients cut to their largest norm."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step, gradient in enumerate(gradients):
        share = 1.0 if largest is None else min(1.0, largest / flat(gradient).norm().item())
        for parameter, values in zip(parameters, gradient, strict=True):
            parameter.grad = values * share
        optimizer.step()
        torch.testing.assert_close(ours[step], flat(parameters), rtol=1e-6, atol=1e-9)


def parameters_of(start: Arrays) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(array.clone()) for array in start]


@pytest.mark.parametrize(
    ("more", "eps", "largest"),
    [
        ({}, 1e-8, None),
        ({"eps": 0.05}, 0.05 + 1e-8, None),  # a division has its own
        ({"clip": 1.5}, 1e-8, 1.5),
        ({"clip": 0.3, "eps": 0.01}, 0.01 + 1e-8, 0.3),
    ],
)
def test_adamw_with_bias_correction_is_that_of_torch(
    more: dict[str, float], eps: float, largest: float | None
) -> None:
    start, gradients = draw(ARRAYS)
    theirs = torch.optim.AdamW(
        parameters_of(start), lr=0.02, weight_decay=0.3, betas=(0.8, 0.97), eps=eps
    )
    compare(path(adamw(BASIC | more), start, gradients), theirs, gradients, largest)


@pytest.mark.parametrize("more", [{}, {"eps": 0.05}])
def test_adamw_without_bias_correction(more: dict[str, float]) -> None:
    start, gradients = draw(VECTORS)
    ours = path(adamw(BASIC | {"bias_correction": 0.0} | more), start, gradients)
    w, m, v = flat(start).numpy().copy(), np.zeros(8), np.zeros(8)
    for step, g in enumerate(flat(gradient).numpy() for gradient in gradients):
        m, v = 0.8 * m + 0.2 * g, 0.97 * v + 0.03 * g * g
        w -= 0.02 * (m / (np.sqrt(v) + more.get("eps", 1e-8)) + 0.3 * w)
        np.testing.assert_allclose(ours[step].numpy(), w, rtol=1e-6)


def test_lion_is_lion() -> None:
    start, gradients = draw(VECTORS)
    setting = {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.97}
    ours = path(lion(setting), start, gradients)
    w, m = flat(start).numpy().copy(), np.zeros(8)
    for step, g in enumerate(flat(gradient).numpy() for gradient in gradients):
        w -= 0.02 * (np.sign(0.8 * m + 0.2 * g) + 0.3 * w)
        m = 0.97 * m + 0.03 * g
        np.testing.assert_allclose(ours[step].numpy(), w, rtol=1e-9)


def newton_schulz(x: np.ndarray) -> np.ndarray:
    """Five steps towards the nearest orthogonal matrix, as published with Muon; in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = x / np.linalg.norm(x)
    wide = x if len(x) <= len(x.T) else x.T
    for _ in range(5):
        product = wide @ wide.T
        wide = a * wide + (b * product + c * product @ product) @ wide
    return wide if len(x) <= len(x.T) else wide.T


def test_muon_is_nesterov_and_newton_schulz_on_matrices_and_adamw_elsewhere() -> None:
    """Updates of a matrix have a root mean square of about 1, as those of AdamW have."""
    start, gradients = draw(ARRAYS)
    ours = path(muon(MUON), start, gradients)
    weights = [array.numpy().copy() for array in start]
    m, v = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step, gradient in enumerate(gradients):
        for n, g in enumerate(array.numpy() for array in gradient):
            if min(sides(g.shape)) > 1:
                m[n] = 0.9 * m[n] + 0.1 * g
                turned = newton_schulz((0.9 * m[n] + 0.1 * g).reshape(sides(g.shape)))
                update = turned.reshape(g.shape) * np.sqrt(max(sides(g.shape)))
            else:
                m[n], v[n] = 0.8 * m[n] + 0.2 * g, 0.97 * v[n] + 0.03 * g * g
                m_hat, v_hat = m[n] / (1 - 0.8 ** (step + 1)), v[n] / (1 - 0.97 ** (step + 1))
                update = 0.4 * m_hat / (np.sqrt(v_hat) + 1e-8)
            weights[n] -= 0.02 * (update + 0.3 * weights[n])
        expected = np.concatenate([w.ravel() for w in weights])
        np.testing.assert_allclose(ours[step].numpy(), expected, rtol=1e-6, atol=1e-9)


def test_muon_on_matrices_is_that_of_torch() -> None:
    """Torch orthogonalises in bfloat16, and scales by the root of the longer side times a fifth."""
    start, gradients = draw(ARRAYS[:2])
    ours = path(muon(MUON | {"lr": 0.02 * 0.2, "weight_decay": 0.3 / 0.2}), start, gradients)
    theirs = torch.optim.Muon(
        parameters_of(start), lr=0.02, weight_decay=0.3, momentum=0.9, nesterov=True,
        ns_steps=5, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    parameters = theirs.param_groups[0]["params"]
    for step, gradient in enumerate(gradients):
        for parameter, values in zip(parameters, gradient, strict=True):
            parameter.grad = values.clone()
        theirs.step()
        # A tenth of a step each is more than the two digits of bfloat16 lose.
        torch.testing.assert_close(
            ours[step], flat(parameters), rtol=0, atol=0.02 * 0.2 * 0.1 * (step + 1)
        )


@pytest.mark.parametrize("name", THINGS)
def test_a_thing_is_adamw_with_that_thing_and_defaults_elsewhere(name: str) -> None:
    """Of all the others the tuned row has what AdamW has where nobody tunes."""
    candidate = thing(name)
    low = {n.replace("one_minus_", ""): 0.5 for n in candidate.space.names}
    if "bias_correction" in low:
        low["bias_correction"] = 0.0
    built = candidate.build(tuple(low.items()))
    setting = {**ADAMW_DEFAULTS, **low}
    assert built.program == adamw(setting) and built.average == low.get("average", 0.0)
    if "decay_power" in candidate.space.names:
        assert built.schedule == Schedule(0.5, 0.5, 0.5)
    else:
        assert built.schedule == Schedule(), "plain, whatever a search trains its candidates under"
    assert candidate.space == THINGS[name] and candidate.space.names[0] == "lr"


def test_all_things_are_each_of_them_and_what_the_baseline_tunes() -> None:
    everything = {name for space in THINGS.values() for name in space.names}
    assert set(THINGS["all of these"].names) == everything
    assert everything >= set(tunable("adamw").space.names)
