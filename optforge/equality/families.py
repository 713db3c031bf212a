"""Known rules in their simplest form, with placeholders for their constants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from optforge.language import Program, parse

# Stand-ins for the constants of a template, recognised by their value.
STAND_INS = {"lr": 0.0123, "beta": 0.9071, "beta1": 0.8317, "beta2": 0.9713, "weight_decay": 0.0457}
STAND_INS |= {"epsilon": 3.1e-9, "beta_ahead": 0.7531, "epsilon_outside": 4.7e-7}
STAND_INS |= {"beta3": 0.9519, "beta_matrix": 0.9291, "alpha": 4.317, "gamma": 0.4193}
STAND_INS |= {"scale": 0.2411, "floor": 0.00217, "power": -0.7129}


@dataclass(frozen=True)
class Family:
    """A known rule.

    Args:
        name: Name of the rule.
        states: Names of its states, in order.
        lines: Statements that compute the direction ``u`` and the next states, nested.
        outputs: Names of the values returned for the states.
    """

    name: str
    states: str
    lines: tuple[str, ...]
    outputs: str


def _family(name: str, states: str, lines: str, outputs: str = "") -> Family:
    parts = tuple(line.strip() for line in lines.split(";"))
    return Family(name, states, parts, outputs or states)


def _with_epsilon(families: tuple[Family, ...]) -> tuple[Family, ...]:
    """Add the forms that have their own epsilon next to the root, not only the guard."""
    forms = list(families)
    for family in families:
        lines = tuple(_ROOT.sub(r"/ (\1 + {epsilon_outside})", line) for line in family.lines)
        if lines != family.lines:
            forms.append(replace(family, lines=lines))
    return tuple(forms)


_ROOT = re.compile(r"/ (sqrt\([^)]*\))")
# Each in its simplest form, the direction in u; special cases before general ones.
_M, _V = "m = interp(g, m, {beta1})", "v = interp(square(g), v, {beta2})"
_PLAIN = (
    _family("SGD", "", "u = g"),
    _family("signSGD", "", "u = sign(g)"),
    _family("momentum SGD", "m", "m = interp(g, m, {beta}); u = m"),
    _family("Nesterov momentum SGD", "m", "u = interp(g, m, {beta1}); m = interp(g, m, {beta2})"),
    _family("Signum", "m", "m = interp(g, m, {beta}); u = sign(m)"),
    _family("Lion", "m", "u = sign(interp(g, m, {beta1})); m = interp(g, m, {beta2})"),
    _family("AdaGrad", "v", "v = v + square(g); u = g / sqrt(v)"),
    _family("RMSProp", "v", "v = interp(square(g), v, {beta}); u = g / sqrt(v)"),
    _family("Adam without bias correction", "m, v", f"{_M}; {_V}; u = m / sqrt(v)"),
    _family(
        "NAdam without bias correction",
        "m, v",
        f"u = interp(g, m, {{beta_ahead}}); {_M}; {_V}; u = u / sqrt(v)",
    ),
    _family(
        "AdaBelief without bias correction",
        "m, v",
        f"{_M}; v = interp(square(g - m), v, {{beta2}}); u = m / sqrt(v)",
    ),
    _family(
        "AdaBelief without bias correction",
        "m, v",
        f"{_M}; v = interp(square(g - m), v, {{beta2}}) + {{epsilon}}; u = m / sqrt(v)",
    ),
    _family(
        "Adam with bias correction",
        "m, v, t",
        f"t = t + 1.0; {_M}; {_V}; a = reciprocal(1.0 - {{beta1}} ** t); "
        "b = reciprocal(1.0 - {beta2} ** t); u = (m * a) / sqrt(v * b)",
    ),
)
_CORRECTED = (
    f"t = get_step(); {_M}; {_V}; a = reciprocal(1.0 - {{beta1}} ** t); "
    "b = reciprocal(1.0 - {beta2} ** t)"
)
_ADAM = f"{_CORRECTED}; u = (m * a) / sqrt(v * b)"
_MASKED = "u = u * k * reciprocal(maximum(mean(k), {floor}))"
# Those that know the number of the step, or see shapes.
_LATER = (
    _family("Adam with bias correction", "m, v", _ADAM),
    _family(
        "NAdam with bias correction",
        "m, v",
        f"{_CORRECTED}; c = reciprocal(1.0 - {{beta1}} ** (t + 1.0)); "
        "u = interp(g * a, m * c, {beta1}) / sqrt(v * b)",
    ),
    _family(
        "AdEMAMix",
        "m, n, v",
        f"n = interp(g, n, {{beta3}}); {_CORRECTED}; u = (m * a + n * {{alpha}}) / sqrt(v * b)",
    ),
    _family(
        "Adan",
        "m, q, n, p",
        "t = get_step(); d = where(1.0 - t, 0.0, g - p); "
        "m = interp(g, m, {beta1}); q = interp(d, q, {beta2}); "
        "n = interp(square(g + d * {beta2}), n, {beta3}); "
        "a = reciprocal(1.0 - {beta1} ** t); b = reciprocal(1.0 - {beta2} ** t); "
        "c = reciprocal(1.0 - {beta3} ** t); u = (m * a + q * {beta2} * b) / sqrt(n * c)",
        "m, q, n, g",
    ),
    _family(
        "MARS",
        "m, v, p",
        "t = get_step(); c = g + where(1.0 - t, 0.0, g - p) * {gamma}; "
        "c = c * reciprocal(maximum(norm(c), 1.0)); "
        "m = interp(c, m, {beta1}); v = interp(square(c), v, {beta2}); "
        "a = reciprocal(1.0 - {beta1} ** t); b = reciprocal(1.0 - {beta2} ** t); "
        "u = (m * a) / sqrt(v * b)",
        "m, v, g",
    ),
    _family("Cautious Adam", "m, v", f"{_ADAM}; k = where(negative(m) * g, 0.0, 1.0); {_MASKED}"),
    _family(
        "Cautious Lion",
        "m",
        "u = sign(interp(g, m, {beta1})); m = interp(g, m, {beta2}); "
        f"k = where(negative(g) * u, 0.0, 1.0); {_MASKED}",
    ),
    _family(
        "Adafactor",
        "r, c",
        "p = get_step() ** {power}; s = square(g); "
        "r = interp(r, row_mean(s) + {epsilon}, p); c = interp(c, column_mean(s) + {epsilon}, p); "
        "d = g * reciprocal(sqrt(r * c * reciprocal(mean(r)))); "
        "u = d * reciprocal(maximum(rms(d), 1.0))",
    ),
    _family(
        "LAMB",
        "m, v",
        f"{_CORRECTED}; "
        "d = m * a * reciprocal(sqrt(v * b) + {epsilon}) + w * {weight_decay}; "
        "u = d * where(negative(norm(d)) * norm(w), 1.0, reciprocal(norm(d)) * norm(w))",
    ),
    _family(
        "Muon",
        "m, v",
        "t = get_step(); x = interp(g, m, {beta1}); "
        f"d = orthogonalize(interp(g, m, {{beta_ahead}})) * {{scale}}; {_V}; "
        "a = reciprocal(1.0 - {beta1} ** t); b = reciprocal(1.0 - {beta2} ** t); "
        "u = (x * a) / sqrt(v * b); u = where_matrix(d, u); "
        "m = where_matrix(interp(g, m, {beta_matrix}), x)",
    ),
    _family("Ortho-Adam", "m, v", f"{_ADAM}; u = where_matrix(orthogonalize(u), u)"),
    _family("Ortho-momentum", "m", "m = interp(g, m, {beta}); u = orthogonalize(m)"),
    _family(
        "Ortho-split",
        "m, v",
        "m = interp(g, m, {beta1}); s = interp(square(g), v, {beta2}); v = column_mean(s); "
        "u = where_matrix(orthogonalize(m), m / sqrt(s) * {scale})",
    ),
    _family(
        "Ortho-Lion", "m", "u = orthogonalize(interp(g, m, {beta1})); m = interp(g, m, {beta2})"
    ),
)
FAMILIES = (*_with_epsilon(_PLAIN), *_with_epsilon(_LATER))
DECAYED = {
    **{"Adam without bias correction": "AdamW without bias correction"},
    **{"Adam with bias correction": "AdamW with bias correction"},
    **{"NAdam with bias correction": "NAdamW with bias correction"},
    **{"Cautious Adam": "Cautious AdamW", "Ortho-Adam": "Ortho-AdamW"},
}


def known_rules() -> Iterator[tuple[str, Program]]:
    """Yield the name and a program of every known rule, without and with weight decay."""
    for family in FAMILIES:
        yield family.name, template_program(family, False)
        if not any("{weight_decay}" in line for line in family.lines):
            name = DECAYED.get(family.name, family.name)
            yield name, template_program(family, True)


def template_program(family: Family, decayed: bool) -> Program:
    """Write a known rule with placeholders for its constants."""
    values = {name: repr(value) for name, value in STAND_INS.items()}
    states = f"{family.states}, " if family.states else ""
    end = "(u + w * {weight_decay}) * {lr} * lr" if decayed else "u * {lr} * lr"
    lines = [line for line in family.lines if line != "u = g"]
    direction = "g" if len(lines) < len(family.lines) else "u"
    plain = [line for line in lines if line != "u = m"]
    direction = "m" if len(plain) < len(lines) else direction
    end = end.replace("u", direction, 1)
    returned = f", {family.outputs}" if family.outputs else ""
    body = [*plain, f"out = {end}", f"return out{returned}"]
    text = f"def train(w, g, {states}lr):\n" + "".join(f"    {line}\n" for line in body)
    return parse(text.format(**values))
