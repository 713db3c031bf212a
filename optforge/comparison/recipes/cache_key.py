"""Keys of optimizers: the version of a library, or the content of the user's code.

With the name alone, an edited class, or two functions of one factory, would share finished cells.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from optforge.errors import CompareError
from optforge.tasks.content import UnknownContentError, cache_key_of, content_key, definition
from optforge.tasks.source import is_installed


def optimizer_key(optimizer: Callable[..., Any]) -> str:
    """Return a key that distinguishes an optimizer class or function from all others.

    Args:
        optimizer: A class or function that takes parameters and keywords.

    Returns:
        The key, which is the same in any process: its qualified name, with the version of its
        package if that is installed; otherwise with its ``cache_key`` if it has one, or with a
        digest of the files that define it, its closure and its bound values.

    Raises:
        CompareError: If it was not defined in a file, or holds something whose content cannot be
            read.

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
    """Return the content key of an optimizer, or of a setting it has in every run.

    Raises:
        CompareError: If it holds something whose content cannot be read.
    """
    try:
        return content_key(value)
    except UnknownContentError as error:
        raise CompareError(
            "the runs of an optimizer cannot be told from those of an edited one: it uses "
            f"{error}; set cache_key on the class or function, a text that you change whenever "
            "you change it"
        ) from error
