"""How the programs of a phase are varied: mutations, random walks, the size of updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from optforge.evolution.genome import Genome, recall
from optforge.evolution.mutation import Mutator
from optforge.evolution.rescale import Yardstick, rescaled
from optforge.evolution.settings import Settings


class Variation:
    """Makes children of programs as their phase requires.

    Args:
        settings: Settings of the run.
        yardstick: Measures the sizes of updates; without it no child is rescaled.
    """

    def __init__(self, settings: Settings, yardstick: Yardstick | None = None) -> None:
        self.settings, self.yardstick = settings, yardstick
        self.mutator = Mutator(
            settings.insert,
            settings.delete,
            settings.modify,
            max_statements=settings.max_statements,
            max_state_bytes=settings.max_state_bytes,
            add_state=settings.add_state,
            functions=settings.functions,
            in_place=settings.in_place,
            on_matrices=settings.on_matrices,
        )
        self.constants = replace(self.mutator, constants_only=True)

    def child(
        self, parent: Genome, phase: str, random: Random, is_new: Callable[[str], bool]
    ) -> tuple[Genome, str]:
        """Mutate a program once, or several times in the random phase.

        Args:
            parent: The program to be mutated.
            phase: ``constants``, ``structure`` or ``random``.
            random: Random number generator; the only source of randomness.
            is_new: Returns whether a fingerprint has no verdict yet.

        Returns:
            The child, and a few words that describe the mutation.
        """
        mutator = self.constants if phase == "constants" else self.mutator
        if phase == "random":  # a walk of random length from the warm start, without selection
            for _ in range(int(random.random() * self.settings.max_statements)):
                parent, _ = mutator.draw(parent, random)
        child, mutation = mutator.draw(parent, random)
        resize = random.random() < self.settings.rescale and phase == "structure"
        if resize and is_new(child.fingerprint):
            return self._resized(parent, child, mutation)
        return child, mutation

    def _resized(self, parent: Genome, child: Genome, mutation: str) -> tuple[Genome, str]:
        """Set the child's learning rate so that its updates are as long as its parent's."""
        ratio = self.yardstick.ratio(parent, child) if self.yardstick else None
        program = None if ratio is None else rescaled(child.program, ratio)
        if program is None:
            return child, mutation
        return recall(program), f"{mutation}, rescaled {ratio:g}"
