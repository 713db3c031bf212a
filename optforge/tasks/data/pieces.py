"""Text as windows of pieces of words, a vocabulary learnt from the training part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from optforge.errors import TaskError
from optforge.tasks.data.cache import Arrays, cached, require
from optforge.tasks.data.characters import PARTS, draw_windows
from optforge.tasks.data.python_source import provenance, source_texts
from optforge.tasks.data.shakespeare import SHA256, play_texts

Texts = dict[str, list[str]]  # of each split
END = "<end>"  # of a line or a text
_CHARACTERS = 12  # of text for each piece that is wanted, from which windows are drawn
# By name: where the texts of each split come from, and what they depend on.
CORPORA: Mapping[str, tuple[Callable[[], Texts], Callable[[], dict[str, str]]]] = {
    "python": (source_texts, provenance),
    "shakespeare": (play_texts, lambda: {"archive": SHA256}),
}


def piece_windows(corpus: str, sequences: Sequence[int], length: int, vocabulary: int) -> Arrays:
    """Return random windows of a corpus as pieces of words, each in one split only.

    Args:
        corpus: ``python`` (the standard library on this machine, split by file) or ``shakespeare``
            (split by work).
        sequences: Number of windows for training, validation and test.
        length: Pieces that a model sees; a window has one more, the last target.
        vocabulary: Number of different pieces.

    Returns:
        For each part uint16 ``[windows, length + 1]``.

    Raises:
        TaskError: If there is no such corpus, the package ``tokenizers`` or the text is missing, or
            there is too little of it.
    """
    key, texts = pieces_key(corpus, sequences, length, vocabulary), CORPORA[corpus][0]
    sizes: dict[str, int] = dict(zip(PARTS, sequences, strict=True))
    return cached("pieces", key, lambda: _build(texts(), sizes, length, vocabulary))


def pieces_key(
    corpus: str, sequences: Sequence[int], length: int, vocabulary: int
) -> dict[str, object]:
    """Return what the pieces of a corpus depend on.

    Raises:
        TaskError: If there is no such corpus, or the package ``tokenizers`` is missing.
    """
    if corpus not in CORPORA:
        raise TaskError(f"unknown corpus {corpus!r}; there are: {', '.join(CORPORA)}")
    return {
        "version": 1, "corpus": corpus, "sequences": list(sequences), "length": length,
        "vocabulary": vocabulary, **CORPORA[corpus][1](),
        "tokenizers": require("tokenizers", "tokenizers", "language").__version__,
    }  # fmt: skip


def corpus_tokenizer(corpus: str, sequences: Sequence[int], length: int, vocabulary: int) -> Any:
    """Return the tokenizer that :func:`piece_windows` cuts a corpus with, for the same sizes."""
    texts = CORPORA[corpus][0]()
    return learn_pieces(_some(texts[PARTS[0]], _CHARACTERS * sequences[0] * length), vocabulary)


def _build(
    texts: Mapping[str, Sequence[str]], sizes: Mapping[str, int], length: int, vocabulary: int
) -> Arrays:
    some = {part: _some(texts[part], _CHARACTERS * size * length) for part, size in sizes.items()}
    tokenizer, taken = learn_pieces(some[PARTS[0]], vocabulary), set[tuple[int, ...]]()
    arrays: Arrays = {}
    for part, size in sizes.items():
        tokens = [tuple(encoded.ids) for encoded in tokenizer.encode_batch(some[part])]
        arrays[part] = np.array(draw_windows(tokens, size, length + 1, taken), np.uint16)
    return arrays


def _some(texts: Sequence[str], characters: int) -> list[str]:
    """Return texts in random order, until they have enough characters."""
    order = np.random.default_rng(0).permutation(len(texts))
    chosen: list[str] = []
    for number in order:
        if sum(map(len, chosen)) >= characters:
            break
        chosen.append(texts[int(number)])
    return chosen


def learn_pieces(texts: Iterable[str], vocabulary: int) -> Any:
    """Learn a vocabulary of byte-level pieces (BPE), which any text can be written in.

    Args:
        texts: Texts or lines.
        vocabulary: Number of pieces, one of them :data:`END`.

    Returns:
        A tokenizer of the package ``tokenizers``.

    Example:
        >>> tokenizer = learn_pieces(["to be or not to be"] * 3, 260)
        >>> tokenizer.decode(tokenizer.encode("not to be").ids).strip()
        'not to be'

    Source: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, 2016;
    Radford et al., Language Models are Unsupervised Multitask Learners, 2019, for the bytes.
    """
    package = require("tokenizers", "tokenizers", "language")
    tokenizer = package.Tokenizer(package.models.BPE())
    tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel()
    tokenizer.decoder = package.decoders.ByteLevel()
    trainer = package.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=package.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
