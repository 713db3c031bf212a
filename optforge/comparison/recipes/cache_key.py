"""What makes two optimizers the same: the version of a library, or the content of one's own code.

A name alone would let an edited class, or two functions of one factory, share finished cells.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from optforge.errors import CompareError
from optforge.tasks.content import UnknownContentError, cache_key_of, content_key, definition
from optforge.tasks.source import is_installed


def optimizer_key(optimizer: Callable[..., Any]) -> str:
    """Return what tells an optimizer's class or function from all others, in any process.

    Args:
        optimizer: Takes parameters and keywords.

    Returns:
        Its qualified name, with the version of its package if it comes from an installed one; else
        with its ``cache_key``, if it has one, or with digits over the files in which it is defined,
        what it closes over and what it is bound to.

    Raises:
        CompareError: If it was defined in no file, or holds something without readable content.

    Example:
        >>> import torch
        >>> optimizer_key(torch.optim.SGD).split()[0]
        'torch.optim.sgd.SGD'
    """
    kind = optimizer if hasattr(optimizer, "__qualname__") else type(optimizer)
    if key := cache_key_of(optimizer):
        return f"{kind.__qualname__} cache_key {key}"
    is_named = isinstance(optimizer, type | FunctionType) and is_installed(optimizer.__module__)
    if is_named and not getattr(optimizer, "__closure__", None):
        return definition(optimizer)
    return f"{kind.__qualname__} {checked_content_key(optimizer)}"


def checked_content_key(value: Any) -> str:
    """Return the content key of an optimizer, or of a setting that it has in every run.

    Raises:
        CompareError: If it holds something without readable content.
    """
    try:
        return content_key(value)
    except UnknownContentError as error:
        raise CompareError(
            "the runs of an optimizer cannot be told from those of an edited one: it uses "
            f"{error}; set cache_key on the class or function, a text that you change whenever "
            "you change it"
        ) from error
