"""What Lion does, measured while it trains: on request, through the hooks of torch.optim.

The step itself knows nothing of this, so that it costs nothing while nobody watches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.optim.lion import Lion
from optforge.optim.lion_settings import options_of
from optforge.optim.probe import COUNTS, ParameterWatch
from optforge.optim.settings import FLAG, LENGTH, RATE
from optforge.optim.steps.layout import any_over_ranks
from optforge.optim.steps.update import Step, numbers_of


@dataclass(frozen=True)
class Measurement:
    r"""One measured step, over one parameter or all of them.

    With gradient g, stored momentum m before the step and :math:`c = \beta_1 m + (1 - \beta_1) g`,
    over the elements whose g and m are finite:

    Args:
        step: Number of the step since watching began, from 1.
        elements: Elements of the parameters that had a gradient.
        flip_rate: Share of elements where c has another sign than with a float64 momentum that
            was carried along: what bfloat16 or 8-bit momentum costs. None without `oracle`.
        reversal_rate: Share of elements that move against their last measured move. Near 1/2 the
            gradient is mostly noise, or the learning rate too high. None at the first step.
        near_zero_share: Share of elements with \|c\| at most `near` times its root mean square in
            the parameter: the decisions that hang on little.
        sign_agreement: Share where gradient and momentum point the same way, of those where
            neither is 0. 1/2 for pure noise.
        update_rms: Root mean square of what the weights really changed by, rounding included.
        weight_rms: Root mean square of the weights after the step.
        frozen: Elements that have not moved in `patience` measured steps although their gradient
            was never 0: too small a step for 16-bit weights, or a gradient that is never finite.
        nonfinite: Elements of the gradient that were infinite or NaN in this step.
        nonfinite_total: The same, summed over all steps since watching began. With
            `nonfinite="ignore"` these are the elements that were ignored.
        poisoned: Elements of the momentum that are infinite or NaN after the step.
    """

    step: int
    elements: int
    flip_rate: float | None
    reversal_rate: float | None
    near_zero_share: float
    sign_agreement: float
    update_rms: float
    weight_rms: float
    frozen: int
    nonfinite: int
    nonfinite_total: int
    poisoned: int

    def as_dict(self, prefix: str = "lion/") -> dict[str, float]:
        """Return the figures for a logger; those that are None are left out.

        Example:
            >>> m = Measurement(1, 8, None, None, 0.0, 0.5, 1e-4, 1.0, 0, 0, 0, 0)
            >>> m.as_dict()["lion/update_rms"], "lion/flip_rate" in m.as_dict()
            (0.0001, False)
        """
        return {prefix + name: value for name, value in asdict(self).items() if value is not None}


class Diagnostics(AbstractContextManager["Diagnostics"]):
    """Watches a Lion step by step until it is closed; made by `watch`.

    Args:
        optimizer: The Lion.
        every: Measure each so many steps.
        oracle: Whether to carry a float64 momentum along for `flip_rate`.
        near: What counts as near zero.
        patience: Measured steps without a move until an element counts as frozen.
    """

    latest: Measurement | None = None
    by_parameter: Mapping[str, Measurement]

    def __init__(
        self, optimizer: Lion, every: int, oracle: bool, near: float, patience: int
    ) -> None:
        self.optimizer = optimizer
        self.every = every
        self.by_parameter = {}
        self._settings = (oracle, near, patience)
        self._probes: dict[Tensor, ParameterWatch] = {}
        self._steps = 0
        self._total = 0
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def close(self) -> None:
        """Stop watching and free what was carried along; the last figures stay."""
        for hook in self._hooks:
            hook.remove()
        self._probes.clear()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _before_step(self, optimizer: Any, arguments: Any, keywords: Any) -> Any:
        """Measure gradients and momentum, after the closure if there is one."""
        closure = keywords.get("closure") or (arguments[1] if len(arguments) > 1 else None)
        if closure is None:
            self._look()
            return None

        def watched() -> Any:
            loss = closure()
            self._look()
            return loss

        return arguments[:1], {**keywords, "closure": watched}

    @torch.no_grad()
    def _look(self) -> None:
        self._steps += 1
        measured = self._steps % self.every == 0
        for name, parameter, step in self._parameters():
            if parameter not in self._probes:
                self._probes[parameter] = ParameterWatch(name, *self._settings)
            probe = self._probes[parameter]
            probe.before(parameter, self.optimizer.state.get(parameter, {}), step, measured)

    @torch.no_grad()
    def _after_step(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        measured = self._steps % self.every == 0
        present = [
            (self._probes[p], p, step)
            for _, p, step in self._parameters()
            if p in self._probes and self._probes[p].looked
        ]
        skipped = self._skipped([row for row in present if row[2].options.nonfinite == "skip_step"])
        counts = [
            probe.after(p, self.optimizer.state.get(p, {}), step, measured, skipped)
            for probe, p, step in present
        ]
        self._read([probe for probe, _, _ in present], counts, measured)

    def _skipped(self, members: list[tuple[ParameterWatch, Tensor, Step]]) -> bool:
        """Return whether nothing was done: a gradient scaler or `skip_step` found non-finites."""
        found_inf = getattr(self.optimizer, "found_inf", None)
        if found_inf is not None and bool(found_inf):
            return True
        if not members:
            return False
        counts = torch.stack([probe.nonfinite for probe, _, _ in members])
        return bool(any_over_ranks(counts.sum(), [parameter for _, parameter, _ in members]))

    def _read(self, probes: list[ParameterWatch], counts: list[Tensor], measured: bool) -> None:
        if not counts:
            return
        rows = torch.stack([row.to(counts[0].device) for row in counts])
        table = rows.tolist()  # the only wait for a device
        for probe, row in zip(probes, table, strict=True):
            probe.total += int(row[COUNTS.index("nonfinite")])
        self._total = sum(probe.total for probe in self._probes.values())
        if not measured:
            return
        self.by_parameter = {
            probe.name: self._measurement(row, probe.total)
            for probe, row in zip(probes, table, strict=True)
        }
        self.latest = self._measurement(rows.sum(0).tolist(), self._total)

    def _measurement(self, row: list[float], total: int) -> Measurement:
        n = dict(zip(COUNTS, row, strict=True))
        return Measurement(
            step=self._steps,
            elements=int(n["elements"]),
            flip_rate=_share(n["flips"], n["compared"]) if self._settings[0] else None,
            reversal_rate=_share(n["reversals"], n["moves"]) if n["moves"] else None,
            near_zero_share=_share(n["near"], n["active"]),
            sign_agreement=_share(n["agreeing"], n["decided"]),
            update_rms=_share(n["update_squares"], n["elements"]) ** 0.5,
            weight_rms=_share(n["weight_squares"], n["elements"]) ** 0.5,
            frozen=int(n["frozen"]),
            nonfinite=int(n["nonfinite"]),
            nonfinite_total=total,
            poisoned=int(n["poisoned"]),
        )

    def _parameters(self) -> Iterator[tuple[str, Tensor, Step]]:
        first, known = 0, set[str]()
        for number, group in enumerate(self.optimizer.param_groups):
            size = len(group["params"])
            names = group.get("param_names") or [str(first + i) for i in range(size)]
            if not known.isdisjoint(names):  # of two models
                names = [f"group {number}: {name}" for name in names]
            known.update(names)
            first += size
            numbers = numbers_of(group, getattr(self.optimizer, "grad_scale", None), None)
            step = Step(numbers, options_of(group, self.optimizer.formula))
            for name, parameter in zip(names, group["params"], strict=True):
                if parameter.grad is not None:
                    yield name, parameter, step


def watch(
    lion: Lion, *, every: int = 1, oracle: bool = True, near: float = 0.01, patience: int = 20
) -> Diagnostics:
    """Measure a Lion while it trains.

    A measured step costs a few passes over the parameters in float64. Memory: 3 bytes per
    parameter, 8 more with `oracle`, and in measured steps a copy of the weights. Of sharded
    parameters every rank measures its own part.

    Args:
        lion: The optimizer; use its steps as ever, closures and gradient scalers included.
        every: Measure each so many steps; non-finite gradients are counted at all of them.
        oracle: Whether to carry a float64 momentum along for `flip_rate`; it begins at the stored
            momentum, that is at 0 if watching begins before the first step.
        near: |c| counts as near zero up to this share of its root mean square.
        patience: Measured steps without a move until an element counts as frozen.

    Returns:
        A `Diagnostics`: `.latest` is a `Measurement` over all parameters, `.by_parameter` has one
        by name. Close it, or use it in a `with` statement.

    Raises:
        OptimizerError: If the optimizer is not a `Lion` or a number is out of range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        >>> lion = Lion([weight], lr=0.5)
        >>> with watch(lion) as diagnostics:
        ...     weight.grad = torch.tensor([1.0, float("nan")])
        ...     lion.step()
        >>> diagnostics.latest.nonfinite, diagnostics.latest.update_rms
        (1, 0.353...)
    """
    if not isinstance(lion, Lion):
        raise OptimizerError(f"got {type(lion).__name__}; only a Lion can be watched")
    every, patience = LENGTH.plain("every", every), LENGTH.plain("patience", patience)
    near = float(RATE.plain("near", near))
    return Diagnostics(lion, every, FLAG.plain("oracle", oracle), near, patience)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
