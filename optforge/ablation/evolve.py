"""The paper's way of shortening a rule: evolution with insertion disabled."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy

from optforge.ablation.removals import ProposedChange, size
from optforge.ablation.rule_trainer import RuleTrainer
from optforge.analysis import cost, live_program
from optforge.errors import StoppedError, TimeIsUpError
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.evolution.session import make_executor, make_search
from optforge.evolution.settings import Settings
from optforge.execution import Workers
from optforge.language import Program, parse, round_constants
from optforge.runs import RunDirectory
from optforge.runs.file_names import JOURNAL

PROGRAMS = 3000
_POPULATION, _TOURNAMENT, _REPEATS, _RESCORE = 100, 4, 3, 3
_FINALISTS = 8


@dataclass(frozen=True)
class Evolved:
    """The rules that evolution proposes, as a source of candidates.

    Args:
        rules: Shorter rules, shortest first.
    """

    rules: tuple[ProposedChange, ...]

    def candidates(self) -> list[ProposedChange]:
        """Return the rules as candidates."""
        return list(self.rules)

    def together(self, chosen: Sequence[ProposedChange]) -> Program | None:
        """Return the one chosen rule; evolved rules cannot be combined, so several give None."""
        return chosen[0].program if len(chosen) == 1 else None


def evolve(
    trainer: RuleTrainer,
    reference: Program,
    margin: float,
    programs: int = PROGRAMS,
    workers: Workers = 0,
    allowed: Callable[[Program], bool] = lambda program: True,
) -> Evolved:
    """Evolve a rule with insertion disabled, and return the shortest rules that look as good.

    Fitness is the mean log loss minus the reference's on the same seeds. The margin is also the
    slack of the hurdles, so that slightly worse rules survive. Rules that look as good here were
    selected for it, so they are decided about on other seeds.

    Args:
        trainer: Provides the tasks, the seed and the stop.
        reference: A tuned rule.
        margin: Log loss by which a rule may be worse.
        programs: Number of proposals.
        workers: Number of worker processes; 0 to run in this process.
        allowed: Returns whether a rule keeps everything that is protected.

    Source: "Symbolic Discovery of Optimization Algorithms", section 3.
    """
    plan = _plan(trainer, reference, margin)
    with (
        closing(make_executor(plan, workers)) as executor,
        _folder(trainer) as folder,
        _directory(folder, plan) as directory,
    ):
        runner = replace(trainer.runner, executor=executor, journal=directory.journal)
        search = make_search(plan, runner)

        def ended(history: History) -> bool:
            return history.tally.proposals >= programs

        def watch(history: History) -> None:
            done = min(history.tally.proposals, programs)
            trainer.runner.watch("evolution without insertion", done, programs)

        search.run(ended, watch)
        if search.stopped:
            raise StoppedError if runner.stop() else TimeIsUpError
        return Evolved(_shortest(directory, margin, size(reference), allowed))


@contextmanager
def _folder(trainer: RuleTrainer) -> Iterator[Path]:
    """Return the directory of the journals: beside the losses, so that an evolution can resume.

    Where nothing can be written, as without a home, it is a temporary one.
    """
    store = trainer.trainer.store.path
    folder = None if store is None else store.with_suffix(".evolution")
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = None
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _directory(folder: Path, plan: SearchPlan) -> RunDirectory:
    """Open or create the journal of this evolution; its name is a digest of its inputs."""
    stored = plan.stored()
    text = json.dumps(stored, sort_keys=True)
    path = folder / blake2b(text.encode(), digest_size=8).hexdigest()
    if (path / JOURNAL).is_file():
        return RunDirectory.open(path, write=True)
    return RunDirectory.create(path, stored)


def _plan(trainer: RuleTrainer, reference: Program, margin: float) -> SearchPlan:
    lean = round_constants(live_program(reference))
    settings = Settings(
        start=lean.text,
        tasks=tuple(task.name for task in trainer.tasks),
        hashes=tuple(task.hash for task in trainer.tasks),
        seed=trainer.trainer.seed,
        population=_POPULATION,
        tournament=_TOURNAMENT,
        repeats=_REPEATS,
        max_state_bytes=cost(lean).state_bytes,
        max_statements=max(1, len(lean.statements)),
        insert=0.0,
        rescale=0.0,
        rescore_repeats=_RESCORE,
        slack=margin,
    )
    draft = SearchPlan(settings, trainer.tasks, (), {task.name: {} for task in trainer.tasks}, {})
    losses: dict[str, dict[str, list[float]]] = {task.name: {} for task in trainer.tasks}
    for purpose, count in (("search", settings.seeds), ("rescore", _RESCORE)):
        logs = trainer.trainer.losses(
            {task: [lean] for task in losses},
            draft.seeds(purpose, count),
            "validation",
            "the start of the evolution",
        )
        for task, values in logs.items():
            losses[task][purpose] = numpy.nan_to_num(values[0], posinf=0.0).tolist()
    return SearchPlan(settings, draft.tasks, (), draft.baselines, losses, trainer.schedules)


def _shortest(
    directory: RunDirectory, margin: float, statements: int, allowed: Callable[[Program], bool]
) -> tuple[ProposedChange, ...]:
    """Return the shortest of the rules that look as good; for each length, the best one."""
    journal = directory.journal
    good = {
        verdict.id: verdict
        for verdict in journal.verdicts()
        if verdict.fitness <= margin and verdict.live_statements < statements
    }
    best: dict[int, tuple[float, str]] = {}
    for proposal in journal.proposals():
        verdict = good.get(proposal.verdict) if proposal.verdict is not None else None
        if verdict is None:
            continue
        lean = live_program(parse(proposal.program))
        entry = (verdict.fitness, lean.text)
        if size(lean) < statements and allowed(lean):
            best[size(lean)] = min(best.get(size(lean), entry), entry)
    chosen = [parse(best[length][1]) for length in sorted(best)][:_FINALISTS]
    return tuple(
        ProposedChange(
            program,
            f"{statements} statements",
            f"{statements} statements -> {size(program)}, by evolution",
            f"evolution {size(program)}",
        )
        for program in chosen
    )
