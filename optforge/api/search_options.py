"""Options of a search, for `optforge.search` and for the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from optforge.analysis import cost, fingerprint
from optforge.api.budget_options import BudgetOptions
from optforge.errors import MOST, SearchError, real_number, whole_number
from optforge.evolution.settings import Settings
from optforge.evolution.starts import has_constants
from optforge.execution import process_count
from optforge.language import Program, load_rule, round_constants
from optforge.options import items_of
from optforge.tasks import HELD_OUT_TASK, PROXY_TASKS, Task, ladder_task_names
from optforge.training import has_compiler, is_gpu
from optforge.tuning import shipped_control

# The first phase takes about a fifth of the time: in it nothing is answered from the cache, so a
# program costs more than later. Its length is a number of programs, whatever the budget's unit,
# so that the history does not depend on the speed of the machine.
CONSTANTS_A_MINUTE = 40
FUNCTIONS = ("paper", "masks", "rows", "matrices")
_MINUTES_A_SET, _PROGRAMS_A_SET, _MOST_SETS = 10.0, 8_000, 6
# With one set of seeds, and with several.
_RESTART, _RESTART_AFTER = ("best", "initial"), (20_000, 4_000)
_STATE_BYTES = 8.0  # AdamW's
_CONSTANTS_SHARE = 0.1
_PROGRAMS_A_MINUTE = 10_000
_MINUTES_A_DAY = 24 * 60.0
# Minutes from which a search earns back what compiling costs; from the smaller number on the user's
# own tasks are compiled on trial.
_COMPILE_FROM, _TRY_FROM = 2.0, 1.0


@dataclass(frozen=True)
class SearchOptions(BudgetOptions):
    """Options of a search.

    Args:
        tasks: Tasks to search on (proxies), the cheapest first: names, ``file.py:Class``, or
            objects; the three shipped proxies by default.
        start: Rule to start from: the name of a shipped rule, a file, or the directory of a run.
        out: Directory of the run; a new one under ``runs/`` by default.
        seed: Random seed of the run.
        population: Programs in the aging population (P in the paper).
        tournament: Programs drawn to find a parent, the best of them (T in the paper).
        functions: Sets of functions that programs may call: paper (the paper's own space), masks,
            rows, matrices, time.
        max_state_bytes: Largest number of bytes of state per parameter, 0 to 16; each state of the
            size of the weights takes 4. By default that of the start, at least 8.
        max_statements: Length at which programs no longer grow.
        strategy: evolution, or one of the controls: constants (only constants change) and random
            (no selection).
        mutations: Weights of inserting, deleting and modifying a statement and, as a fourth, of
            adding a state; the paper uses 1,1,1.
        in_place: Share of insertions that rewrite a variable in use, as in lr = sqrt(lr); 0 in the
            paper, which draws all variables uniformly.
        on_matrices: Share of these that do so on hidden matrices alone, so that all other arrays
            keep the variable; for tasks in which embeddings or vectors matter as well.
        rescale: Share of new structural children whose learning rate is set so that their updates
            are as long as their parent's; 0 in the paper.
        known_by: Which programs count as known and are not trained again: fingerprint (those that
            abstract execution proves equal, as in the paper) or numbers (also those whose updates
            on fixed inputs equal a known program's to five digits and that keep no less state).
        gradient_spread: Factor s by which gradients are smaller or larger on two thirds of the
            seeds of fitness (1, 1/s, s in turn), so that no rule hangs on their scale; 1 for none,
            as in the paper.
        repeats: Number of seeds of each task before a program is compared with the best.
        confirm: Number of further seeds of each task for programs that would be among the best.
        restart: Where a search without progress restarts: best (the best so far), initial (what
            its phase began with; after the constants, the best of them) or none. By default best,
            and initial with several sets of seeds: courses differ more than the leaders of one.
        restart_after: Number of programs without progress after which it restarts; 20,000 by
            default, and 4,000 with several sets of seeds.
        seed_sets: Sets of seeds of fitness. A restart goes on with the next one, so that programs
            do not fit themselves to the seeds; progress is then what fresh seeds confirm. One for
            each ten minutes or 8,000 programs by default, at most 6.
        constants_programs: Number of programs of a first phase that only tunes the start's
            constants, 0 for none; by default a tenth of ``programs``, or 40 per minute for at most
            a day. None are needed from AdamW on the shipped proxies: their tuned AdamW is among the
            first programs, and the table has a committed search over its constants.
        lag: Number of batches of 64 new programs that are judged at once, each by one worker; a
            program is drawn without knowledge of the results of so many batches before it. The
            history depends on the lag and not on the workers. By default twice the workers less
            one, at least 3.
        held_out: Tasks for the final table only, never searched on; the shipped names_cnn by
            default. On the command line, none stands for no task.
        validate: Larger tasks on which the best program is scored while the search goes on, which
            shows when it overfits its own: names, ``file.py:Class``, or objects. With the shipped
            proxies, the first of the ladder by default. On the command line, none stands for no
            task.
        validation_share: Share of the arithmetic of the search that this may take.
        trials: Number of settings tried for AdamW on each task of your own before the search, and
            for all other rows of the table at its end. By default as many, from 4 to 256, as fit
            into a fifth of the minutes, or 64 without minutes.
        fresh_seeds: Number of fresh seeds of each task that finalists and the final table are
            measured with; 24 by default, fewer with few trials.
        compile: Compile the training kernels; by default if a C++ compiler is found and the search
            is long enough for it to pay off: from two minutes on, and from one minute on if a trial
            on your own tasks shows that they train faster.
        device: Device to train on: cpu, or cuda, where one process trains many programs at once
            (on a cluster, one for each GPU).
        force: Replace files in ``out`` that optforge did not write.

    Raises:
        SearchError: If an option is out of range.
    """

    tasks: Sequence[str | Task] | None = None
    start: str | Path = "adamw"
    _: KW_ONLY
    out: str | Path | None = None
    seed: int = 0
    population: int = 1000
    tournament: int = 2
    functions: str | Sequence[str] = FUNCTIONS
    max_state_bytes: float | None = None
    max_statements: int = 32
    strategy: str = "evolution"
    mutations: Sequence[float] = (1.0, 1.0, 1.0, 0.25)
    in_place: float = Settings.in_place
    on_matrices: float = Settings.on_matrices
    rescale: float = Settings.rescale
    known_by: str = "numbers"
    gradient_spread: float = 16.0
    repeats: int = 3
    confirm: int = 3
    restart: str | None = None
    restart_after: int | None = None
    seed_sets: int | None = None
    constants_programs: int | None = None
    lag: int | None = None
    held_out: Sequence[str | Task] | None = None
    validate: Sequence[str | Task] | None = None
    validation_share: float = Settings.validation_share
    trials: int | None = None
    fresh_seeds: int | None = None
    compile: bool | None = None
    device: str = "cpu"
    force: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trials is not None:
            whole_number("trials", self.trials, 1, SearchError, MOST)
        if self.fresh_seeds is not None:
            whole_number("fresh_seeds", self.fresh_seeds, 2, SearchError)
        if self.constants_programs is not None:
            whole_number("constants_programs", self.constants_programs, 0, SearchError)
        for name in ("lag", "restart_after", "seed_sets"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), 1, SearchError)
        entries = items_of("mutations", self.mutations, "weights", SearchError)
        weights = [real_number("a mutation weight", w, wrong=SearchError) for w in entries]
        object.__setattr__(self, "mutations", tuple(weights))
        if len(self.mutations) not in (3, 4):
            raise SearchError(
                f"mutation weights are {self.mutations}; give three (insert, delete, modify) or "
                "four, the last for adding a state"
            )

    @property
    def proxies(self) -> Sequence[str | Task]:
        """The tasks that are searched on."""
        return PROXY_TASKS if self.tasks is None else self.tasks

    @property
    def others(self) -> Sequence[str | Task]:
        """The tasks for the final table only."""
        return (HELD_OUT_TASK,) if self.held_out is None else self.held_out

    @property
    def larger(self) -> Sequence[str | Task]:
        """The tasks on which incumbents are scored."""
        if self.validate is not None:
            return self.validate
        return ladder_task_names()[:1] if self.tasks is None else ()

    @property
    def compiling(self) -> bool | None:
        """Whether training kernels are compiled; None if a trial on the user's tasks decides."""
        if self.compile is not None:
            return self.compile
        if is_gpu(self.device) or not has_compiler():  # on a GPU, recorded graphs are as fast
            return False
        guess = (self.programs or 0) / _PROGRAMS_A_MINUTE
        minutes = guess if self.length is None else self.length
        return True if minutes >= _COMPILE_FROM else None if minutes >= _TRY_FROM else False

    def settings(self, rule: Program, tasks: Sequence[Task]) -> Settings:
        """Return the settings that the run stores.

        Args:
            rule: The rule that the search starts from.
            tasks: The tasks to search on; their data is not read yet, so that invalid settings are
                rejected at once.
        """
        weights = dict(
            zip(("insert", "delete", "modify", "add_state"), self.mutations, strict=False)
        )
        same = ("seed", "population", "tournament", "repeats", "confirm", "strategy", "in_place",
                "on_matrices", "rescale", "known_by", "gradient_spread", "max_statements",
                "validation_share")  # fmt: skip
        sets = self._seed_sets()
        return Settings(
            start=round_constants(rule).text,
            tasks=tuple(task.name for task in tasks),
            hashes=(),
            constants_programs=self._constants(rule, tasks),
            max_state_bytes=self._state_bytes(rule),
            functions=_sets(self.functions),
            lag=self._lag(),
            seed_sets=sets,
            restart=_RESTART[sets > 1] if self.restart is None else self.restart,
            restart_after=self.restart_after or _RESTART_AFTER[sets > 1],
            device=self.device,
            compiled=self.compiling is True,
            **{"add_state": 0.0, **weights},
            **{name: getattr(self, name) for name in same},
        )

    def _constants(self, rule: Program, tasks: Sequence[Task]) -> int:
        if self.strategy != "evolution" or not has_constants(rule):
            return 0
        if self.constants_programs is not None:
            return self.constants_programs
        if shipped_control(tasks) and fingerprint(rule) == fingerprint(load_rule("adamw")):
            return 0
        if self.programs is not None:
            return int(_CONSTANTS_SHARE * self.programs)
        return int(CONSTANTS_A_MINUTE * min(self.length or 0, _MINUTES_A_DAY))

    def _state_bytes(self, rule: Program) -> float:
        limit = self.max_state_bytes
        return limit if limit is not None else max(_STATE_BYTES, cost(rule).state_bytes)

    def _seed_sets(self) -> int:
        if self.seed_sets is not None:
            return self.seed_sets
        by_minutes = (self.length or math.inf) / _MINUTES_A_SET
        by_programs = (self.programs or math.inf) / _PROGRAMS_A_SET
        return int(max(1, min(by_minutes, by_programs, _MOST_SETS)))

    def _lag(self) -> int:
        if self.lag is not None:
            return self.lag
        workers = process_count(self.chosen_workers(gpus=is_gpu(self.device)))
        return max(Settings.lag, 2 * workers - 1)  # with less, they wait (docs/cluster.md)


def _sets(functions: str | Sequence[str]) -> tuple[str, ...]:
    names = functions.split(",") if isinstance(functions, str) else _named(functions)
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def _named(functions: object) -> list[str]:
    return list(map(str, items_of("functions", functions, "names", SearchError)))
