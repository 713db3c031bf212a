"""Drawing a batch of programs from the population."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from random import Random

from optforge.analysis import cost, fingerprint, numeric_fingerprint, probe_updates
from optforge.errors import SearchError
from optforge.evolution.history import History
from optforge.evolution.mutation import Mutator
from optforge.evolution.population import Genome, bear, recall
from optforge.evolution.rescale import Yardstick, rescaled
from optforge.evolution.settings import Settings
from optforge.language import Program, parse, round_constants
from optforge.runs import Proposal

_PROPOSALS = 16  # at most this many times the size of a batch, when nearly all is known
_CHECKED = 0.01  # share of cached programs whose numeric fingerprint is computed again


@dataclass(frozen=True)
class Draft:
    """A proposal before it has a verdict.

    Args:
        number: Its place in the run.
        program: The child.
        fingerprint: Its functional fingerprint.
        parent: Number of its parent, None for the start of a phase.
        mutation: What was done.
        phase: The phase that it belongs to.
        new: Whether its fingerprint has to be evaluated with this batch.
        mismatch: Whether its numbers differ from those of its known equal.
    """

    number: int
    program: Program
    fingerprint: str
    parent: int | None
    mutation: str
    phase: str
    new: bool
    mismatch: bool = False


class Proposer:
    """Draws batches; batch n from the history as it stands after batch n - lag.

    Args:
        settings: Of the run.
        history: Brought up to date by the loop before each batch.
        yardstick: Measures the sizes of updates; without one no child is rescaled.
    """

    def __init__(
        self, settings: Settings, history: History, yardstick: Yardstick | None = None
    ) -> None:
        self.settings, self.history, self.yardstick = settings, history, yardstick
        self.mutator = Mutator(
            settings.insert,
            settings.delete,
            settings.modify,
            max_statements=settings.max_statements,
            max_state_bytes=settings.max_state_bytes,
            add_state=settings.add_state,
            functions=settings.functions,
            in_place=settings.in_place,
        )
        self.constants = replace(self.mutator, constants_only=True)
        self.initial = round_constants(parse(settings.start))
        self.pending: dict[int, set[str]] = {}
        self.starts: dict[int, Draft] = {}
        self.drawn = 0

    def settle(self, batch: int) -> None:
        """Forget what was in flight with a batch; it is part of the history now."""
        self.pending.pop(batch, None)
        self.starts.pop(batch, None)

    def note(self, batch: int, drafts: list[Draft]) -> None:
        """Remember what is in flight with a batch."""
        self.pending[batch] = {draft.fingerprint for draft in drafts if draft.new}
        self.drawn += len(drafts)
        for draft in drafts:
            if draft.parent is None:
                self.starts[batch] = draft

    def note_stored(self, batch: int, proposals: list[Proposal]) -> None:
        """Remember a batch that was read from the journal as if it were in flight."""
        drafts = [
            Draft(
                p.number,
                parse(p.program) if p.parent is None else self.initial,
                p.fingerprint,
                p.parent,
                p.mutation,
                p.phase,
                not p.cached,
            )
            for p in proposals
        ]
        self.note(batch, drafts)

    @property
    def begun(self) -> Draft | None:
        """The start of a phase that is in flight: until it lands, the population is its copies."""
        return self.starts[max(self.starts)] if self.starts else None

    def batch(self, number: int) -> list[Draft]:
        """Draw proposals until the batch has its number of new fingerprints.

        Batch 0 is the warm start with what the settings suggest: what others are measured against.
        """
        random = Random(f"{self.settings.seed}|{number}")
        start = self._start(number)
        drafts = [] if start is None else [start]
        begun = start or self.begun
        new = {draft.fingerprint for draft in drafts if draft.new}
        if start is not None and number == 0:
            drafts += self._suggested(start, new)
        most = _PROPOSALS * self.settings.batch if number else 0
        new.update(draft.fingerprint for draft in drafts if draft.new)
        while len(new) < self.settings.batch and len(drafts) < most:
            draft = self._child(self.drawn + len(drafts), random, begun, new)
            drafts.append(draft)
            if draft.new:
                new.add(draft.fingerprint)
        self.note(number, drafts)
        return drafts

    def _suggested(self, start: Draft, new: set[str]) -> list[Draft]:
        """Propose what the settings suggest, each once."""
        drafts: list[Draft] = []
        for text in dict.fromkeys(self.settings.suggestions):
            program = round_constants(parse(text))
            value = fingerprint(program)
            fresh = self._is_new(value, new | {draft.fingerprint for draft in drafts})
            number = start.number + 1 + len(drafts)
            drafts.append(
                Draft(number, program, value, start.number, "suggested", start.phase, fresh)
            )
        return drafts

    def _child(self, number: int, random: Random, begun: Draft | None, new: set[str]) -> Draft:
        phase = begun.phase if begun else self.history.phase
        parent, parent_number = self._parent(random, begun, phase)
        mutator = self.constants if phase == "constants" else self.mutator
        if phase == "random":  # a walk of random length from the warm start, without selection
            for _ in range(int(random.random() * self.settings.max_statements)):
                parent = bear(parent, mutator.draw(parent.program, random, parent.kinds))
        drawn = mutator.draw(parent.program, random, parent.kinds)
        child, mutation = bear(parent, drawn), drawn.mutation
        resize = random.random() < self.settings.rescale and phase == "structure"
        if resize and self._is_new(child.fingerprint, new):
            child, mutation = self._resized(parent, child, mutation)
        value = child.fingerprint
        fresh = self._is_new(value, new)
        checked = not fresh and random.random() < _CHECKED
        mismatch = checked and self._differs(child)
        return Draft(number, child.program, value, parent_number, mutation, phase, fresh, mismatch)

    def _resized(self, parent: Genome, child: Genome, mutation: str) -> tuple[Genome, str]:
        """Give the child the learning rate at which its updates are as long as its parent's."""
        ratio = self.yardstick.ratio(parent, child) if self.yardstick else None
        program = None if ratio is None else rescaled(child.program, ratio)
        if program is None:
            return child, mutation
        return recall(program), f"{mutation}, rescaled {ratio:g}"

    def _parent(self, random: Random, begun: Draft | None, phase: str) -> tuple[Genome, int]:
        """Pick a parent: by tournament, or the start itself while that is all there is."""
        if begun is not None:
            return recall(begun.program), begun.number
        if phase == "random":
            return recall(self.initial), 0
        chosen = self.history.population.parent(self.settings.tournament, random)
        return chosen.genome, chosen.number

    def _is_new(self, value: str, new: set[str]) -> bool:
        if value in self.history.known or value in new:
            return False
        return not any(value in batch for batch in self.pending.values())

    def _differs(self, child: Genome) -> bool:
        known = self.history.known.get(child.fingerprint)
        if known is None or not known.numeric:
            return False
        return numeric_fingerprint(probe_updates(child.lean)) != known.numeric

    def _start(self, number: int) -> Draft | None:
        """Decide whether this batch begins a phase or a restart."""
        history, settings = self.history, self.settings
        if number == 0:
            return self._begin(self.initial, self._first_phase(), "start: given")
        if number == 1 and settings.suggestions and history.phase != "random":
            return self._begin(self._best(history.phase), history.phase, "start: best known")
        if self.starts or history.phase == "random":  # one is on its way, or nothing is selected
            return None
        if history.phase == "constants" and settings.strategy == "evolution":
            if history.phase_proposals < settings.constants_programs:
                return None
            return self._begin(self._best(history.phase), "structure", "start: best constants")
        stalled = history.phase_proposals - history.improved_at >= settings.restart_after
        if not stalled or settings.restart == "none":
            return None
        program = (
            self._best(history.phase) if settings.restart == "best" else parse(history.phase_start)
        )
        return self._begin(program, history.phase, f"restart: {settings.restart}")

    def _begin(self, program: Program, phase: str, mutation: str) -> Draft:
        value = fingerprint(program)
        fresh = self._is_new(value, set())
        return Draft(self.drawn, program, value, None, mutation, phase, fresh)

    def _first_phase(self) -> str:
        if self.settings.strategy == "random":
            return "random"
        if self.settings.strategy == "constants" or self.settings.constants_programs > 0:
            return "constants"
        return "structure"

    def _best(self, phase: str) -> Program:
        incumbent = self.history.incumbent(phase)
        return self.initial if incumbent is None else parse(incumbent.text)


def is_audited(settings: Settings, value: str) -> bool:
    """Tell whether a program runs to the end even if it is rejected; decided by its content."""
    digest = hashlib.sha256(f"audit|{settings.seed}|{value}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < settings.audit * 2**32


def has_constants(program: Program) -> bool:
    """Tell whether a search over constants alone can change a program at all."""
    return any(isinstance(a, float) and a for s in program.statements for a in s.arguments)


def check_start(program: Program, settings: Settings) -> None:
    """Refuse a warm start that the search could not hold.

    Raises:
        SearchError: Naming the limit and the mend.
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
