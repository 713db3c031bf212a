"""How the evaluation travels to other processes, and what they need around them."""

from __future__ import annotations

import functools
import sys
from typing import Any

import cloudpickle

from optforge.errors import SearchError
from optforge.execution.protocol import Factory

# Read when torch is loaded, so they must be in a process's environment from its start.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def pack_factory(factory: Factory) -> bytes:
    """Return the factory as bytes, with classes of a script or notebook by value.

    Torch's default type travels with it: in another one models and data would not fit.

    Raises:
        SearchError: If something that it holds cannot travel.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_default_dtype() != torch.float32:
        factory = functools.partial(_built, torch.get_default_dtype(), factory)
    try:
        return cloudpickle.dumps(factory)
    except Exception as error:
        raise SearchError(f"the evaluation cannot be sent to workers: {error}") from error


def _built(dtype: Any, factory: Factory) -> Any:
    import torch

    torch.set_default_dtype(dtype)
    return factory()


def last_line(text: str) -> str:
    """Return the last line of a traceback, which says what happened."""
    return text.strip().splitlines()[-1]
