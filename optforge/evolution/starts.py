"""Where a search starts: the warm start and its limits, phases, restarts."""

from __future__ import annotations

from typing import NamedTuple

from optforge.analysis import cost
from optforge.errors import SearchError
from optforge.evolution.genome import Genome, recall
from optforge.evolution.history import History
from optforge.evolution.settings import Settings
from optforge.language import Program, parse, round_constants


class Start(NamedTuple):
    """A program that fills the whole population: the phase it begins, the reason, the seeds."""

    genome: Genome
    phase: str
    reason: str
    seed_set: int = 0


class Starts:
    """Decides when a phase begins and when a search restarts.

    Args:
        settings: Settings of the run.
        history: History of all committed batches.
    """

    def __init__(self, settings: Settings, history: History) -> None:
        self.settings, self.history = settings, history
        self.warm_start = recall(round_constants(parse(settings.start)))

    @property
    def first_phase(self) -> str:
        """The phase with which the search begins."""
        if self.settings.strategy == "random":
            return "random"
        if self.settings.strategy == "constants" or self.settings.constants_programs > 0:
            return "constants"
        return "structure"

    def due(self, batch: int, in_flight: bool) -> Start | None:
        """Return the start with which a batch begins; None for most batches.

        Args:
            batch: Number of the batch.
            in_flight: Whether a start waits for its verdict; no other is made meanwhile.
        """
        history, settings = self.history, self.settings
        if batch == 0:
            return Start(self.warm_start, self.first_phase, "start: given")
        if batch == 1 and settings.suggestions and history.phase != "random":
            return Start(self._best(), history.phase, "start: best known")
        if in_flight or history.phase == "random":  # nothing is selected at random
            return None
        if history.phase == "constants" and settings.strategy == "evolution":
            if history.phase_proposals < settings.constants_programs:
                return None
            return Start(self._best(), "structure", "start: best constants", history.seed_set)
        return self._restart()

    def _restart(self) -> Start | None:
        history, settings = self.history, self.settings
        others = (history.seed_set + 1) % settings.seed_sets
        if history.overfitted is not None and settings.restart != "none":
            genome = recall(history.overfitted.text)
            return Start(genome, history.phase, "restart: meta-overfitting", others)
        stalled = history.phase_proposals - history.improved_at >= settings.restart_after
        if not stalled or settings.restart == "none":
            return None
        genome = self._best() if settings.restart == "best" else recall(history.phase_start)
        return Start(genome, history.phase, f"restart: {settings.restart}", others)

    def _best(self) -> Genome:
        incumbent = self.history.incumbent(self.history.phase)
        return self.warm_start if incumbent is None else incumbent.genome


def has_constants(program: Program) -> bool:
    """Return whether a search over constants can change a program at all."""
    return any(isinstance(a, float) and a for s in program.statements for a in s.arguments)


def check_start(program: Program, settings: Settings) -> None:
    """Reject a warm start that exceeds the limits of the search.

    Raises:
        SearchError: If it exceeds a limit; the message names the limit and what to do.
    """
    state_bytes = cost(program).state_bytes
    if state_bytes > settings.max_state_bytes:
        raise SearchError(
            f"the warm start keeps {state_bytes:g} bytes of state for each parameter and "
            f"--max-state-bytes allows {settings.max_state_bytes:g}; give --max-state-bytes "
            f"{state_bytes:g} or start from a rule with fewer, such as lion"
        )
    if settings.strategy == "constants" and not has_constants(program):
        raise SearchError(
            "the warm start has no constant that a search over constants could change; "
            "choose another rule or --strategy evolution"
        )
    if len(program.statements) > settings.max_statements:
        raise SearchError(
            f"the warm start has {len(program.statements)} statements and --max-statements "
            f"allows {settings.max_statements}; raise it"
        )
