"""optforge discovers optimizers for deep learning by searching over programs.

What stands here is imported when it is first used, so that `from optforge.optim import Lion` brings
in neither the search nor what only a search needs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optforge.api import SearchResult as SearchResult
    from optforge.api import resume as resume
    from optforge.api import search as search
    from optforge.comparing import ComparisonResult as ComparisonResult
    from optforge.comparing import compare as compare
    from optforge.errors import OptforgeError as OptforgeError
    from optforge.explaining import explain as explain
    from optforge.language import Program as Program
    from optforge.language import load_rule as load_rule
    from optforge.language import parse as parse
    from optforge.optim import Lion as Lion
    from optforge.optim import ProgramOptimizer as ProgramOptimizer
    from optforge.simplifying import simplify as simplify
    from optforge.tasks import Data as Data
    from optforge.tasks import Split as Split
    from optforge.tasks import Task as Task

__version__ = "0.1.0"

# Where each public name lives.
_HOMES = {
    "SearchResult": "optforge.api",
    "resume": "optforge.api",
    "search": "optforge.api",
    "ComparisonResult": "optforge.comparing",
    "compare": "optforge.comparing",
    "OptforgeError": "optforge.errors",
    "explain": "optforge.explaining",
    "Program": "optforge.language",
    "load_rule": "optforge.language",
    "parse": "optforge.language",
    "Lion": "optforge.optim",
    "ProgramOptimizer": "optforge.optim",
    "simplify": "optforge.simplifying",
    "Data": "optforge.tasks",
    "Split": "optforge.tasks",
    "Task": "optforge.tasks",
}
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):  # a room: `optforge.optim`
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _Face(ModuleType):
    """The package, of which some public functions share their names with rooms.

    When the room `optforge.search` is imported, Python binds it to the name `search` of the
    package; `optforge.search` must stay the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
