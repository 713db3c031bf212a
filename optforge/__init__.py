"""optforge discovers optimizers for deep learning by searching over programs.

What stands here is imported when it is first used, so that `from optforge.optim import Lion` brings
in neither the search nor what only a search needs.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optforge.api.comparison import ComparisonResult as ComparisonResult
    from optforge.api.comparison import compare as compare
    from optforge.api.explanation import explain as explain
    from optforge.api.export import export as export
    from optforge.api.funnel import funnel as funnel
    from optforge.api.funnel_result import FunnelResult as FunnelResult
    from optforge.api.search import resume as resume
    from optforge.api.search import search as search
    from optforge.api.search_result import SearchResult as SearchResult
    from optforge.api.simplification import simplify as simplify
    from optforge.errors import OptforgeError as OptforgeError
    from optforge.language import Program as Program
    from optforge.language import load_rule as load_rule
    from optforge.language import parse as parse
    from optforge.optim import Lion as Lion
    from optforge.optim import ProgramOptimizer as ProgramOptimizer
    from optforge.tasks import Data as Data
    from optforge.tasks import Split as Split
    from optforge.tasks import Task as Task

__version__ = "0.1.0"

# Where each public name lives.
_HOMES = {
    "SearchResult": "optforge.api.search_result",
    "export": "optforge.api.export",
    "FunnelResult": "optforge.api.funnel_result",
    "funnel": "optforge.api.funnel",
    "resume": "optforge.api.search",
    "search": "optforge.api.search",
    "ComparisonResult": "optforge.api.comparison",
    "compare": "optforge.api.comparison",
    "OptforgeError": "optforge.errors",
    "explain": "optforge.api.explanation",
    "Program": "optforge.language",
    "load_rule": "optforge.language",
    "parse": "optforge.language",
    "Lion": "optforge.optim",
    "ProgramOptimizer": "optforge.optim",
    "simplify": "optforge.api.simplification",
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
