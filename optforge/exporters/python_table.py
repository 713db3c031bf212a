"""Shared parts of Python targets: rows, and helpers that differ in a few words."""

from __future__ import annotations

from collections.abc import Mapping

from optforge.exporters.source import LINES, PLAIN, Template

_CALLED = ("global_norm", "mean", "rms", *LINES)
_WITH_ROLE = {"orthogonalize": "{x}", "transpose": "{x}", "matmul": "{x}, {y}"}

ROWS: Mapping[str, Template] = {
    **{name: Template(text) for name, text in PLAIN.items()},
    **{name: Template(f"{name}({{x}})", name) for name in _CALLED},
    **{name: Template(f"{name}({text}, {{role}})", name) for name, text in _WITH_ROLE.items()},
    "log1p": Template("log1p({x})", "log1p"),
    "divide": Template("{x} / ({y} + 1e-8)"),
    "dot": Template("dot({x}, {y})", "dot"),
    "cosine_sim": Template("cosine_similarity({x}, {y})", "cosine_similarity"),
    "clip": Template("clip({x}, {y})", "clip"),
    "where_matrix": Template("{x} if {role} else {y}"),
    "get_step": Template("step"),
    "get_progress": Template("progress"),
}

NEEDS: Mapping[str, tuple[str, ...]] = {
    "cosine_similarity": ("global_norm", "dot"),
    "clip": ("global_norm",),
    "rms": ("mean",),
    **dict.fromkeys((*LINES, "transpose", "matmul", "orthogonalize"), ("as_matrix",)),
}

_OF_LINE = {
    "mean": "matrix.mean({axis}, {keep}=True)",
    "norm": "LIBRARY.sqrt((matrix * matrix).sum({axis}, {keep}=True))",
    "rms": "LIBRARY.sqrt((matrix * matrix).mean({axis}, {keep}=True))",
}

_HELPERS = {
    "log1p": '''
def log1p(x: ARRAY) -> ARRAY:
    """Return log|1 + x|, accurate near 0."""
    return LIBRARY.log1p(LIBRARY.where(x < -1, -2 - x, x))
''',
    "rms": '''
def rms(x: ARRAY) -> ARRAY:
    """Return the root mean square of an array; 0 for an empty one."""
    return LIBRARY.sqrt(mean(x * x))
''',
    **{
        name: f'''
def {name}(x: ARRAY) -> ARRAY:
    """Return the {words}, in the place of each of its elements."""
    matrix = as_matrix(x)
    LINE
'''
        for name, words in LINES.items()
    },
    "orthogonalize": '''
def orthogonalize(x: ARRAY, is_matrix: bool) -> ARRAY:
    """Return the nearest matrix with orthogonal rows or columns; the signs of other arrays.

    Five Newton-Schulz steps bring all singular values near 1; then the matrix is scaled to
    a root mean square of about 1. Source: Jordan et al., Muon, 2024.
    """
    if not is_matrix:
        return SIGN(x)
    matrix = as_matrix(x)
    rows, columns = matrix.shape
    matrix = matrix.mT if rows > columns else matrix
    norm = LIBRARY.linalg.NORM(matrix)
    matrix = matrix / LIBRARY.where(norm == 0, ONE, norm)
    for _ in range(5):
        square = matrix @ matrix.mT
        factor = -4.7750 * square + 2.0315 * square @ square
        matrix = 3.4445 * matrix + factor @ matrix
    matrix = matrix.mT if rows > columns else matrix
    return SIZE * matrix.reshape(x.shape)
''',
    "transpose": '''
def transpose(x: ARRAY, is_matrix: bool) -> ARRAY:
    """Return the transposed matrix, dimensions after the first flattened; other arrays as is."""
    return as_matrix(x).mT if is_matrix else x
''',
    "matmul": '''
def matmul(x: ARRAY, y: ARRAY, is_matrix: bool) -> ARRAY:
    """Return the matrix product, dimensions after the first flattened.

    Arrays that are no hidden matrices are multiplied element by element.
    """
    return as_matrix(x) @ as_matrix(y) if is_matrix else x * y
''',
    "each_array": '''
def each_array(
    function: Callable[..., tuple[ARRAY, ...]], *trees: list[ARRAY]
) -> tuple[list[ARRAY], ...]:
    """Apply a function to the arrays of some lists; give a list for each of its results."""
    results = [function(*arrays) for arrays in zip(*trees, strict=True)]
    return tuple(list(result) for result in zip(*results, strict=True))
''',
}


def shared_helpers(words: Mapping[str, str], line: str, keep: str) -> dict[str, str]:
    """Return the text of each helper that Python targets share.

    Args:
        words: Replacement in a target of each word in capitals, such as ``ARRAY`` and ``LIBRARY``.
        line: Template of the last lines of functions of rows and columns, over ``{values}``.
        keep: The argument with which reductions keep dimensions.
    """
    texts = {}
    for name, text in _HELPERS.items():
        if name in LINES:
            side, of_line = name.split("_")
            axis = 1 if side == "row" else 0
            values = _OF_LINE[of_line].format(axis=axis, keep=keep)
            text = text.replace("LINE", line.format(values=values))
        for word, meaning in words.items():
            text = text.replace(word, meaning)
        texts[name] = text
    return texts
