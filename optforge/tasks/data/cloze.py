"""Cloze questions: which of four words ends a passage of a held-out text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optforge.errors import TaskError
from optforge.tasks.data.cache import Arrays, cached
from optforge.tasks.data.characters import PARTS
from optforge.tasks.data.pieces import CORPORA, corpus_tokenizer, pieces_key

CHOICES = 4
_QUESTIONS = 500
_LONGEST = 4  # pieces of a word
_SOME = 100  # words of a kind, among which there must be enough different ones
_WORD = re.compile(r"(?<!\w)[A-Za-z]{4,}(?!\w)")


@dataclass(frozen=True)
class _Ending:
    """A word that ends a window, as pieces; its kind is their number, and if a space is in them."""

    window: tuple[int, ...]
    word: tuple[int, ...]
    kind: tuple[int, bool]


def cloze_questions(
    corpus: str,
    sequences: Sequence[int],
    length: int,
    vocabulary: int,
    questions: int = _QUESTIONS,
) -> tuple[np.ndarray, np.ndarray]:
    """Return passages of the test that end with one of four words.

    The three wrong words end other passages and have as many pieces, so that common words are as
    common among them.

    Args:
        corpus: As :func:`~optforge.tasks.data.pieces.piece_windows`.
        sequences: As there; they decide which text the pieces are learnt from.
        length: Pieces that a model sees; a window has one more.
        vocabulary: Number of different pieces.
        questions: Number of passages.

    Returns:
        Windows uint16 ``[questions, 4, length + 1]``, the right one first, and the number of pieces
        of the last word, int64 ``[questions]``.

    Raises:
        TaskError: If the package ``tokenizers`` or the text is missing, or there is too little.

    Source: Paperno et al., LAMBADA, 2016, for the last word; Brown et al., 2020, section 2.4, for
    choices that are compared by their likelihood.
    """
    key = {"cloze": 1, **pieces_key(corpus, sequences, length, vocabulary)}
    key |= {"questions": questions, "choices": CHOICES, "word": _WORD.pattern}

    def build() -> Arrays:
        tokenizer = corpus_tokenizer(corpus, sequences, length, vocabulary)
        return _build(CORPORA[corpus][0]()[PARTS[2]], tokenizer, length, questions)

    arrays = cached("cloze", key, build)
    return arrays["windows"], arrays["pieces"]


def _build(texts: Sequence[str], tokenizer: Any, length: int, questions: int) -> Arrays:
    generator = np.random.default_rng(0)
    endings = [ending for text in texts for ending in _endings(text, tokenizer, length)]
    words = defaultdict[tuple[int, bool], list[tuple[int, ...]]](list)
    for ending in endings:
        words[ending.kind].append(ending.word)
    usable = [ending for ending in endings if len(set(words[ending.kind][:_SOME])) >= CHOICES]
    if len(usable) < questions:
        raise TaskError(
            f"the test text yields {len(usable)} passages of {length} pieces that end with a "
            f"word, {questions} are needed; make the sequences shorter"
        )
    windows, pieces = [], []
    for number in generator.permutation(len(usable))[:questions].tolist():
        ending = usable[number]
        chosen = _choices(ending.word, words[ending.kind], generator)
        passage = ending.window[: -len(ending.word)]
        windows.append([passage + word for word in chosen])
        pieces.append(len(ending.word))
    return {"windows": np.array(windows, np.uint16), "pieces": np.array(pieces, np.int64)}


def _endings(text: str, tokenizer: Any, length: int) -> list[_Ending]:
    """Return the words of a text before which there are enough pieces for a window."""
    encoded = tokenizer.encode(text)
    ids, offsets = encoded.ids, encoded.offsets
    first = {start: number for number, (start, _) in enumerate(offsets)}
    after = {end: number + 1 for number, (_, end) in enumerate(offsets)}
    endings = []
    for match in _WORD.finditer(text):
        is_spaced = match.start() not in first  # a space and the word begin with one piece
        start, end = first.get(match.start() - is_spaced), after.get(match.end())
        if start is None or end is None or end <= length or end - start > _LONGEST:
            continue
        window = tuple(ids[end - length - 1 : end])
        word = tuple(ids[start:end])
        endings.append(_Ending(window, word, (end - start, is_spaced)))
    return endings


def _choices(
    right: tuple[int, ...], words: Sequence[tuple[int, ...]], generator: np.random.Generator
) -> list[tuple[int, ...]]:
    """Return the right word and three others, drawn as often as they end passages."""
    chosen = {right: None}
    while len(chosen) < CHOICES:
        chosen[words[int(generator.integers(len(words)))]] = None
    return list(chosen)
