"""Known rules as plain loops in NumPy, written from the listings; 1e-8 is the guard of division.

Each takes the gradients ``[steps, elements]``, the first weights and the schedule, and gives the
weights after each step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Loop = Callable[[Array, Array, list[float]], Array]
GUARD = 1e-8


def _loop(step: Callable[..., tuple[Array, list[Array]]], states: int) -> Loop:
    def run(grads: Array, weights: Array, lrs: list[float]) -> Array:
        w, memory, path = weights.copy(), [np.zeros_like(weights)] * states, []
        for count, (g, lr) in enumerate(zip(grads, lrs, strict=True), 1):
            update, memory = step(w, g, lr, count, *memory)
            w = w - update
            path.append(w)
        return np.stack(path)

    return run


def _adamw(w, g, lr, t, m, v):  # noqa: ANN001, ANN202
    m = 0.1 * g + 0.9 * m
    v = 0.001 * g**2 + 0.999 * v
    return lr * 0.001 * (m / (np.sqrt(v) + GUARD) + 0.01 * w), [m, v]


def _adamw_corrected(w, g, lr, t, m, v):  # noqa: ANN001, ANN202
    m = 0.1 * g + 0.9 * m
    v = 0.001 * g**2 + 0.999 * v
    m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
    return lr * 0.001 * (m_hat / (np.sqrt(v_hat) + GUARD) + 0.01 * w), [m, v]


def _nadam(w, g, lr, t, m, v):  # noqa: ANN001, ANN202
    m = 0.1 * g + 0.9 * m
    v = 0.001 * g**2 + 0.999 * v
    ahead = 0.1 * g + 0.9 * m
    return lr * 0.001 * (ahead / (np.sqrt(v) + GUARD) + 0.01 * w), [m, v]


def _adabelief(w, g, lr, t, m, s):  # noqa: ANN001, ANN202
    m = 0.1 * g + 0.9 * m
    s = 0.001 * (g - m) ** 2 + 0.999 * s + 1e-16
    return lr * 0.001 * (m / (np.sqrt(s) + GUARD) + 0.01 * w), [m, s]


def _lion(w, g, lr, t, m):  # noqa: ANN001, ANN202
    c = 0.9 * m + 0.1 * g
    return lr * 0.0001 * (np.sign(c) + 0.1 * w), [0.99 * m + 0.01 * g]


def _signum(w, g, lr, t, m):  # noqa: ANN001, ANN202
    m = 0.9 * m + 0.1 * g
    return lr * 0.001 * (np.sign(m) + 0.01 * w), [m]


def _momentum_sgd(w, g, lr, t, m):  # noqa: ANN001, ANN202
    m = 0.9 * m + g
    return lr * 0.1 * (m + 0.0001 * w), [m]


def _clipped(x, limit):  # noqa: ANN001, ANN202
    return x * min(1.0, limit / np.linalg.norm(x))


def _program_4(w, g, lr, t, m, v):  # noqa: ANN001, ANN202
    g = np.arcsin(_clipped(g, lr))
    m = 0.101 * g + 0.899 * v
    v = (1 - 1.109) * g + 1.109 * m
    update = m / (np.abs(m) + GUARD) + 0.4602 * w
    return update * lr * 0.0002, [np.cosh(update), v]


def _program_5(w, g, lr, t, m, v):  # noqa: ANN001, ANN202
    m = 0.84 * m + 0.16 * g
    v = 0.999 * v + 0.001 * g**2
    update = np.sin(m / (np.sqrt(np.abs(v)) + GUARD)) + w * (g @ w)
    return update * lr * 0.0216, [m, np.sin(v)]


def _program_6(w, g, lr, t, m, v):  # noqa: ANN001, ANN202
    m = 0.9 * m + 0.1 * g
    v = (1 - 0.0015) * v + 0.0015 * (v + g**2)
    update = np.sinh(m / (np.sqrt(v) + GUARD))
    return update * lr * 0.0606, [m, np.minimum(v, np.pi)]


def _program_7(w, g, lr, t, m, v):  # noqa: ANN001, ANN202
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * (g - m) ** 2
    return (m / (np.sqrt(v) + GUARD) + 0.0238 * w) * lr * 0.03721, [m, v]


def _program_8(w, g, lr, t, m, v):  # noqa: ANN001, ANN202
    g = np.arcsin(_clipped(g, lr))
    m = (1 - 0.8999999761581421) * g + 0.8999999761581421 * v
    v = (1 - 1.109133005142212) * g + 1.109133005142212 * m
    rate = lr * 0.0002171761734643951
    update = m * rate / (np.abs(m) + GUARD)
    return update + rate * 0.4601978361606598 * w, [np.cosh(update), v]


LOOPS: dict[str, Loop] = {
    "adamw": _loop(_adamw, 2),
    "adamw_bias_correction": _loop(_adamw_corrected, 2),
    "nadam": _loop(_nadam, 2),
    "adabelief": _loop(_adabelief, 2),
    "lion": _loop(_lion, 1),
    "signum": _loop(_signum, 1),
    "momentum_sgd": _loop(_momentum_sgd, 1),
    "program_3": _loop(_adamw, 2),
    "program_4": _loop(_program_4, 2),
    "program_5": _loop(_program_5, 2),
    "program_6": _loop(_program_6, 2),
    "program_7": _loop(_program_7, 2),
    "program_8": _loop(_program_8, 2),
}
