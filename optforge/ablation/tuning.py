"""Re-tuning before a comparison: learning rate and decay, in the same way for every rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy

from optforge.ablation.rule_trainer import FAILED, RuleTrainer
from optforge.analysis.hyperparameters import Lifted, lift
from optforge.language import Program
from optforge.tuning import FINAL, Ladder, Setting, Space, Study, lowest
from optforge.tuning import tune as tune_studies

SEEDS, FINAL_SEEDS = 1, 3
TOLERANCE = 0.01  # a setting is left only for one that is better by more, in log loss
_PURPOSE = "tune"
LR, DECAY = "lr", "weight_decay"  # a second decay begins with the name too


@dataclass(frozen=True)
class TunedProgram:
    """A rule with its best learning rate and decay.

    Args:
        program: The rule with these values.
        values: Learning rate and decays, by name.
        trials: Number of settings that were tried.
        loss: Mean log loss on the tuning seeds, biased in favor of the chosen setting.
    """

    program: Program
    values: Mapping[str, float]
    trials: int
    loss: float


def tune(
    trainer: RuleTrainer, programs: Sequence[Program], what: str, keep: Iterable[str] = ()
) -> list[TunedProgram]:
    """Return every rule with its best learning rate and decay, each found by the same procedure.

    The steps are those of :class:`optforge.tuning.Ladder`. A rule keeps its setting unless another
    one is better by more than :data:`TOLERANCE`: the best of many on few seeds is partly luck.

    Args:
        trainer: Trains the rules, on seeds that are used for no other decision.
        programs: The rules, the reference first.
        what: Description of the work, for the display.
        keep: Names of hyper-parameters that stay unchanged in all rules: ``lr``, or the name of any
            decay for all decays.
    """
    fixed = frozenset(DECAY if name.startswith(DECAY) else name for name in keep)
    rules = [lift(program) for program in programs]
    studies = [Study[float]("", Space(()), (_given(rule),)) for rule in rules]

    def train(asked: Sequence[Sequence[Setting]], number: int) -> list[list[tuple[float]]]:
        variants = [
            rule.with_values(dict(setting))
            for rule, settings in zip(rules, asked, strict=True)
            for setting in settings
        ]
        count = FINAL_SEEDS if number == FINAL else SEEDS
        logs = trainer.measure(variants, _PURPOSE, 0, count, what)
        means = iter(numpy.where(numpy.isfinite(logs), logs, FAILED).mean((1, 2)).tolist())
        return [[(next(means),) for _ in settings] for settings in asked]

    tune_studies(studies, Ladder(fixed), train)
    return [_chosen(rule, study) for rule, study in zip(rules, studies, strict=True)]


def _given(rule: Lifted) -> Setting:
    decays = [name for name in rule.values if name.startswith(DECAY)]
    return tuple((name, rule.values[name]) for name in (LR, *decays))


def _chosen(rule: Lifted, study: Study[float]) -> TunedProgram:
    last = study.finalists or study.trials
    losses = {trial.setting: trial.outcomes[0] for trial in last}
    best, initial = lowest(last).setting, study.known[0]
    if losses[initial] <= losses[best] + TOLERANCE:
        best = initial
    trials = len({trial.setting for trial in study.trials}) + len(study.finalists)
    return TunedProgram(rule.with_values(dict(best)), dict(best), trials, losses[best])
