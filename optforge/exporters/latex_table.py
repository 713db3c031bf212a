"""The functions of the language in LaTeX."""

from __future__ import annotations

from optforge.exporters.source import TargetTable, Template

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
    "where": r"[{x} \geq 0 \,?\, {y} : {a}]",
    "mean": r"\operatorname{{mean}}({x})",
    "rms": r"\operatorname{{rms}}({x})",
    **{
        f"{line}_{name}": rf"\operatorname{{{{{name}}}}}_{{{{\mathrm{{{{{line}}}}}}}}}({{x}})"
        for line in ("row", "column")
        for name in ("mean", "rms")
    },
    "row_norm": r"\left\|{x}\right\|_{{\mathrm{{row}}}}",
    "column_norm": r"\left\|{x}\right\|_{{\mathrm{{column}}}}",
    "orthogonalize": r"\operatorname{{orthogonalize}}({x})",
    "where_matrix": r"[\mathrm{{matrix}} \,?\, {x} : {y}]",
    "transpose": r"{{{x}}}^\top",
    "matmul": r"{x} \cdot {y}",
    "get_step": r"\mathrm{{step}}",
    "get_progress": r"\mathrm{{progress}}",
}

# What a formula does not say by itself: functions and words, in the order in which they come.
LEGEND = (
    (("where",), r"$[c \geq 0 \,?\, x : y]$ is $x$ where $c$ is at least 0, otherwise $y$"),
    (("mean", "rms"), "mean and rms (root mean square) are one number for each array"),
    (
        ("row_mean", "row_norm", "row_rms", "column_mean", "column_norm", "column_rms"),
        "functions of a row or a column are one number for each, in the place of all its elements; "
        "dimensions after the first are flattened, and a vector is one column",
    ),
    (
        ("orthogonalize",),
        "orthogonalize is the nearest matrix with orthogonal rows or columns, by five "
        "Newton-Schulz steps (Jordan et al., Muon, 2024), scaled to a root mean square of about 1; "
        "of arrays that are no hidden matrices it is the sign",
    ),
    (
        ("where_matrix",),
        r"$[\mathrm{matrix} \,?\, x : y]$ is $x$ for hidden matrices, otherwise $y$",
    ),
    (("transpose",), r"$\top$ transposes hidden matrices and leaves other arrays as they are"),
    (
        ("matmul",),
        r"$\cdot$ is the product of hidden matrices, and goes element by element for other arrays",
    ),
)
HIDDEN = (
    "hidden matrices are arrays that are multiplied with activations, such as weights of linear "
    "layers, and no embeddings"
)

LATEX = TargetTable(rows={name: Template(text) for name, text in _ROWS.items()}, helpers={})
