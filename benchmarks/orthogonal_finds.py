"""When did searches find an orthogonalised update, and what did they find after it?

    python benchmarks/orthogonal_finds.py RUN...

An update counts as orthogonalised if its condition number is below 3 on random matrices of 24 by
48, in the median over ten steps and matrices, decay left out. Printed is for each run the first
such program that led its phase: after how many programs and worker-minutes of training; then when
a leader measured again, on fresh seeds, first had 7 % less loss than tuned AdamW; then all that led
the search after it, with what each changed of its parent and its fitness in the search.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch

from optforge.analysis import live_program, state_kinds
from optforge.language import Interpreter, Program, layout_of, parse
from optforge.runs import Journal, Proposal, Verdict

BOUND = 3.0
AHEAD = 0.07  # share of the loss of tuned AdamW
_SHAPE, _STEPS, _MATRICES = (24, 48), 10, 5


@dataclass(frozen=True)
class Line:
    """A run, read once.

    Args:
        proposals: By number.
        verdicts: By id.
        minutes: For each proposal the worker-minutes of training until its batch was judged.
        ahead: The first proposal after the batch with which a leader was measured again and had
            7 % less loss than tuned AdamW; None if none had.
    """

    proposals: dict[int, Proposal]
    verdicts: dict[int, Verdict]
    minutes: dict[int, float]
    ahead: int | None

    @classmethod
    def read(cls, run: Path) -> Line:
        """Read a journal in the order in which the search went."""
        with Journal.open(run / "journal.sqlite", write=False) as journal:
            verdicts = {verdict.id: verdict for verdict in journal.verdicts()}
            proposals = {proposal.number: proposal for proposal in journal.proposals()}
            again = [event for event in journal.events() if event.kind == "rescore"]
        spent, minutes = 0.0, {}
        for number, proposal in sorted(proposals.items()):
            if not proposal.cached and proposal.verdict in verdicts:
                spent += verdicts[proposal.verdict].seconds / 60
            minutes[number] = spent
        bound = math.log(1 - AHEAD)
        batch = next((e.batch for e in again if e.detail["fitness"] <= bound), math.inf)
        ahead = max((n for n, p in proposals.items() if p.batch <= batch < math.inf), default=None)
        return cls(proposals, verdicts, minutes, ahead)

    def fitness(self, proposal: Proposal) -> float:
        """In the search; infinite for what was rejected."""
        verdict = self.verdicts.get(proposal.verdict or 0)
        return math.inf if verdict is None else verdict.fitness


def condition(program: Program) -> float:
    """Median condition number of the updates of matrices, without decay."""
    layout = layout_of([_SHAPE] * _MATRICES)
    lean = live_program(program)
    rule = Interpreter(lean, state_kinds(lean), layout, torch.float64)
    states, found = rule.initial_states(1), []
    generator = torch.Generator().manual_seed(0)
    weights = torch.zeros(1, layout.elements, dtype=torch.float64)
    scalars = rule.schedule([1.0] * _STEPS)
    for step in range(_STEPS):
        gradient = 0.03 * torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        update, states = rule.step(weights, gradient, states, scalars[step])
        if not bool(torch.isfinite(update).all()):
            return math.inf
        values = torch.linalg.svdvals(update.reshape(_MATRICES, *_SHAPE))
        found += (values[:, 0] / values[:, -1].clamp(min=1e-300)).tolist()
    return float(numpy.median(found))


def first_lead(line: Line) -> Proposal | None:
    """Return the first program that led the structural phase with an orthogonalised update."""
    best = math.inf
    for _, proposal in sorted(line.proposals.items()):
        value = line.fitness(proposal)
        if proposal.phase != "structure" or value >= best:
            continue
        best = value
        if "orthogonalize" in proposal.program and condition(parse(proposal.program)) < BOUND:
            return proposal
    return None


def leaders_after(line: Line, first: Proposal) -> list[Proposal]:
    """Return all that led the search from a program on."""
    best, found = math.inf, []
    for number, proposal in sorted(line.proposals.items()):
        value = line.fitness(proposal)
        if number >= first.number and value < best:
            best = value
            found.append(proposal)
    return found


def show(run: Path) -> bool:
    """Print one run; whether it found an orthogonalised update."""
    line = Line.read(run)
    first = first_lead(line)
    if first is None:
        print(f"{run.name}: none in {len(line.proposals)} programs")
        return False
    minutes = line.minutes[first.number]
    print(f"{run.name}: after {first.number} programs, {minutes:.1f} worker-minutes of training")
    if line.ahead is not None:
        minutes = line.minutes[line.ahead]
        print(
            f"  {100 * AHEAD:.0f} % ahead on fresh seeds after {line.ahead} programs, "
            f"{minutes:.1f} worker-minutes"
        )
    for proposal in leaders_after(line, first):
        parent = line.proposals.get(proposal.parent if proposal.parent is not None else -1)
        before = math.nan if parent is None else line.fitness(parent)
        print(
            f"  {proposal.number:>6}  {line.fitness(proposal):+.4f}  from {before:+.4f}  "
            f"{_change(parent, proposal)}"
        )
    return True


def _change(parent: Proposal | None, child: Proposal) -> str:
    """Say which live lines came and went."""
    if parent is None:
        return child.mutation
    before, after = (live_program(parse(p.program)).text.splitlines() for p in (parent, child))
    gone = [text.strip() for text in before if text not in after]
    new = [text.strip() for text in after if text not in before]
    return f"{child.mutation}: - {'; '.join(gone) or 'nothing'} + {'; '.join(new) or 'nothing'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    arguments = parser.parse_args()
    found = [show(run) for run in arguments.runs]
    print(f"{sum(found)} of {len(found)} runs found an orthogonalised update")


if __name__ == "__main__":
    main()
