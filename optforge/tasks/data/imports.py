"""The graph of imports between modules of the standard library, and pairs to classify as edges."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from optforge.tasks.data.cache import Arrays, cached
from optforge.tasks.data.characters import PARTS
from optforge.tasks.data.python_source import file_names, library_folder, provenance
from optforge.tasks.splits import Data, Split

_SHARES = (0.6, 0.2, 0.2)  # of the edges


def import_pairs() -> Data:
    """Return pairs of modules, half of them edges of the graph, half drawn at random.

    Returns:
        Inputs int64 ``[N, 2]``, an importing module and another one; targets float32 ``[N]``, 1 for
        an import and 0 for none. Edges and pairs of one split are in no other.
    """
    arrays = _arrays()
    parts = ((arrays[part], arrays[f"{part}_is_edge"]) for part in PARTS)
    tensors = ((torch.from_numpy(x), torch.from_numpy(y)) for x, y in parts)
    return Data(*(Split(x.long(), y.float()) for x, y in tensors))


def import_graph() -> Tensor:
    """Return the normalized adjacency of the training edges with loops, float32 ``[nodes, nodes]``.

    Edges count in both directions, and are scaled by row and column sums to the power -1/2.

    Source: Kipf and Welling, Semi-Supervised Classification with Graph Convolutional Networks,
    2017 (arXiv:1609.02907), equation 2.
    """
    arrays = _arrays()
    edges = arrays["train"][arrays["train_is_edge"] > 0]
    adjacency = torch.eye(int(arrays["nodes"]))
    adjacency[edges[:, 0], edges[:, 1]] = adjacency[edges[:, 1], edges[:, 0]] = 1.0
    root = adjacency.sum(1).rsqrt()
    return root[:, None] * adjacency * root


def _arrays() -> Arrays:
    return cached("import_pairs", {"version": 1, **provenance()}, _build)


def _build() -> Arrays:
    names = [_module(name) for name in file_names()]
    number = {name: index for index, name in enumerate(names)}
    edges = {(number[a], number[b]) for a in names for b in _imported(a, number) if a != b}
    generator = np.random.default_rng(0)
    real = generator.permutation(np.array(sorted(edges)))
    pairs = generator.integers(0, len(names), (4 * len(real), 2))
    other = [tuple(pair) for pair in pairs if tuple(pair) not in edges and pair[0] != pair[1]]
    false = np.array(list(dict.fromkeys(other)))[: len(real)]
    cuts = np.cumsum([int(share * len(real)) for share in _SHARES[:-1]])
    arrays: Arrays = {"nodes": np.array(len(names))}
    for part, yes, no in zip(PARTS, np.split(real, cuts), np.split(false, cuts), strict=True):
        arrays[part] = np.concatenate([yes, no])
        arrays[f"{part}_is_edge"] = np.repeat([1, 0], [len(yes), len(no)])
    return arrays


def _module(name: str) -> str:
    path = PurePosixPath(name)
    parts = path.parent.parts if path.name == "__init__.py" else (*path.parent.parts, path.stem)
    return ".".join(parts)


@cache
def _files() -> dict[str, str]:
    return {_module(name): name for name in file_names()}


def _imported(module: str, known: dict[str, int]) -> set[str]:
    """Return the known modules named in a module's import statements."""
    name = _files()[module]
    text = (library_folder() / name).read_text(encoding="utf-8", errors="replace")
    is_package = name.endswith("__init__.py")
    named: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package]
            base = [*(above if node.level else []), *filter(None, [node.module])]
            named.add(".".join(base))
            named.update(".".join([*base, alias.name]) for alias in node.names)
    return {name for name in named if name in known}
