"""How long a search runs, and options of resuming one, for Python and for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from optforge.api.keywords import WorkOptions
from optforge.api.run_log import check_log
from optforge.errors import SearchError, byte_count, real_number, whole_number
from optforge.evolution.budget import Budget
from optforge.evolution.known import LEAST_MEMORY
from optforge.execution import worker_count
from optforge.options import with_plain_fields
from optforge.tasks import Task

_MINUTES = 8.0


@dataclass(frozen=True, kw_only=True)
class BudgetOptions(WorkOptions):
    """How long a search runs now, and what happens at its end.

    Args:
        minutes: Length of the search, inf for no limit; 8 by default if ``programs`` is not given
            either. The final measurements take additional time. With both, the search ends at
            whichever comes first.
        programs: Number of proposed programs, including those of earlier sessions, after which it
            ends; no limit by default.
        simplify: Simplify the winner at the end: exactly, and after half an hour of search also
            by training, in a tenth of the search's time.
        max_memory: Memory for the programs known to the search, such as 500MB or 2GB; a million of
            them take 250MB. Further ones go to a temporary file, and the search stays the same.
        log: Where the course of the search is logged as well: tensorboard (in the directory of the
            run) or wandb (Weights & Biases).
    """

    minutes: float | None = None
    programs: int | None = None
    simplify: bool = True
    max_memory: str = "1GB"
    log: str | None = None

    def __post_init__(self) -> None:
        with_plain_fields(self, SearchError)
        if self.minutes is not None:
            real_number("minutes", self.minutes, above=0, infinite=True, wrong=SearchError)
        if self.programs is not None:
            whole_number("programs", self.programs, 1, SearchError)
        worker_count(self.workers)
        check_log(self.log)
        _ = self.memory

    @property
    def memory(self) -> int:
        """Bound of the memory for the known programs, in bytes."""
        return byte_count("max_memory", self.max_memory, LEAST_MEMORY, SearchError)

    @property
    def budget(self) -> Budget:
        """The budget of the search; its clock starts with it."""
        return Budget(self.length, self.programs)

    @property
    def length(self) -> float | None:
        """Length in minutes, None without a limit."""
        return _MINUTES if self.minutes is None and self.programs is None else self.minutes


@dataclass(frozen=True)
class ResumeOptions(BudgetOptions):
    """Options of resuming a search.

    Args:
        run: Directory of the run.
        tasks: The run's own tasks, as ``file.py:Class`` or as objects, held-out ones included, if
            it has any that are not shipped.
    """

    run: str | Path
    _: KW_ONLY
    tasks: Sequence[str | Task] = ()
