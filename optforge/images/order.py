"""Which image every micro-batch sees: one endless stream of shuffled epochs, cut into pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch

Item = tuple[int, int]  # epoch and index of an image


def content_seed(*parts: object) -> int:
    """A seed that depends on these values alone, the same on every machine.

    Example:
        >>> content_seed(0, "order", 3) == content_seed(0, "order", 3)
        True
    """
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2


class Pieces:
    """The micro-batches of one process, as a batch sampler of a ``DataLoader``.

    Step s, piece k holds the images s * batch + k * piece to s * batch + (k + 1) * piece of the
    stream; process r computes the pieces r, r + world, ... So neither the number of processes
    nor a resumption changes what a step sees, as long as the number of pieces stays.

    Args:
        examples: Training images.
        piece: Images of a micro-batch.
        pieces: Micro-batches a step.
        steps: First and last step, the last one not included.
        rank: This process.
        world: Number of processes.
        seed: Of the order.

    Example:
        >>> one = list(Pieces(4, 2, 2, (0, 2), 0, 1, seed=0))
        >>> two = [list(Pieces(4, 2, 2, (0, 2), rank, 2, seed=0)) for rank in (0, 1)]
        >>> one == [two[0][0], two[1][0], two[0][1], two[1][1]]
        True
    """

    def __init__(
        self,
        examples: int,
        piece: int,
        pieces: int,
        steps: tuple[int, int],
        rank: int,
        world: int,
        seed: int,
    ) -> None:
        self.examples, self.piece, self.pieces = examples, piece, pieces
        self.steps, self.rank, self.world, self.seed = steps, rank, world, seed
        self._epoch, self._order = -1, torch.empty(0)

    def __len__(self) -> int:
        return (self.steps[1] - self.steps[0]) * (self.pieces // self.world)

    def __iter__(self) -> Iterator[list[Item]]:
        for step in range(*self.steps):
            for number in range(self.rank, self.pieces, self.world):
                start = (step * self.pieces + number) * self.piece
                yield [self._item(place) for place in range(start, start + self.piece)]

    def _item(self, place: int) -> Item:
        epoch, at = divmod(place, self.examples)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(content_seed(self.seed, "order", epoch))
            self._order = torch.randperm(self.examples, generator=generator)
            self._epoch = epoch
        return epoch, int(self._order[at])
