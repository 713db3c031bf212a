"""The global generators of Python and NumPy, seeded inside a block."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy


@contextmanager
def python_and_numpy(seed: int) -> Iterator[None]:
    """Seed Python's and NumPy's global generators inside a block, and restore their states.

    Args:
        seed: The seed.

    Example:
        >>> with python_and_numpy(3):
        ...     one = random.random(), numpy.random.rand()
        >>> with python_and_numpy(3):
        ...     print((random.random(), numpy.random.rand()) == one)
        True
    """
    python, array = random.getstate(), numpy.random.get_state(legacy=False)  # noqa: NPY002
    random.seed(seed)
    with suppress(TypeError):  # the caller has put another kind of generator there
        numpy.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        numpy.random.set_state(array)  # noqa: NPY002


def state_of_python_and_numpy() -> bytes:
    """Return the states of both generators, in a form that can be compared."""
    return pickle.dumps((random.getstate(), numpy.random.get_state(legacy=False)))  # noqa: NPY002
