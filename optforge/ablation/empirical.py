"""Simplifying by training: what may leave without harm leaves, one comparison after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optforge.ablation.candidates import Candidate, Removals, size
from optforge.ablation.decision import NEEDED, REMOVABLE, UNRESOLVED, Rule, Verdict, decide, plain
from optforge.ablation.evolve import Evolved, evolve
from optforge.ablation.keeping import Kept, follow, protected, resolve
from optforge.ablation.rounding import Roundings, fewest
from optforge.ablation.rule_trainer import RuleTrainer
from optforge.ablation.tuning import Tuned, tune
from optforge.analysis import live_program
from optforge.equality.derivation import EMPIRICAL, DerivationStep
from optforge.equality.exact import Say, simplify_exact
from optforge.errors import SimplifyError, TimeIsUpError
from optforge.language import Program
from optforge.statistics import Interval

MOST_COMPARISONS = 60
SETTLED = 5.0  # margins: what was worse by more gets no other try after other changes
Way = Removals | Roundings | Evolved


@dataclass(frozen=True)
class Removal:
    """A change that was made, for the figures on fresh seeds.

    Args:
        candidate: The change alone.
        before: The rule before it, tuned.
        after: The rule with this change alone, tuned alike.
        verdict: Why it was made; of the change alone.
    """

    candidate: Candidate
    before: Program
    after: Program
    verdict: Verdict


@dataclass
class Work:
    """A derivation under way.

    Args:
        trainer: Where rules are trained.
        rule: How comparisons are decided.
        keep: Names that are protected.
        drop_unresolved: Whether what the tasks cannot resolve leaves.
        say: Told what is found.
        programs: Proposals of an evolution that comes first; 0 for none.
        workers: Processes of that evolution.
    """

    trainer: RuleTrainer
    rule: Rule
    keep: tuple[str, ...] = ()
    drop_unresolved: bool = False
    say: Say = lambda text: None
    programs: int = 0
    workers: int = 0
    steps: list[DerivationStep] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    judged: dict[str, Verdict] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    comparisons: int = 0
    ended: str = "nothing is left to remove"

    def run(self, program: Program) -> None:
        """Simplify a rule: exact form, tuned start, removals to the end, then roundings."""
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
        self.kept = resolve(self.keep, exact.program)

    def _begin(self) -> None:
        """Tune the rule as given; what comes after is compared with that."""
        (tuned,) = tune(self.trainer, [self.current], "tuning the rule as given", self.kept.rates)
        self.reference = self.given = tuned.program
        if tuned.program.text == live_program(self.current).text:
            return
        (verdict,) = self._decided([self.current], "its own learning rate")
        figures = {**_turned(verdict).figures(self.rule), "settings tried": tuned.trials}
        why = f"{_setting(tuned)}: the best on these tasks, as every later form gets its own"
        self.steps.append(
            DerivationStep(EMPIRICAL, self.current.text, tuned.program.text, why, figures)
        )
        self._move(tuned.program, self.kept)
        self._again()

    def _evolve(self) -> None:
        """Take the shortest rule that evolution finds and that is not worse on other seeds."""
        count, margin = self.programs, self.rule.margin
        kept = self.kept

        def allowed(program: Program) -> bool:
            return kept.settled(program) is not None

        way = evolve(self.trainer, self.reference, margin, count, self.workers, allowed)
        self.say(f"evolution found {len(way.found)} shorter rules that look as good")
        if self._compare(way):
            self._again()

    def _again(self) -> None:
        """Run the exact passes on what a change has left, unless they lose what is protected."""
        exact = simplify_exact(self.current)
        kept = self.kept.renamed(self.current, exact.program, exact.links)
        if kept is None:
            self.say("the exact steps would merge what is protected, so they are left out here")
            return
        self.steps += exact.derivation.steps
        self.stops += exact.stops
        self.current, self.kept = exact.program, kept

    def _move(self, program: Program, kept: Kept) -> None:
        """Go on from another form, whose free constants re-tuning may have changed."""
        found = kept.settled(program)
        if found is None:
            raise SimplifyError(
                "a step lost what is to be kept, which no step may; please report the rule with "
                f"the names {', '.join(self.keep)}"
            )
        self.current, self.kept = program, found

    def _remove(self) -> None:
        """Leave statements out until none can be."""
        while self._compare(Removals(self.current)):
            self._again()

    def _round(self, rates: bool) -> bool:
        """Write constants in fewer digits."""
        made = self._compare(Roundings(self.current, rates), tuned=not rates)
        if made:
            self._again()
        return made

    def _compare(self, way: Way, tuned: bool = True) -> bool:
        """Decide about all candidates at once and make the changes that do no harm."""
        candidates = protected(way, way.candidates(), self.kept)
        candidates = [one for one in candidates if not self._is_settled(one)]
        if not candidates:
            return False
        if self.comparisons >= MOST_COMPARISONS:
            self.ended = f"{self.comparisons} comparisons were made, and more are not"
            return False
        count = f"{len(candidates)} ways to {'round' if isinstance(way, Roundings) else 'shorten'}"
        forms = self._tuned([one.program for one in candidates], tuned, count)
        verdicts = self._decided([form.program for form in forms], count)
        for one, verdict in zip(candidates, verdicts, strict=True):
            self.judged[one.key] = verdict
        found = [
            (one, form, verdict)
            for one, form, verdict in zip(candidates, forms, verdicts, strict=True)
            if self._is_allowed(verdict)
        ]
        return self._make(found, way, tuned)

    def _is_settled(self, one: Candidate) -> bool:
        """Tell whether a change was so much worse that other changes will not have mended it.

        A little worse may be due to a statement that has left since: without ``clip`` an
        ``arcsin`` after it is worse, without ``arcsin`` it makes no difference.
        """
        known = self.judged.get(one.key)
        if known is None or known.failures:
            return False
        return known.outcome == NEEDED and known.effect.low > SETTLED * self.rule.margin

    def _is_allowed(self, verdict: Verdict) -> bool:
        unresolved = self.drop_unresolved and verdict.outcome == UNRESOLVED
        return verdict.outcome == REMOVABLE or unresolved

    def _make(
        self,
        found: Sequence[tuple[Candidate, Tuned, Verdict]],
        way: Way,
        tuned: bool,
    ) -> bool:
        """Make as many of the harmless changes together as are harmless together."""
        chosen = _one_each(found, way)
        while len(chosen) > 1:
            changes = [one for one, _, _ in chosen]
            program = way.together(changes)
            kept = follow(way, changes, program, self.kept)
            if program is not None and kept is not None:
                what = f"{len(chosen)} changes together"
                (form,) = self._tuned([program], tuned, what)
                (verdict,) = self._decided([form.program], what)
                if self._is_allowed(verdict):
                    self._accept(chosen, form, verdict, kept)
                    return True
            chosen = chosen[: len(chosen) // 2]
        for one, form, verdict in chosen:
            kept = follow(way, [one], one.program, self.kept)
            assert kept is not None  # as it was a candidate
            self._accept(chosen, form, verdict, kept)
        return bool(chosen)

    def _accept(
        self,
        chosen: Sequence[tuple[Candidate, Tuned, Verdict]],
        form: Tuned,
        verdict: Verdict,
        kept: Kept,
    ) -> None:
        why = "; ".join(one.change for one, _, _ in chosen)
        figures: dict[str, Any] = {
            **verdict.figures(self.rule),
            "settings tried": form.trials,
            "changes": {one.change: plain(v.effect) for one, _, v in chosen},
        }
        before = self.current
        self.steps.append(DerivationStep(EMPIRICAL, before.text, form.program.text, why, figures))
        self.removals += [
            Removal(one, self._current_tuned, alone.program, v) for one, alone, v in chosen
        ]
        self.say(f"{why}: {verdict.outcome}, {_interval(verdict)}")
        self._move(form.program, kept)
        if verdict.effect.high < 0:  # better: what comes later must not give it back
            self.reference = form.program

    def _tuned(self, programs: Sequence[Program], tuned: bool, what: str) -> list[Tuned]:
        """Re-tune reference and candidates alike, or leave all as they are."""
        if not tuned:
            self._current_tuned = self.current
            return [Tuned(program, {}, 0, 0.0) for program in programs]
        rules = [self.reference, self.current, *programs]
        reference, current, *others = tune(self.trainer, rules, f"{what}: tuning", self.kept.rates)
        self.reference, self._current_tuned = reference.program, current.program
        return others

    def _decided(self, programs: Sequence[Program], what: str) -> list[Verdict]:
        self.comparisons += 1
        return decide(self.trainer, self.reference, programs, self.rule, self.comparisons, what)


def _one_each(
    found: Sequence[tuple[Candidate, Tuned, Verdict]], way: Way
) -> list[tuple[Candidate, Tuned, Verdict]]:
    """Choose one change a statement: the best of removals, the fewest digits of roundings."""
    best_first = sorted(found, key=lambda item: item[2].effect.mean)
    if isinstance(way, Evolved):  # all are the whole rule; the shortest is wanted
        return sorted(found, key=lambda item: size(item[0].program))[:1]
    if isinstance(way, Roundings):
        short = fewest([one for one, _, _ in found], [v.effect.mean for _, _, v in found])
        return [item for item in best_first if item[0] in short]
    seen: set[str] = set()
    chosen = []
    for item in best_first:
        if item[0].statement not in seen:
            seen.add(item[0].statement)
            chosen.append(item)
    return chosen


def _turned(verdict: Verdict) -> Verdict:
    """Take a comparison of the form before with the one after as one of after with before."""
    tasks = {task: _negated(value) for task, value in verdict.tasks.items()}
    return replace(verdict, effect=_negated(verdict.effect), tasks=tasks, outcome="re-tuned")


def _negated(value: Interval) -> Interval:
    return replace(value, mean=-value.mean, low=-value.high, high=-value.low)


def _setting(tuned: Tuned) -> str:
    names = {"lr": "learning rate"}
    parts = [f"{names.get(n, n.replace('_', ' '))} {v:g}" for n, v in tuned.values.items()]
    return ", ".join(parts)


def _interval(verdict: Verdict) -> str:
    value = verdict.effect
    return f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"
