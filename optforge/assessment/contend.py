"""The rows of the table, all tuned alike: baselines, the control, the discovered rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field

from optforge.analysis import fingerprint
from optforge.assessment.rows import CONSTANTS, FOUND, NAMES, ONE_SETTING, STRAIGHT
from optforge.assessment.straighten import follows_schedule, straightened
from optforge.assessment.table import Contender, rates
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.jobs import Trainer
from optforge.language import Program, load_rule, parse, round_constants
from optforge.tasks import Schedule, is_shipped
from optforge.training import Trainee
from optforge.tuning import (
    JOINT,
    OPTIMIZERS,
    Setting,
    Tunable,
    Tuned,
    baseline_tunable,
    fittable,
    losses_by,
    other_version,
    shape_setting,
    shipped_control,
    shipped_jointly,
    trainee_from_json,
    tune_together,
)

_ALL = "all"  # the place of one setting for all proxy tasks, beside those of single tasks


@dataclass(frozen=True)
class _Known:
    """A row before it is tuned.

    Args:
        name: Name that the table prints.
        searched: The search behind it, in words; empty for an optimizer.
        tuned: The trainees that are already known, for each task or for all together.
        candidate: The candidate to tune where no trainee is known.
        trials: Number of settings tried for the known trainees; None if there are none.
        places: Where it is tuned: on single tasks and on all of them together.
    """

    name: str
    searched: str
    candidate: Tunable
    places: tuple[str, ...]
    tuned: Mapping[str, Trainee] = field(default_factory=dict)
    trials: int | None = None


def contenders(
    plan: SearchPlan,
    history: History,
    winner: Program,
    trainer: Trainer,
) -> tuple[list[Contender], list[str]]:
    """Tune every row that is not tuned yet, side by side and with the same number of trials.

    Args:
        plan: Plan of the run.
        history: History of the search.
        winner: The best program on fresh seeds.
        trainer: Trains the rows.

    Returns:
        The rows of the table, tuned AdamW first, and notes on them for the reader.
    """
    known, notes = _known(plan, history, winner)
    proxies = [task.name for task in plan.tasks]
    missing = [(row, place) for row in known for place in row.places if place not in row.tuned]
    jobs = [(row.candidate, proxies if place == _ALL else [place]) for row, place in missing]

    def watch(done: int, total: int) -> None:
        trainer.runner.watch("Tuning the rows of the table, all alike", done, total)

    losses, effort = losses_by(trainer, "fit, ", "Training the best settings again"), plan.effort
    tuned = tune_together(jobs, losses, effort, watch) if jobs else []
    fresh: dict[str, dict[str, Tuned]] = {}
    for (row, place), best in zip(missing, tuned, strict=True):
        fresh.setdefault(row.name, {})[place] = best
    if follows_schedule(winner) and FOUND in fresh:  # straightened it is the same rule
        fresh[STRAIGHT] = {n: best for n, best in fresh[FOUND].items() if n != _ALL}
    rows = [
        row for known_row in known for row in _rows(known_row, fresh.get(known_row.name, {}), plan)
    ]
    rows.sort(key=lambda row: row.name.endswith(ONE_SETTING))  # the others first, in their order
    return rows, [*notes, *_words(plan)]


def _known(plan: SearchPlan, history: History, winner: Program) -> tuple[list[_Known], list[str]]:
    names = [task.name for task in (*plan.tasks, *plan.held_out)]
    rows, notes = [], []
    for optimizer in OPTIMIZERS:
        baselines = {
            n: plan.baselines[n][optimizer] for n in names if optimizer in plan.baselines[n]
        }
        notes += [f"{optimizer}: {b.note}" for b in baselines.values() if b.note]
        tuned = {name: baseline.trainee for name, baseline in baselines.items()}
        joint = shipped_jointly(plan.tasks, optimizer) if optimizer in JOINT else None
        if joint is not None and joint.trials == plan.effort.trials:
            tuned[_ALL] = joint.trainee
        elif len(plan.tasks) == 1 and not is_shipped(plan.tasks[0]) and names[0] in tuned:
            tuned[_ALL] = tuned[names[0]]  # the one setting for all is that of the one task
        places = (*names, _ALL) if optimizer in JOINT else tuple(names)
        trials = min((b.trials for b in baselines.values()), default=None)
        rows.append(
            _Known(NAMES[optimizer], "", baseline_tunable(optimizer), places, tuned, trials)
        )
    control = _control(plan, history, winner)
    if control is not None:
        rows.insert(1, control)
        notes += [_control_note(plan)] if _control_note(plan) else []
    if plan.settings.strategy != "constants":
        searched = f"search of {history.tally.proposals} programs"
        known = _schedules(plan)
        discovered = _Known(FOUND, searched, fittable(winner, known), (*names, _ALL))
        straight = fittable(straightened(winner), known)
        tuned_on = () if follows_schedule(winner) else tuple(names)
        place = 1 + (control is not None)
        rows[place:place] = [discovered, _Known(STRAIGHT, searched, straight, tuned_on)]
    return rows, notes


def _schedules(plan: SearchPlan) -> list[Setting]:
    """Return the schedules that candidates trained under and that a rule is known to work with."""
    shapes = {plan.schedules.get(task.name, Schedule()) for task in plan.tasks} | {Schedule()}
    return [shape_setting(shape) for shape in sorted(shapes, key=astuple)]


def _control(plan: SearchPlan, history: History, winner: Program) -> _Known | None:
    """Return AdamW with constants from a search of the same budget, or the warm start with its own.

    Its name says whose constants they are if they are not the warm start's. A search over
    constants alone is its own control.
    """
    names = tuple(task.name for task in (*plan.tasks, *plan.held_out))
    places = (*names, _ALL)
    schedules = _schedules(plan)
    searched = f"search of {history.tally.proposals} programs"
    best = history.incumbent("constants")
    committed = shipped_control(plan.tasks)
    if plan.settings.strategy == "constants":
        return _Known(CONSTANTS, searched, fittable(winner, schedules), places)
    if committed is not None:
        adamw = fingerprint(round_constants(load_rule("adamw")))
        is_adamw = fingerprint(parse(plan.settings.start)) == adamw
        tuned = {}
        if committed["trials"] == plan.effort.trials:
            tuned = {n: trainee_from_json(committed["tuned"][n]) for n in names
                     if n in committed["tuned"]}  # fmt: skip
            tuned[_ALL] = trainee_from_json(committed["joint"])
        return _Known(
            CONSTANTS if is_adamw else f"AdamW, {CONSTANTS}",
            f"search of {committed['programs']} programs",
            fittable(parse(committed["program"]), schedules),
            places,
            tuned,
            committed["trials"],
        )
    if best is None:
        return None
    programs = min(history.tally.proposals, plan.settings.constants_programs or 10**12)
    searched = f"search of {programs} programs"
    return _Known(CONSTANTS, searched, fittable(parse(best.text), schedules), places)


def _control_note(plan: SearchPlan) -> str:
    committed = shipped_control(plan.tasks)
    if committed is None or plan.settings.strategy == "constants":
        return ""
    note = other_version(committed, plan.tasks)
    return f"{CONSTANTS}: {note}" if note else ""


def _rows(row: _Known, fresh: Mapping[str, Tuned], plan: SearchPlan) -> list[Contender]:
    """Return the row tuned for each task, and the row with one setting for all."""
    trainees = {**row.tuned, **{place: best.trainee for place, best in fresh.items()}}
    joint = trainees.pop(_ALL, None)
    trials = plan.effort.trials if fresh or row.trials is None else row.trials
    before = f"{row.searched}, " if row.searched else ""
    rows = [Contender(row.name, trainees, f"{before}{trials} a task")]
    if joint is not None:
        names = [task.name for task in (*plan.tasks, *plan.held_out)]
        for_all = dict.fromkeys(names, joint)
        rows.append(Contender(row.name + ONE_SETTING, for_all, f"{before}{trials} for all", True))
    return rows


def _words(plan: SearchPlan) -> list[str]:
    words = [
        f"Every row is tuned by {plan.effort.trials} trials a task on validation data: learning "
        "rate, decay, averages and the shape of the schedule (warm-up, power of the decay, final "
        "value); AdamW's bias correction and Muon's rate for what is no hidden matrix as well. "
        "Rows with one setting have as many trials for all proxy tasks together."
    ]
    if plan.held_out:
        words.append(
            "Held-out tasks took no part in the search. Rows tuned for each task are tuned there "
            f"too; those with one setting go there with the best of {len(rates(plan.effort))} "
            "learning rates."
        )
    return words
