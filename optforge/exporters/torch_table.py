"""The functions of the language in PyTorch."""

from __future__ import annotations

from optforge.exporters.source import LINES, Source, Table

_SAME = (
    "abs cos sin tan arcsin arccos arctan exp sinh cosh tanh arcsinh arccosh arctanh exp2 expm1 "
    "reciprocal"
)

_ROWS = {
    **{name: Source(f"torch.{name}({{x}})") for name in _SAME.split()},
    **{name: Source(f"torch.{name}(torch.abs({{x}}))") for name in ("log", "log2", "log10")},
    "sign": Source("sign({x})", "sign"),
    "exp10": Source("torch.pow(10.0, {x})"),
    "log1p": Source("log1p({x})", "log1p"),
    "square": Source("{x} * {x}"),
    "sqrt": Source("torch.sqrt(torch.abs({x}))"),
    "cube": Source("{x} * {x} * {x}"),
    "cbrt": Source("cbrt({x})", "cbrt"),
    "negative": Source("-{x}"),
    "add": Source("{x} + {y}"),
    "subtract": Source("{x} - {y}"),
    "multiply": Source("{x} * {y}"),
    "divide": Source("{x} / ({y} + 1e-8)"),
    "power": Source("torch.pow({x}, {y})", float_last=Source("power({x}, {y})", "power")),
    "maximum": Source(
        "torch.maximum({x}, {y})",
        float_first=Source("torch.clamp({y}, min={x})"),
        float_last=Source("torch.clamp({x}, min={y})"),
    ),
    "minimum": Source(
        "torch.minimum({x}, {y})",
        float_first=Source("torch.clamp({y}, max={x})"),
        float_last=Source("torch.clamp({x}, max={y})"),
    ),
    "norm": Source("torch.linalg.vector_norm({x})"),
    "global_norm": Source("global_norm({x})", "global_norm"),
    "dot": Source("dot({x}, {y})", "dot"),
    "cosine_sim": Source("cosine_similarity({x}, {y})", "cosine_similarity"),
    "clip": Source("clip({x}, {y})", "clip"),
    "interp": Source("{x} * (1 - {a}) + {y} * {a}"),
    "get_pi": Source("math.pi"),
    "get_e": Source("math.e"),
    "get_eps": Source("1e-8"),
    "where": Source(
        "torch.where({x} >= 0, {y}, {a})",
        by_floats={
            "xya": "torch.as_tensor({y} if {x} >= 0 else {a}, dtype=torch.float64)",
            "ya": "torch.where({x} >= 0, torch.full_like({x}, {y}), {a})",
            **dict.fromkeys(("x", "xy", "xa"), "torch.where(torch.as_tensor({x} >= 0), {y}, {a})"),
        },
    ),
    "mean": Source("mean({x})", "mean"),
    "rms": Source("rms({x})", "rms"),
    **{name: Source(f"{name}({{x}})", name) for name in LINES},
    "orthogonalize": Source("orthogonalize({x}, {role})", "orthogonalize"),
    "where_matrix": Source("{x} if {role} else {y}"),
    "transpose": Source("transpose({x}, {role})", "transpose"),
    "matmul": Source("matmul({x}, {y}, {role})", "matmul"),
    "get_step": Source("step"),
    "get_progress": Source("progress"),
}

_LINE = '''
def {name}(x: Tensor) -> Tensor:
    """Return the {words}, in the place of each of its elements."""
    matrix = as_matrix(x)
    return {text}.expand_as(matrix).reshape(x.shape)
'''
_OF_LINE = {
    "mean": "matrix.mean({dim}, keepdim=True)",
    "norm": "torch.sqrt((matrix * matrix).sum({dim}, keepdim=True))",
    "rms": "torch.sqrt((matrix * matrix).mean({dim}, keepdim=True))",
}


def _line(name: str) -> str:
    """The helper for a function of rows or columns."""
    line, what = name.split("_")
    text = _OF_LINE[what].format(dim=1 if line == "row" else 0)
    return _LINE.format(name=name, words=LINES[name], text=text)


_HELPERS = {
    "sign": '''
def sign(x: Tensor) -> Tensor:
    """Give -1, 0 or 1; NaN stays NaN, which torch.sign turns into 0."""
    return torch.where(torch.isnan(x), x, torch.sign(x))
''',
    "log1p": '''
def log1p(x: Tensor) -> Tensor:
    """Give log|1 + x|, accurate near 0."""
    return torch.log1p(torch.where(x < -1, -2 - x, x))
''',
    "cbrt": '''
def cbrt(x: Tensor) -> Tensor:
    """Give the real cube root."""
    return torch.copysign(torch.pow(torch.abs(x), 1 / 3), x)
''',
    "power": '''
def power(x: Tensor, y: float) -> Tensor:
    """Give x^y as IEEE 754 has it; for a number y = 0.5, torch.pow would take a root instead."""
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
    "rms": '''
def rms(x: Tensor) -> Tensor:
    """Return the root mean square of an array; 0 for an empty one."""
    return torch.sqrt(mean(x * x))
''',
    **{name: _line(name) for name in LINES},
    "orthogonalize": '''
def orthogonalize(x: Tensor, is_matrix: bool) -> Tensor:
    """Return the nearest matrix with orthogonal rows or columns; the signs of other arrays.

    Five Newton-Schulz steps bring all singular values near 1; then the matrix is scaled to
    a root mean square of about 1. Source: Jordan et al., Muon, 2024.
    """
    if not is_matrix:
        return sign(x)
    matrix = as_matrix(x)
    rows, columns = matrix.shape
    matrix = matrix.mT if rows > columns else matrix
    norm = torch.linalg.vector_norm(matrix)
    matrix = matrix / torch.where(norm == 0, torch.ones_like(norm), norm)
    for _ in range(5):
        square = matrix @ matrix.mT
        factor = -4.7750 * square + 2.0315 * square @ square
        matrix = 3.4445 * matrix + factor @ matrix
    matrix = matrix.mT if rows > columns else matrix
    return math.sqrt(max(rows, columns)) * matrix.reshape(x.shape)
''',
    "spread": '''
def spread(x: float | Tensor, array: Tensor) -> Tensor:
    """Return a number in the place of each element of an array."""
    return torch.as_tensor(x, dtype=array.dtype, device=array.device).expand_as(array)
''',
    "transpose": '''
def transpose(x: Tensor, is_matrix: bool) -> Tensor:
    """Return the transposed matrix, dimensions after the first flattened; other arrays as is."""
    return as_matrix(x).mT if is_matrix else x
''',
    "matmul": '''
def matmul(x: Tensor, y: Tensor, is_matrix: bool) -> Tensor:
    """Return the matrix product, dimensions after the first flattened.

    Arrays that are no hidden matrices are multiplied element by element.
    """
    return as_matrix(x) @ as_matrix(y) if is_matrix else x * y
''',
    "each_array": '''
def each_array(
    function: Callable[..., tuple[Tensor, ...]], *trees: list[Tensor]
) -> tuple[list[Tensor], ...]:
    """Apply a function to the arrays of some lists; give a list for each of its results."""
    results = [function(*arrays) for arrays in zip(*trees, strict=True)]
    return tuple(list(result) for result in zip(*results, strict=True))
''',
    "global_norm": '''
def global_norm(tree: list[Tensor]) -> Tensor:
    """Give the Euclidean norm of all arrays taken as one vector."""
    return torch.sqrt(torch.stack([(x * x).sum() for x in tree]).sum())
''',
    "dot": '''
def dot(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
    """Give the inner product of two lists of arrays, each taken as one vector."""
    return torch.stack([(x * y).sum() for x, y in zip(xs, ys, strict=True)]).sum()
''',
    "cosine_similarity": '''
def cosine_similarity(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
    """Give the cosine of the angle between two lists of arrays; 0 if one of them is zero."""
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

TORCH = Table(
    rows=_ROWS,
    helpers=_HELPERS,
    needs={
        "cosine_similarity": ("global_norm", "dot"),
        "clip": ("global_norm",),
        "rms": ("mean",),
        **dict.fromkeys((*LINES, "transpose", "matmul"), ("as_matrix",)),
        **dict.fromkeys(("is_hidden_matrix", "zeros"), ("as_matrix",)),
        "orthogonalize": ("sign", "as_matrix"),
    },
    wrap="torch.as_tensor({}, dtype=torch.float64)",
    array="Tensor",
    copy="{}.clone()",
)
