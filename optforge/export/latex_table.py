"""The functions of the language in LaTeX."""

from __future__ import annotations

from optforge.export.source import Source, Table

_SAME = ("cos", "sin", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sign")
_OPERATORS = {name: name for name in _SAME}
_OPERATORS |= {"arcsinh": "arsinh", "arccosh": "arcosh", "arctanh": "artanh"}

_ROWS = {
    **{name: rf"\operatorname{{{{{said}}}}}({{x}})" for name, said in _OPERATORS.items()},
    "abs": r"\left|{x}\right|",
    "exp": r"e^{{{x}}}",
    "exp2": r"2^{{{x}}}",
    "exp10": r"10^{{{x}}}",
    "expm1": r"e^{{{x}}} - 1",
    "log": r"\ln\left|{x}\right|",
    "log2": r"\log_2\left|{x}\right|",
    "log10": r"\log_{{10}}\left|{x}\right|",
    "log1p": r"\ln\left|1 + {x}\right|",
    "square": r"{{{x}}}^2",
    "cube": r"{{{x}}}^3",
    "sqrt": r"\sqrt{{\left|{x}\right|}}",
    "cbrt": r"\sqrt[3]{{{x}}}",
    "reciprocal": r"\frac{{1}}{{{x}}}",
    "negative": r"-{x}",
    "add": r"{x} + {y}",
    "subtract": r"{x} - {y}",
    "multiply": r"{x} \, {y}",
    "divide": r"\frac{{{x}}}{{{y} + 10^{{-8}}}}",
    "power": r"{{{x}}}^{{{y}}}",
    "maximum": r"\max({x}, {y})",
    "minimum": r"\min({x}, {y})",
    "norm": r"\left\|{x}\right\|_{{\mathrm{{array}}}}",
    "global_norm": r"\left\|{x}\right\|",
    "dot": r"\langle {x}, {y} \rangle",
    "cosine_sim": r"\cos\angle({x}, {y})",
    "clip": r"{x} \min\left(1, \frac{{{y}}}{{\left\|{x}\right\|}}\right)",
    "interp": r"(1 - {a}) \, {x} + {a} \, {y}",
    "get_pi": r"\pi",
    "get_e": r"e",
    "get_eps": r"10^{{-8}}",
}

LATEX = Table(rows={name: Source(text) for name, text in _ROWS.items()}, helpers={})
