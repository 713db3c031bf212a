"""A valid program with its analysis; the most recent ones are cached by their text."""

from __future__ import annotations

from dataclasses import dataclass

from optforge.analysis import Liveness, examine, lean_fingerprint, live_program
from optforge.language import Program, parse

_REMEMBERED = 20_000  # programs; parsing a text takes several times as long as mutating it
_genomes: dict[str, Genome] = {}


@dataclass(frozen=True)
class Genome:
    """A valid program with its analysis.

    Args:
        program: The program with its dead statements, which mutations may bring to life.
        kinds: Kinds of its states.
        lean: The program without dead statements.
        fingerprint: Fingerprint of what it computes.
    """

    program: Program
    kinds: tuple[int, ...]
    lean: Program
    fingerprint: str


def recall(program: str | Program) -> Genome:
    """Return a program's genome from the cache, or parse and analyze the program."""
    genome = _genomes.get(program if isinstance(program, str) else program.text)
    if genome is None:
        parsed = parse(program) if isinstance(program, str) else program
        kinds, live = examine(parsed)
        lean = live_program(parsed, live)
        genome = Genome(parsed, kinds, lean, lean_fingerprint(lean))
        _remember(genome)
    return genome


def bear(parent: Genome, child: Program, kinds: tuple[int, ...], live: Liveness) -> Genome:
    """Return the genome of a child that has just been checked.

    Args:
        parent: The parent's genome. If both have the same live statements, as most do, the child
            takes its fingerprint from here.
        child: A valid program.
        kinds: Kinds of its states.
        live: Its live statements and states.
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
