"""Simplification by training: remove what can go without harm, one comparison after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optforge.ablation.decision import (
    NEEDED,
    REMOVABLE,
    UNRESOLVED,
    Decision,
    DecisionRule,
    decide,
    plain_interval,
)
from optforge.ablation.events import ChangeAccepted, ExactStepsSkipped, RulesEvolved, Tell
from optforge.ablation.evolve import Evolved, evolve
from optforge.ablation.protection import Protection, allowed_changes, find_protected, follow
from optforge.ablation.removals import ProposedChange, Removals, size
from optforge.ablation.rounding import Roundings, fewest
from optforge.ablation.rule_trainer import RuleTrainer
from optforge.ablation.tuning import TunedProgram, tune
from optforge.analysis import live_program
from optforge.equality.derivation import EMPIRICAL, DerivationStep
from optforge.equality.exact import simplify_exact
from optforge.errors import SimplifyError, TimeIsUpError
from optforge.execution import Workers
from optforge.language import Program

MOST_COMPARISONS = 60
SETTLED = 5.0  # margins: what was worse by more gets no other try after other changes
ChangeSource = Removals | Roundings | Evolved


@dataclass(frozen=True)
class AcceptedChange:
    """A change that was accepted, for its figures on fresh seeds.

    Args:
        proposal: The change alone.
        before: The rule before it, tuned.
        after: The rule with this change alone, tuned in the same way.
        decision: Decision about the change alone.
    """

    proposal: ProposedChange
    before: Program
    after: Program
    decision: Decision


@dataclass(frozen=True)
class _Tried:
    """A proposed change, the tuned rule with it, and the decision about it."""

    proposal: ProposedChange
    form: TunedProgram
    decision: Decision


@dataclass
class Simplifier:
    """A simplification in progress.

    Args:
        trainer: Trains the rules.
        rule: How comparisons are decided.
        keep: Protected names.
        drop_unresolved: Whether to remove statements whose effect the tasks cannot resolve.
        say: Called with each event.
        programs: Number of proposals of an evolution that runs first; 0 for none.
        workers: Number of worker processes of that evolution.
        most_comparisons: Number of comparisons after which it ends.
    """

    trainer: RuleTrainer
    rule: DecisionRule
    keep: tuple[str, ...] = ()
    drop_unresolved: bool = False
    say: Tell = lambda message: None
    programs: int = 0
    workers: Workers = 0
    most_comparisons: int = MOST_COMPARISONS
    steps: list[DerivationStep] = field(default_factory=list)
    accepted: list[AcceptedChange] = field(default_factory=list)
    judged: dict[str, Decision] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    comparisons: int = 0
    ended: str = "nothing is left to remove"

    def run(self, program: Program) -> None:
        """Simplify a rule: exact form, tuned start, removals, then roundings."""
        self._take_exact(program)
        try:
            self._begin()
            if self.programs:
                self._evolve()
            self._remove()
            while self._round(rates=False):
                self.judged.clear()  # other constants, other needs
                self._remove()
            self._round(rates=True)
        except TimeIsUpError:
            self.ended = "the time was up"

    def _take_exact(self, program: Program) -> None:
        exact = simplify_exact(program, say=self.say)
        self.steps += exact.derivation.steps
        self.stops += exact.stops
        self.current = self.reference = self.given = exact.program
        self.protection = find_protected(self.keep, exact.program)

    def _begin(self) -> None:
        """Tune the given rule; later forms are compared with it."""
        (tuned,) = tune(
            self.trainer, [self.current], "tuning the rule as given", self.protection.rates
        )
        self.reference = self.given = tuned.program
        if tuned.program.text == live_program(self.current).text:
            return
        (decision,) = self._decided([self.current], "its own learning rate")
        figures = {**_turned(decision).figures(self.rule), "settings tried": tuned.trials}
        why = f"{_setting(tuned)}: the best on these tasks, as every later form gets its own"
        self.steps.append(
            DerivationStep(EMPIRICAL, self.current.text, tuned.program.text, why, figures)
        )
        self._move(tuned.program, self.protection)
        self._again()

    def _evolve(self) -> None:
        """Adopt the shortest evolved rule that is not worse on other seeds."""
        count, margin = self.programs, self.rule.margin
        protection = self.protection

        def allowed(program: Program) -> bool:
            return protection.settled(program) is not None

        source = evolve(self.trainer, self.reference, margin, count, self.workers, allowed)
        self.say(RulesEvolved(len(source.rules)))
        if self._compare(source):
            self._again()

    def _again(self) -> None:
        """Run the exact passes on the changed rule, unless they lose what is protected."""
        exact = simplify_exact(self.current)
        protection = self.protection.renamed(self.current, exact.program, exact.links)
        if protection is None:
            self.say(ExactStepsSkipped())
            return
        self.steps += exact.derivation.steps
        self.stops += exact.stops
        self.current, self.protection = exact.program, protection

    def _move(self, program: Program, protection: Protection) -> None:
        """Continue from another form, whose free constants re-tuning may have changed."""
        settled = protection.settled(program)
        if settled is None:
            raise SimplifyError(
                "a step lost what is to be kept, which no step may; please report the rule with "
                f"the names {', '.join(self.keep)}"
            )
        self.current, self.protection = program, settled

    def _remove(self) -> None:
        """Remove statements until none can be removed."""
        while self._compare(Removals(self.current)):
            self._again()

    def _round(self, rates: bool) -> bool:
        """Write constants with fewer digits."""
        if changed := self._compare(Roundings(self.current, rates), tuned=not rates):
            self._again()
        return changed

    def _compare(self, source: ChangeSource, tuned: bool = True) -> bool:
        """Decide about all candidates at once and make the harmless changes."""
        candidates = allowed_changes(source, source.candidates(), self.protection)
        candidates = [change for change in candidates if not self._is_settled(change)]
        if not candidates:
            return False
        if self.comparisons >= self.most_comparisons:
            self.ended = f"{self.comparisons} comparisons were made, and more are not"
            return False
        way = "round" if isinstance(source, Roundings) else "shorten"
        count = f"{len(candidates)} ways to {way}"
        forms = self._tuned([change.program for change in candidates], tuned, count)
        decisions = self._decided([form.program for form in forms], count)
        tried = [_Tried(*parts) for parts in zip(candidates, forms, decisions, strict=True)]
        self.judged |= {change.proposal.key: change.decision for change in tried}
        harmless = [change for change in tried if self._is_allowed(change.decision)]
        return self._make(_one_for_each(harmless, source), source, tuned)

    def _is_settled(self, change: ProposedChange) -> bool:
        """Return whether a change is too harmful to be tried again after other changes.

        A small loss may be due to a statement that has been removed since. For example, removing
        ``clip`` before an ``arcsin`` is worse, but makes no difference once the ``arcsin`` is gone.
        """
        known = self.judged.get(change.key)
        if known is None or known.failures:
            return False
        return known.outcome == NEEDED and known.effect.low > SETTLED * self.rule.margin

    def _is_allowed(self, decision: Decision) -> bool:
        unresolved = self.drop_unresolved and decision.outcome == UNRESOLVED
        return decision.outcome == REMOVABLE or unresolved

    def _make(self, chosen: Sequence[_Tried], source: ChangeSource, tuned: bool) -> bool:
        """Make as many of the harmless changes as are harmless together."""
        while len(chosen) > 1:
            proposals = [change.proposal for change in chosen]
            program = source.together(proposals)
            protection = follow(source, proposals, program, self.protection)
            if program is not None and protection is not None:
                what = f"{len(chosen)} changes together"
                (form,) = self._tuned([program], tuned, what)
                (decision,) = self._decided([form.program], what)
                if self._is_allowed(decision):
                    self._accept(chosen, form, decision, protection)
                    return True
            chosen = chosen[: len(chosen) // 2]
        for change in chosen:
            proposal = change.proposal
            protection = follow(source, [proposal], proposal.program, self.protection)
            assert protection is not None  # as it was proposed
            self._accept(chosen, change.form, change.decision, protection)
        return bool(chosen)

    def _accept(
        self,
        chosen: Sequence[_Tried],
        form: TunedProgram,
        decision: Decision,
        protection: Protection,
    ) -> None:
        why = "; ".join(change.proposal.change for change in chosen)
        effects = {change.proposal.change: change.decision.effect for change in chosen}
        figures: dict[str, Any] = {
            **decision.figures(self.rule),
            "settings tried": form.trials,
            "changes": {change: plain_interval(effect) for change, effect in effects.items()},
        }
        self.steps.append(
            DerivationStep(EMPIRICAL, self.current.text, form.program.text, why, figures)
        )
        self.accepted += [
            AcceptedChange(
                change.proposal, self._current_tuned, change.form.program, change.decision
            )
            for change in chosen
        ]
        self.say(ChangeAccepted(why, decision))
        self._move(form.program, protection)
        if decision.effect.high < 0:  # better: what comes later must not give it back
            self.reference = form.program

    def _tuned(self, programs: Sequence[Program], tuned: bool, what: str) -> list[TunedProgram]:
        """Re-tune reference and candidates in the same way, or leave all unchanged."""
        if not tuned:
            self._current_tuned = self.current
            return [TunedProgram(program, {}, 0, 0.0) for program in programs]
        rules = [self.reference, self.current, *programs]
        reference, current, *others = tune(
            self.trainer, rules, f"{what}: tuning", self.protection.rates
        )
        self.reference, self._current_tuned = reference.program, current.program
        return others

    def _decided(self, programs: Sequence[Program], what: str) -> list[Decision]:
        self.comparisons += 1
        return decide(self.trainer, self.reference, programs, self.rule, self.comparisons, what)


def _one_for_each(tried: Sequence[_Tried], source: ChangeSource) -> list[_Tried]:
    """Choose one change per statement: the best removal, or the fewest digits."""
    best_first = sorted(tried, key=lambda change: change.decision.effect.mean)
    if isinstance(source, Evolved):  # all are the whole rule; the shortest is wanted
        return sorted(tried, key=lambda change: size(change.proposal.program))[:1]
    if isinstance(source, Roundings):
        effects = [change.decision.effect.mean for change in tried]
        short = fewest([change.proposal for change in tried], effects)
        return [change for change in best_first if change.proposal in short]
    first: dict[str, _Tried] = {}
    for change in best_first:
        first.setdefault(change.proposal.statement, change)
    return list(first.values())


def _turned(decision: Decision) -> Decision:
    """Reverse a comparison: turn "before against after" into "after against before"."""
    tasks = {task: value.scaled(-1) for task, value in decision.tasks.items()}
    return replace(decision, effect=decision.effect.scaled(-1), tasks=tasks, outcome="re-tuned")


def _setting(tuned: TunedProgram) -> str:
    names = {"lr": "learning rate"}
    parts = [f"{names.get(n, n.replace('_', ' '))} {v:g}" for n, v in tuned.values.items()]
    return ", ".join(parts)
