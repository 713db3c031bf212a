"""The functions of the language in PyTorch."""

from __future__ import annotations

from optforge.exporters.python_table import NEEDS, ROWS, shared_helpers
from optforge.exporters.source import LINES, TargetTable, Template

_SAME = (
    "abs cos sin tan arcsin arccos arctan exp sinh cosh tanh arcsinh arccosh arctanh exp2 expm1 "
    "reciprocal"
)

_ROWS = {
    **ROWS,
    **{name: Template(f"torch.{name}({{x}})") for name in _SAME.split()},
    **{name: Template(f"torch.{name}(torch.abs({{x}}))") for name in ("log", "log2", "log10")},
    "sign": Template("sign({x})", "sign"),
    "exp10": Template("torch.pow(10.0, {x})"),
    "sqrt": Template("torch.sqrt(torch.abs({x}))"),
    "cbrt": Template("cbrt({x})", "cbrt"),
    "power": Template("torch.pow({x}, {y})", float_last=Template("power({x}, {y})", "power")),
    "maximum": Template(
        "torch.maximum({x}, {y})",
        float_first=Template("torch.clamp({y}, min={x})"),
        float_last=Template("torch.clamp({x}, min={y})"),
    ),
    "minimum": Template(
        "torch.minimum({x}, {y})",
        float_first=Template("torch.clamp({y}, max={x})"),
        float_last=Template("torch.clamp({x}, max={y})"),
    ),
    "norm": Template("torch.linalg.vector_norm({x})"),
    "where": Template(
        "torch.where({x} >= 0, {y}, {a})",
        by_floats={
            "xya": "torch.as_tensor({y} if {x} >= 0 else {a}, dtype=torch.float64)",
            "ya": "torch.where({x} >= 0, torch.full_like({x}, {y}), {a})",
            **dict.fromkeys(("x", "xy", "xa"), "torch.where(torch.as_tensor({x} >= 0), {y}, {a})"),
        },
    ),
}

_SHARED = shared_helpers(
    {
        **{"ARRAY": "Tensor", "LIBRARY": "torch", "SIGN": "sign", "NORM": "vector_norm"},
        **{"ONE": "torch.ones_like(norm)", "SIZE": "math.sqrt(max(rows, columns))"},
    },
    "return {values}.expand_as(matrix).reshape(x.shape)",
    "keepdim",
)

_HELPERS = {
    "sign": '''
def sign(x: Tensor) -> Tensor:
    """Return -1, 0 or 1; NaN stays NaN, which torch.sign turns into 0."""
    return torch.where(torch.isnan(x), x, torch.sign(x))
''',
    "log1p": _SHARED["log1p"],
    "cbrt": '''
def cbrt(x: Tensor) -> Tensor:
    """Return the real cube root."""
    return torch.copysign(torch.pow(torch.abs(x), 1 / 3), x)
''',
    "power": '''
def power(x: Tensor, y: float) -> Tensor:
    """Return x^y as IEEE 754 has it; for a number y = 0.5, torch.pow would take a root instead."""
    return torch.pow(x, torch.full_like(x, y))
''',
    "as_matrix": '''
def as_matrix(x: Tensor) -> Tensor:
    """Return an array as rows and columns: dimensions after the first are flattened.

    A vector is one column.
    """
    return x.flatten(1) if x.ndim > 1 else x.reshape(-1, 1)
''',
    "is_hidden_matrix": '''
def is_hidden_matrix(weight: Tensor, matrices: bool | None) -> bool:
    """Return whether an array is a hidden matrix: it has two sides, and nothing says no."""
    return matrices is not False and min(as_matrix(weight).shape) > 1
''',
    "zeros": '''
def zeros(weight: Tensor, is_matrix: bool, sides: str) -> Tensor:
    """Return zeros in the shape of an array; for a hidden matrix of these two sides.

    The letter r stands for the number of rows, c for that of columns.
    """
    size = dict(zip("rc", as_matrix(weight).shape, strict=True))
    return weight.new_zeros([size[side] for side in sides] if is_matrix else weight.shape)
''',
    "mean": '''
def mean(x: Tensor) -> Tensor:
    """Return the mean of an array; 0 for an empty one."""
    return x.mean() if x.numel() else x.sum()
''',
    "rms": _SHARED["rms"],
    **{name: _SHARED[name] for name in LINES},
    "orthogonalize": _SHARED["orthogonalize"],
    "spread": '''
def spread(x: float | Tensor, array: Tensor) -> Tensor:
    """Return a number in the place of each element of an array."""
    return torch.as_tensor(x, dtype=array.dtype, device=array.device).expand_as(array)
''',
    **{name: _SHARED[name] for name in ("transpose", "matmul")},
    "each_array": _SHARED["each_array"],
    "global_norm": '''
def global_norm(tree: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of all arrays taken as one vector."""
    return torch.sqrt(torch.stack([(x * x).sum() for x in tree]).sum())
''',
    "dot": '''
def dot(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
    """Return the inner product of two lists of arrays, each taken as one vector."""
    return torch.stack([(x * y).sum() for x, y in zip(xs, ys, strict=True)]).sum()
''',
    "cosine_similarity": '''
def cosine_similarity(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
    """Return the cosine of the angle between two lists of arrays; 0 if one of them is zero."""
    pairs = list(zip(xs, ys, strict=True))
    pairs = [(x * torch.ones_like(y), y * torch.ones_like(x)) for x, y in pairs]
    norm_x, norm_y = (global_norm([pair[side] for pair in pairs]) for side in (0, 1))
    cosine = dot([x / norm_x for x, _ in pairs], [y / norm_y for _, y in pairs])
    return torch.where((norm_x == 0) | (norm_y == 0), torch.zeros_like(cosine), cosine)
''',
    "clip": '''
def clip(tree: list[Tensor], limit: float | Tensor) -> list[Tensor]:
    """Scale all arrays together, so that their global norm is at most the limit."""
    norm = global_norm(tree)
    factor = torch.as_tensor(limit, dtype=norm.dtype, device=norm.device) / norm
    factor = torch.where(norm == 0, torch.ones_like(norm), factor)
    return [x * torch.clamp(factor, max=1.0) for x in tree]
''',
}

TORCH = TargetTable(
    rows=_ROWS,
    helpers=_HELPERS,
    needs={
        **NEEDS,
        **dict.fromkeys(("is_hidden_matrix", "zeros"), ("as_matrix",)),
        "orthogonalize": ("sign", "as_matrix"),
    },
    wrap="torch.as_tensor({}, dtype=torch.float64)",
    array="Tensor",
    copy="{}.clone()",
)
