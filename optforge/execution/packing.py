"""How the evaluation travels to other processes, and what they need around them."""

from __future__ import annotations

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

    Raises:
        SearchError: If something that it holds cannot travel.
    """
    try:
        return cloudpickle.dumps(factory)
    except Exception as error:
        raise SearchError(f"the evaluation cannot be sent to workers: {error}") from error


def last_line(text: str) -> str:
    """Return the last line of a traceback, which says what happened."""
    return text.strip().splitlines()[-1]
