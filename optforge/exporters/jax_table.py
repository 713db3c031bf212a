"""The functions of the language in JAX."""

from __future__ import annotations

from optforge.exporters.python_table import NEEDS, ROWS, shared_helpers
from optforge.exporters.source import LINES, TargetTable, Template

_SAME = (
    "abs cos sin tan arcsin arccos arctan exp sinh cosh tanh arcsinh arccosh arctanh sign exp2 "
    "expm1 cbrt reciprocal"
)

_ROWS = {
    **ROWS,
    **{name: Template(f"jnp.{name}({{x}})", floats=True) for name in _SAME.split()},
    **{
        name: Template(f"jnp.{name}(jnp.abs({{x}}))", floats=True)
        for name in ("log", "log2", "log10", "sqrt")
    },
    "exp10": Template("jnp.power(10.0, {x})", floats=True),
    "power": Template("jnp.power({x}, {y})", floats=True),
    "maximum": Template("jnp.maximum({x}, {y})", floats=True),
    "minimum": Template("jnp.minimum({x}, {y})", floats=True),
    "norm": Template("jnp.sqrt(jnp.sum({x} * {x}))"),
    "where": Template("jnp.where({x} >= 0, {y}, {a})", floats=True),
}

_SHARED = shared_helpers(
    {
        **{"ARRAY": "Array", "LIBRARY": "jnp", "SIGN": "jnp.sign", "NORM": "norm"},
        **{"ONE": "1.0", "SIZE": "max(rows, columns) ** 0.5"},
    },
    "values = {values}\n    return jnp.broadcast_to(values, matrix.shape).reshape(x.shape)",
    "keepdims",
)

_HELPERS = {
    "log1p": _SHARED["log1p"],
    "as_matrix": '''
def as_matrix(x: Any) -> Array:
    """Return an array as rows and columns: dimensions after the first are flattened.

    A vector is one column.
    """
    return jax.lax.collapse(x, 1) if jnp.ndim(x) > 1 else jnp.reshape(x, (-1, 1))
''',
    "mean": '''
def mean(x: Array) -> Array:
    """Return the mean of an array; 0 for an empty one."""
    return x.mean() if x.size else x.sum()
''',
    "rms": _SHARED["rms"],
    **{name: _SHARED[name] for name in LINES},
    "orthogonalize": _SHARED["orthogonalize"],
    "spread": '''
def spread(x: Scalar, array: Array) -> Array:
    """Return a number in the place of each element of an array."""
    return jnp.broadcast_to(x, array.shape)
''',
    **{name: _SHARED[name] for name in ("transpose", "matmul")},
    "hidden_matrices": '''
def hidden_matrices(matrices: Any, tree: Any) -> list[bool]:
    """Return for each array of a tree whether it is a hidden matrix.

    Marks are bools, in the structure of the tree or of its first levels, or a function that
    builds them from the tree. What has no two sides of more than one element is never one.
    """
    arrays = jax.tree.leaves(tree)
    marks = matrices(tree) if callable(matrices) else matrices
    if marks is None or not arrays:
        return [min(as_matrix(x).shape) > 1 for x in arrays]

    def below(mark: Any, part: Any) -> Any:
        return jax.tree.map(lambda x: bool(mark) and min(as_matrix(x).shape) > 1, part)

    return jax.tree.leaves(jax.tree.map(below, marks, tree))
''',
    "zeros": '''
def zeros(params: Any, matrices: Any, sides: str) -> Any:
    """Return zeros in the shape of each array; of hidden matrices these two sides.

    The letter r stands for the number of rows, c for that of columns.
    """
    arrays, structure = jax.tree.flatten(params)
    made = []
    for x, is_matrix in zip(arrays, hidden_matrices(matrices, params), strict=True):
        size = dict(zip("rc", as_matrix(x).shape, strict=True))
        shape = [size[side] for side in sides] if is_matrix else jnp.shape(x)
        made.append(jnp.zeros(shape, x.dtype))
    return structure.unflatten(made)
''',
    "each_array": _SHARED["each_array"],
    "at": '''
def at(value: optax.ScalarOrSchedule, step: Array) -> Any:
    """Return a number, or what a schedule says at a step."""
    return value(step) if callable(value) else value
''',
    "like": '''
def like(values: list[Array], tree: Any) -> Any:
    """Return new values in the structure and the dtypes of a tree."""
    old, structure = jax.tree.flatten(tree)
    pairs = zip(values, old, strict=True)
    return structure.unflatten([new.astype(x.dtype) for new, x in pairs])
''',
    "global_norm": '''
def global_norm(tree: list[Array]) -> Array:
    """Return the Euclidean norm of all arrays taken as one vector."""
    return jnp.sqrt(jnp.sum(jnp.stack([jnp.sum(x * x) for x in tree])))
''',
    "dot": '''
def dot(xs: list[Array], ys: list[Array]) -> Array:
    """Return the inner product of two lists of arrays, each taken as one vector."""
    return jnp.sum(jnp.stack([jnp.sum(x * y) for x, y in zip(xs, ys, strict=True)]))
''',
    "cosine_similarity": '''
def cosine_similarity(xs: list[Array], ys: list[Array]) -> Array:
    """Return the cosine of the angle between two lists of arrays; 0 if one of them is zero."""
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

JAX = TargetTable(
    rows=_ROWS,
    helpers=_HELPERS,
    needs={
        **NEEDS,
        "hidden_matrices": ("as_matrix",),
        "zeros": ("hidden_matrices", "as_matrix"),
    },
    wrap="jnp.asarray({})",
    array="Array",
)
