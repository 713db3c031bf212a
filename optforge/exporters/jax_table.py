"""The functions of the language in JAX."""

from __future__ import annotations

from optforge.exporters.source import LINES, Source, Table

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
    "where": Source("jnp.where({x} >= 0, {y}, {a})", floats=True),
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
def {name}(x: Array) -> Array:
    """Return the {words}, in the place of each of its elements."""
    matrix = as_matrix(x)
    values = {text}
    return jnp.broadcast_to(values, matrix.shape).reshape(x.shape)
'''
_OF_LINE = {
    "mean": "matrix.mean({axis}, keepdims=True)",
    "norm": "jnp.sqrt((matrix * matrix).sum({axis}, keepdims=True))",
    "rms": "jnp.sqrt((matrix * matrix).mean({axis}, keepdims=True))",
}


def _line(name: str) -> str:
    """The helper for a function of rows or columns."""
    line, what = name.split("_")
    text = _OF_LINE[what].format(axis=1 if line == "row" else 0)
    return _LINE.format(name=name, words=LINES[name], text=text)


_HELPERS = {
    "log1p": '''
def log1p(x: Array) -> Array:
    """Give log|1 + x|, accurate near 0."""
    return jnp.log1p(jnp.where(x < -1, -2 - x, x))
''',
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
    "rms": '''
def rms(x: Array) -> Array:
    """Return the root mean square of an array; 0 for an empty one."""
    return jnp.sqrt(mean(x * x))
''',
    **{name: _line(name) for name in LINES},
    "orthogonalize": '''
def orthogonalize(x: Array, is_matrix: bool) -> Array:
    """Return the nearest matrix with orthogonal rows or columns; the signs of other arrays.

    Five Newton-Schulz steps bring all singular values near 1; then the matrix is scaled to
    a root mean square of about 1. Source: Jordan et al., Muon, 2024.
    """
    if not is_matrix:
        return jnp.sign(x)
    matrix = as_matrix(x)
    rows, columns = matrix.shape
    matrix = matrix.mT if rows > columns else matrix
    norm = jnp.linalg.norm(matrix)
    matrix = matrix / jnp.where(norm == 0, 1.0, norm)
    for _ in range(5):
        square = matrix @ matrix.mT
        factor = -4.7750 * square + 2.0315 * square @ square
        matrix = 3.4445 * matrix + factor @ matrix
    matrix = matrix.mT if rows > columns else matrix
    return max(rows, columns) ** 0.5 * matrix.reshape(x.shape)
''',
    "spread": '''
def spread(x: Scalar, array: Array) -> Array:
    """Return a number in the place of each element of an array."""
    return jnp.broadcast_to(x, array.shape)
''',
    "transpose": '''
def transpose(x: Array, is_matrix: bool) -> Array:
    """Return the transposed matrix, dimensions after the first flattened; other arrays as is."""
    return as_matrix(x).mT if is_matrix else x
''',
    "matmul": '''
def matmul(x: Array, y: Array, is_matrix: bool) -> Array:
    """Return the matrix product, dimensions after the first flattened.

    Arrays that are no hidden matrices are multiplied element by element.
    """
    return as_matrix(x) @ as_matrix(y) if is_matrix else x * y
''',
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
    needs={
        "cosine_similarity": ("global_norm", "dot"),
        "clip": ("global_norm",),
        "rms": ("mean",),
        **dict.fromkeys((*LINES, "transpose", "matmul", "orthogonalize"), ("as_matrix",)),
        "hidden_matrices": ("as_matrix",),
        "zeros": ("hidden_matrices", "as_matrix"),
    },
    wrap="jnp.asarray({})",
    array="Array",
)
