"""What makes two optimizers the same: the version of a library, or the content of one's own code.

A name alone would let an edited class, or two functions of one factory, share finished cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optforge.errors import CompareError
from optforge.tasks.content import (
    UnknowableError,
    content_of,
    is_named,
    library_version,
    module_of,
    package_of,
)


def identity_of(maker: Callable[..., Any]) -> str:
    """Tell an optimizer's class or function from all others, in any process and at any time.

    Args:
        maker: Takes parameters and keywords.

    Returns:
        Its qualified name, with the version of its package if it comes from an installed one,
        else with a hash of its code: bytecode, constants, default values, what it closes over,
        and what it names in its module.

    Raises:
        CompareError: If it holds a value that cannot be told from others.

    Example:
        >>> import torch
        >>> identity_of(torch.optim.SGD).split()[0]
        'torch.optim.sgd.SGD'
    """
    name = f"{module_of(maker)}.{getattr(maker, '__qualname__', type(maker).__qualname__)}"
    if is_named(maker):
        return f"{name} {library_version(package_of(maker))}"
    return f"{name} {content_hash(maker)}"


def content_hash(value: Any) -> str:
    """Sixteen digits over everything that a value consists of.

    Raises:
        CompareError: If it holds a value that cannot be told from others.

    Example:
        >>> content_hash(lambda p, lr=0.1: None) == content_hash(lambda p, lr=0.2: None)
        False
    """
    try:
        return content_of([value])
    except UnknowableError as error:
        raise CompareError(
            f"an optimizer holds {error}, so that its runs could not be kept; "
            "give it plain values or tensors"
        ) from error


__all__ = ["content_hash", "identity_of", "library_version"]
