"""The functions of the language in JAX."""

from __future__ import annotations

from optforge.export.source import Source, Table

_SAME = (
    "abs cos sin tan arcsin arccos arctan exp sinh cosh tanh arcsinh arccosh arctanh sign exp2 "
    "expm1 cbrt reciprocal"
)

_ROWS = {
    **{name: Source(f"jnp.{name}({{x}})", floats=True) for name in _SAME.split()},
    **{
        name: Source(f"jnp.{name}(jnp.abs({{x}}))", floats=True)
        for name in ("log", "log2", "log10", "sqrt")
    },
    "exp10": Source("jnp.power(10.0, {x})", floats=True),
    "log1p": Source("log1p({x})", "log1p"),
    "square": Source("{x} * {x}"),
    "cube": Source("{x} * {x} * {x}"),
    "negative": Source("-{x}"),
    "add": Source("{x} + {y}"),
    "subtract": Source("{x} - {y}"),
    "multiply": Source("{x} * {y}"),
    "divide": Source("{x} / ({y} + 1e-8)"),
    "power": Source("jnp.power({x}, {y})", floats=True),
    "maximum": Source("jnp.maximum({x}, {y})", floats=True),
    "minimum": Source("jnp.minimum({x}, {y})", floats=True),
    "norm": Source("jnp.sqrt(jnp.sum({x} * {x}))"),
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
    "log1p": '''
def log1p(x: Array) -> Array:
    """Give log|1 + x|, accurate near 0."""
    return jnp.log1p(jnp.where(x < -1, -2 - x, x))
''',
    "each_array": '''
def each_array(
    function: Callable[..., tuple[Array, ...]], *trees: list[Array]
) -> tuple[list[Array], ...]:
    """Apply a function to the arrays of some lists; give a list for each of its results."""
    results = [function(*arrays) for arrays in zip(*trees, strict=True)]
    return tuple(list(result) for result in zip(*results, strict=True))
''',
    "at": '''
def at(value: optax.ScalarOrSchedule, step: Array) -> Any:
    """Give a number, or what a schedule says at a step."""
    return value(step) if callable(value) else value
''',
    "like": '''
def like(values: list[Array], tree: Any) -> Any:
    """Give new values the structure and the dtypes of a tree."""
    old, structure = jax.tree.flatten(tree)
    pairs = zip(values, old, strict=True)
    return structure.unflatten([new.astype(x.dtype) for new, x in pairs])
''',
    "global_norm": '''
def global_norm(tree: list[Array]) -> Array:
    """Give the Euclidean norm of all arrays taken as one vector."""
    return jnp.sqrt(jnp.sum(jnp.stack([jnp.sum(x * x) for x in tree])))
''',
    "dot": '''
def dot(xs: list[Array], ys: list[Array]) -> Array:
    """Give the inner product of two lists of arrays, each taken as one vector."""
    return jnp.sum(jnp.stack([jnp.sum(x * y) for x, y in zip(xs, ys, strict=True)]))
''',
    "cosine_similarity": '''
def cosine_similarity(xs: list[Array], ys: list[Array]) -> Array:
    """Give the cosine of the angle between two lists of arrays; 0 if one of them is zero."""
    pairs = [jnp.broadcast_arrays(x, y) for x, y in zip(xs, ys, strict=True)]
    norm_x, norm_y = (global_norm([pair[side] for pair in pairs]) for side in (0, 1))
    cosine = dot([x / norm_x for x, _ in pairs], [y / norm_y for _, y in pairs])
    return jnp.where((norm_x == 0) | (norm_y == 0), 0.0, cosine)
''',
    "clip": '''
def clip(tree: list[Array], limit: Scalar) -> list[Array]:
    """Scale all arrays together, so that their global norm is at most the limit."""
    norm = global_norm(tree)
    factor = jnp.where(norm == 0, 1.0, limit / norm)
    return [x * jnp.minimum(factor, 1.0) for x in tree]
''',
}

JAX = Table(
    rows=_ROWS,
    helpers=_HELPERS,
    needs={"cosine_similarity": ("global_norm", "dot"), "clip": ("global_norm",)},
    wrap="jnp.asarray({})",
    array="Array",
)
