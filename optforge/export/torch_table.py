"""The functions of the language in PyTorch."""

from __future__ import annotations

from optforge.export.source import Source, Table

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
}

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
    needs={"cosine_similarity": ("global_norm", "dot"), "clip": ("global_norm",)},
    wrap="torch.as_tensor({}, dtype=torch.float64)",
    array="Tensor",
    copy="{}.clone()",
)
