"""Hidden matrices of a model: parameters that are multiplied, not looked up."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from optforge.language.layout import as_matrix

_MARK = "is_hidden_matrix"
_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)


def mark_matrix(parameter: nn.Parameter, is_matrix: bool = False) -> nn.Parameter:
    """Mark a parameter as a hidden matrix or as not one, and return it.

    Use it where the model is built, for an array that is looked up or added without being an
    ``nn.Embedding``, such as positions or custom tables. ``copy.deepcopy`` of a parameter keeps no
    mark (torch drops attributes): mark the copy again.

    Args:
        parameter: The parameter.
        is_matrix: Whether it counts as a hidden matrix.

    Example:
        >>> import torch
        >>> positions = mark_matrix(nn.Parameter(torch.zeros(4, 16)))
        >>> may_be_matrix(positions)
        False
    """
    setattr(parameter, _MARK, is_matrix)
    return parameter


def may_be_matrix(parameter: Tensor) -> bool:
    """Return whether a parameter counts as a hidden matrix, judged by itself.

    It does if it has two sides of more than one element (with dimensions after the first
    flattened), unless :func:`mark_matrix` says otherwise. Only the model knows what is looked up:
    see :func:`hidden_matrices`.
    """
    two_sides = min(as_matrix(tuple(parameter.shape))) > 1
    return two_sides and bool(getattr(parameter, _MARK, True))


def hidden_matrices(model: nn.Module) -> list[bool]:
    """Return for each parameter of a model whether it is a hidden matrix.

    Parameters of ``nn.Embedding`` and ``nn.EmbeddingBag`` are not, even if they are tied to an
    output layer, unless :func:`mark_matrix` says so.

    Args:
        model: The model; its ``parameters()`` define the order.

    Example:
        >>> hidden_matrices(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)))
        [False, True, False]
    """
    looked_up = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _LOOKED_UP)
        for parameter in module.parameters(recurse=False)
    }
    return [
        may_be_matrix(p) and (id(p) not in looked_up or getattr(p, _MARK, False) is True)
        for p in model.parameters()
    ]


def parameter_groups(model: nn.Module, names: Sequence[str] = ()) -> list[dict[str, object]]:
    """Divide the parameters of a model into groups for a rule that computes with matrices.

    Args:
        model: The model to train; frozen parameters are left out.
        names: Names of further parameters that are not hidden matrices, such as an output layer.

    Returns:
        Groups for any optimizer of `torch.optim`; ``matrices`` says whether a group has hidden
        matrices.

    Raises:
        ValueError: If the model has no parameter of a given name.

    Example:
        >>> groups = parameter_groups(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)))
        >>> [(group["matrices"], len(group["params"])) for group in groups]
        [(True, 1), (False, 2)]
    """
    named = list(model.named_parameters())
    if unknown := sorted(set(names) - {name for name, _ in named}):
        raise ValueError(
            f"the model has no parameter {unknown[0]!r}; it has "
            f"{', '.join(name for name, _ in named[:12])}"
        )
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for (name, parameter), is_matrix in zip(named, hidden_matrices(model), strict=True):
        if parameter.requires_grad:
            groups[is_matrix and name not in names].append(parameter)
    return [{"params": params, "matrices": key} for key, params in groups.items() if params]
