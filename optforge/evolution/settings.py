"""The settings of a search: exactly what its history depends on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from optforge.errors import RunError, SearchError
from optforge.language import FUNCTION_SETS, MAX_STATES
from optforge.options import with_plain_fields

STRATEGIES = ("evolution", "constants", "random")
_MOST = 1_000_000  # of what is held in memory for each program or batch
_COUNTS = ("population", "tournament", "repeats", "max_statements", "batch", "lag",
           "rescore_every", "rescore_repeats", "seed_sets")  # fmt: skip
_MOST_BYTES = 4 * MAX_STATES
_MOST_SPREAD = 1e6  # beyond it, float32 squares of gradients vanish or overflow
RESTARTS = ("best", "initial", "none")
KNOWN_BY = ("numbers", "fingerprint")


@dataclass(frozen=True)
class Settings:
    """Settings with which a run is stored and resumed.

    Args:
        start: Text of the warm-start rule.
        tasks: Names of the tasks, the cheapest first.
        hashes: Hashes of each task's data and settings.
        seed: Random seed of the run.
        population: Programs in the aging population (P in the paper).
        tournament: Programs drawn to find a parent (T in the paper).
        repeats: Seeds of each task before a program is compared with the best.
        confirm: More seeds of each task for those that would be among the best.
        strategy: ``evolution``; the controls ``constants`` (only constants mutate) and
            ``random`` (no selection).
        constants_programs: Programs of a first phase in which only constants mutate.
        max_statements: Length at which no more statements are inserted.
        max_state_bytes: Bytes of state for each parameter that a rule may keep.
        functions: Sets of functions that inserted statements may call; the set ``paper`` alone is
            the paper's search space.
        insert: Weight of the mutation that inserts a statement.
        delete: Weight of the mutation that deletes a statement.
        modify: Weight of the mutation that changes an argument.
        add_state: Weight of the mutation that adds a state; 0 in the paper.
        gradient_spread: Factor s of the gradients on the seeds of fitness: 1, 1/s, s in turn.
        in_place: Share of the insertions that rewrite a variable which is still read; 0 in the
            paper.
        on_matrices: Share of these that do so on hidden matrices alone; 0 in the paper.
        rescale: Share of the new structural children whose learning rate is set so that their
            updates are as long as their parent's; 0 in the paper.
        known_by: When a program counts as known: if its ``fingerprint`` is, or also if its
            ``numbers`` are and no less state gives them.
        batch: New fingerprints in a batch.
        lag: Batch n is drawn from the population as it stood after batch n - lag.
        seed_sets: Sets of seeds of fitness; a restart goes on with the next one, so that no line of
            programs fits itself to the seeds of one. With several, progress is what fresh seeds
            confirm.
        restart: Program from which a restart begins: ``best``, ``initial`` (the one the phase began
            with, which is not the warm start if constants were searched before) or ``none``.
        restart_after: Number of programs without an improvement after which a search restarts.
        rescore_every: Number of batches between two checks whether the best must be re-scored.
        rescore_repeats: Fresh seeds of each task for re-scoring.
        slack: Added to the last hurdle, in log loss; earlier ones get more.
        task_slack: The slack at the end of a stage is multiplied by this power, from 0 (1 at every
            stage) to 1, of the number of tasks over that of those seen.
        hurdle: Quantile of the phase's best programs that a candidate must reach.
        audit: Share of rejected programs that are trained to the end nevertheless.
        compiled: Whether training kernels are compiled.
        device: Device on which candidates are trained.
        alone: Names of the tasks, held-out ones included, whose models train one at a time.
        validation: Names of larger tasks on which incumbents are scored while the search goes on.
        validation_hashes: Hashes of these tasks.
        validation_share: Share of the arithmetic of the search that this may take.
        validation_cost: Arithmetic of one such score, in mean training steps of the search.
        suggestions: Texts of programs that are proposed first, as children of the warm start. These
            are the baselines, so that no search ends behind what was known before.

    Raises:
        SearchError: If a setting is out of range.
    """

    start: str
    tasks: tuple[str, ...]
    hashes: tuple[str, ...]
    seed: int = 0
    population: int = 1000
    tournament: int = 2
    repeats: int = 3
    confirm: int = 0
    strategy: str = "evolution"
    constants_programs: int = 0
    max_statements: int = 32
    max_state_bytes: float = 8.0
    functions: tuple[str, ...] = ("paper",)
    insert: float = 1.0
    delete: float = 1.0
    modify: float = 1.0
    add_state: float = 0.0
    in_place: float = 0.5
    on_matrices: float = 0.0
    rescale: float = 0.75
    known_by: str = "fingerprint"
    batch: int = 64
    lag: int = 3
    seed_sets: int = 1
    restart: str = "best"
    restart_after: int = 20_000
    rescore_every: int = 2
    rescore_repeats: int = 6
    gradient_spread: float = 1.0
    slack: float = 0.006
    task_slack: float = 0.5
    hurdle: float = 0.25
    audit: float = 0.0025
    compiled: bool = False
    device: str = "cpu"
    alone: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    validation_hashes: tuple[str, ...] = ()
    validation_share: float = 0.05
    validation_cost: float = 0.0
    suggestions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with_plain_fields(self, SearchError)
        _choice("strategy", self.strategy, STRATEGIES)
        _choice("restart", self.restart, RESTARTS)
        _choice("known-by", self.known_by, KNOWN_BY)
        for name in _COUNTS:
            _at_least(name, getattr(self, name), 1, _MOST)
        _at_least("restart-after", self.restart_after, 1)
        _at_least("confirm", self.confirm, 0, _MOST)
        _at_least("constants-programs", self.constants_programs, 0)
        if not 1 <= self.gradient_spread <= _MOST_SPREAD:
            raise SearchError(
                f"gradient-spread is {self.gradient_spread}; allowed are 1, which leaves gradients "
                f"as they are, to {_MOST_SPREAD:g}"
            )
        _share("in-place", self.in_place)
        _share("on-matrices", self.on_matrices)
        _share("rescale", self.rescale)
        _share("validation-share", self.validation_share)
        _share("hurdle", self.hurdle)
        _share("audit", self.audit)
        _share("task-slack", self.task_slack)
        if not 0 <= self.max_state_bytes <= _MOST_BYTES:
            raise SearchError(
                f"max-state-bytes is {self.max_state_bytes}; allowed are 0 to {_MOST_BYTES}: "
                f"4 for each of at most {MAX_STATES} states of the size of the weights"
            )
        if not self.functions:
            raise SearchError(f"no set of functions is given; there are {', '.join(FUNCTION_SETS)}")
        for name in self.functions:
            _choice("functions", name, tuple(FUNCTION_SETS))
        if self.on_matrices and "matrices" not in self.functions:
            raise SearchError(
                f"on-matrices is {self.on_matrices}, but the functions are "
                f"{', '.join(self.functions)}; add the set matrices, or give 0"
            )
        if self.tournament > self.population:
            raise SearchError(
                f"the tournament ({self.tournament}) is larger than the population "
                f"({self.population}); allowed are 1 to the size of the population"
            )
        weights = (self.insert, self.delete, self.modify, self.add_state)
        if min(weights) < 0 or not self.modify + self.insert > 0 or math.inf in weights:
            raise SearchError(
                f"mutation weights are {weights}; none may be negative or infinite, not all 0"
            )

    @property
    def seeds(self) -> int:
        """Number of seeds of each task in a full verdict."""
        return self.repeats + self.confirm

    @property
    def fitness_seeds(self) -> dict[str, int]:
        """Number of seeds of each task by purpose: in the search, and to measure leaders again."""
        return {"search": self.seeds * self.seed_sets, "rescore": self.rescore_repeats}

    def stored(self) -> dict[str, Any]:
        """Return JSON-serializable values for the journal."""
        return asdict(self)

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Settings:
        """Read what :meth:`stored` returned from a journal.

        Raises:
            RunError: If settings are missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        try:
            known = {**_LATER, **stored}
            values: dict[str, Any] = {name: known[name] for name in names}
        except KeyError as error:
            raise RunError(
                f"the run's settings lack {error.args[0]!r}; it was made by another version of "
                "optforge: resume it with that one"
            ) from None
        for name, value in values.items():
            values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)


# What runs of earlier versions lack.
_LATER: dict[str, Any] = {"task_slack": 0.0} | {
    field.name: field.default
    for field in fields(Settings)
    if field.name in ("alone", "device", "gradient_spread", "known_by", "on_matrices", "seed_sets")
    or field.name.startswith("validation")
}


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SearchError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SearchError(f"{name} is {value}; it is a share, from 0 to 1")


def _at_least(name: str, value: int, least: int, most: float = math.inf) -> None:
    if not least <= value <= most:
        end = "" if most == math.inf else f", and at most {most:,}"
        name = name.replace("_", "-")
        raise SearchError(f"{name} is {value}; it must be at least {least}{end}")
