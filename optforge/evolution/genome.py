"""A valid program with what is known of it; the last ones are remembered by their text."""

from __future__ import annotations

from dataclasses import dataclass

from optforge.analysis import Liveness, examine, lean_fingerprint, live_program
from optforge.language import Program, parse

_REMEMBERED = 20_000  # programs; parsing a text takes several times as long as mutating it
_genomes: dict[str, Genome] = {}


@dataclass(frozen=True)
class Genome:
    """A valid program with what is known of it.

    Args:
        program: With its dead statements, which mutations may bring to life.
        kinds: Of its states.
        lean: The program without what is dead.
        fingerprint: What it computes.
    """

    program: Program
    kinds: tuple[int, ...]
    lean: Program
    fingerprint: str


def recall(program: str | Program) -> Genome:
    """Return what is known of a program; it is parsed and examined if it was forgotten."""
    genome = _genomes.get(program if isinstance(program, str) else program.text)
    if genome is None:
        parsed = parse(program) if isinstance(program, str) else program
        kinds, live = examine(parsed)
        lean = live_program(parsed, live)
        genome = Genome(parsed, kinds, lean, lean_fingerprint(lean))
        _remember(genome)
    return genome


def bear(parent: Genome, child: Program, kinds: tuple[int, ...], live: Liveness) -> Genome:
    """Return what is known of a child that was just examined.

    Args:
        parent: Whose fingerprint the child has if their live statements are the same, as in most.
        child: A valid program.
        kinds: Of its states.
        live: What of it can matter.
    """
    lean, old = live_program(child, live), parent.lean
    same = (
        lean.statements == old.statements
        and lean.parameters == old.parameters
        and lean.outputs == old.outputs
    )
    genome = Genome(child, kinds, lean, parent.fingerprint if same else lean_fingerprint(lean))
    _remember(genome)
    return genome


def _remember(genome: Genome) -> None:
    if len(_genomes) >= _REMEMBERED:
        del _genomes[next(iter(_genomes))]  # the oldest
    _genomes[genome.program.text] = genome
