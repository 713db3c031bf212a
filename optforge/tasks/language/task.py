"""A language task: a corpus in pieces of words, and one of transformers' models."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks.attributes import set_attributes
from optforge.tasks.data.characters import PARTS
from optforge.tasks.data.cloze import cloze_questions
from optforge.tasks.data.pieces import piece_windows
from optforge.tasks.language.cloze import cloze_error
from optforge.tasks.language.masks import IGNORED, corrupt_spans, mask_pieces, span_sizes
from optforge.tasks.language.models import ARCHITECTURES, LanguageShape, build
from optforge.tasks.splits import Data, Split
from optforge.tasks.task import Task


class LanguageTask(Task):
    """Predict pieces of words: the next one, or those that are masked.

    A ``gpt2`` sees all pieces before the one that it predicts. A ``bert`` sees the whole sequence,
    where a share of the pieces is asked for: 80 % of these are masked, 10 % are any piece, 10 % are
    as they were. Of a ``t5``, spans with that share of the pieces are replaced by a mark each, and
    asked for one after another. In training, each batch draws them anew.

    Attributes:
        corpus: ``python`` (the standard library, split by file) or ``shakespeare`` (by work).
        architecture: ``gpt2``, ``bert`` or ``t5``, without dropout.
        vocabulary: Number of different pieces, learnt from the training part.
        length: Pieces of a sequence.
        width: Features of a piece.
        layers: Number of blocks.
        heads: Attention heads of each, a divisor of the width.
        sequences: Number of sequences for training, validation and test.
        masked_share: Share of the pieces that a ``bert`` or a ``t5`` is asked for.

    Args:
        name: The task's name, which decides the seeds; the class's name by default.
        changes: Values of attributes.

    Raises:
        TaskError: If there is no such attribute, or its value is not allowed.

    Example:
        >>> task = LanguageTask("mine", corpus="shakespeare", steps=50)
        >>> task.name, task.steps, task.architecture
        ('mine', 50, 'gpt2')

    Source: Radford et al., 2019 (GPT-2); Devlin et al., BERT, 2019, section 3.1, for the masks;
    Raffel et al., T5, 2020, section 3.1.4, for the spans.
    """

    steps = 400
    batch_size = 32
    evaluation_period = 20
    corpus: str = "python"
    architecture: str = "gpt2"
    vocabulary: int = 1024
    length: int = 64
    width: int = 64
    layers: int = 2
    heads: int = 2
    sequences: tuple[int, int, int] = (8192, 256, 256)
    masked_share: float = 0.15

    def __init__(self, name: str = "", **changes: Any) -> None:
        set_attributes(self, "a language task", name, changes)
        if self.architecture not in ARCHITECTURES:
            raise TaskError(
                f"architecture of task {self.name!r} is {self.architecture!r}; "
                f"allowed are {', '.join(ARCHITECTURES)}"
            )
        if not 0 < self.masked_share <= 1:
            raise TaskError(
                f"masked_share of task {self.name!r} is {self.masked_share}; it is a share of the "
                "pieces, above 0 and at most 1"
            )

    @property
    def is_masked(self) -> bool:
        """Whether pieces are masked, and not the next one predicted."""
        return self.architecture != "gpt2"

    def data(self) -> Data:
        """Return inputs and targets int64 [N, length]; of others than ``gpt2`` fixed masks."""
        windows = piece_windows(self.corpus, self.sequences, self.length, self.vocabulary)
        parts = [torch.from_numpy(windows[part].astype(np.int64)) for part in PARTS]
        if not self.is_masked:
            return Data(*(Split(x[:, :-1].contiguous(), x[:, 1:].contiguous()) for x in parts))
        train, *others = (x[:, :-1].contiguous() for x in parts)
        generator = torch.Generator().manual_seed(0)
        masked = (Split(*self._masked(pieces, generator)) for pieces in others)
        return Data(self._unmasked(train), *masked)

    def _unmasked(self, pieces: Tensor) -> Split:
        """Return training sequences as a batch has them before it is masked."""
        if self.architecture == "bert":
            return Split(pieces, pieces)
        _, left, asked = span_sizes(self.length, self.masked_share)
        room = pieces.new_zeros(len(pieces), left + asked - self.length)
        return Split(torch.cat([pieces, room], 1), pieces[:, :asked].contiguous())

    def _masked(self, pieces: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return inputs and targets; those of a ``t5``'s decoder are its targets, a step later."""
        if self.architecture == "bert":
            return mask_pieces(pieces, self.vocabulary, self.masked_share, generator)
        left, asked = corrupt_spans(pieces, self.vocabulary, self.masked_share, generator)
        return torch.cat([left, torch.zeros_like(asked[:, :1]), asked[:, :-1]], 1), asked

    def model(self) -> nn.Module:
        """Return the architecture with random weights: tokens to logits [B, length, pieces]."""
        vocabulary, length = self.vocabulary, self.length
        if self.architecture == "t5":
            spans, length, _ = span_sizes(length, self.masked_share)
            vocabulary += spans + 1
        sizes = (vocabulary, length, self.width, self.layers, self.heads)
        return build(self.architecture, LanguageShape(*sizes))

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mask pieces of each sequence, or spans for a ``t5``; nothing changes for a ``gpt2``."""
        if not self.is_masked:
            return inputs, targets
        pieces = targets if self.architecture == "bert" else inputs[:, : self.length]
        return self._masked(pieces, generator)

    def scores(self, model: nn.Module, seed: int) -> dict[str, float]:
        """Return the error of cloze questions from held-out texts; of a ``gpt2`` alone."""
        if self.architecture != "gpt2":
            return {}
        questions = cloze_questions(self.corpus, self.sequences, self.length, self.vocabulary)
        windows, pieces = (torch.from_numpy(part.astype(np.int64)) for part in questions)
        return {"cloze_error": cloze_error(model, windows, pieces)}

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the share of the asked pieces that are predicted."""
        asked = targets != IGNORED
        right = (output.argmax(-1) == targets) & asked
        return right.sum().to(output.dtype) / asked.sum()
