"""Text files as sequences of pieces of words, a vocabulary learnt from the training part."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from optforge.errors import TaskError
from optforge.tasks.data.cache import Arrays, cached, require
from optforge.tasks.data.characters import PARTS
from optforge.tasks.data.pieces import END, learn_pieces
from optforge.tasks.paper.folder import data_folder
from optforge.tasks.splits import Data, Split

_LEARN_FROM = 200_000  # lines for the vocabulary
_AT_ONCE = 10_000  # lines


def sentences(folder: str, sequences: Sequence[int], length: int, vocabulary: int) -> Data:
    """Return next-token prediction on the lines of all files below a folder.

    Of a hundred lines, drawn by their content, 98 are for training, one for validation and one
    for test. The lines of a part are joined, with a mark at their ends, and cut.

    Args:
        folder: The folder, below that of all data.
        sequences: The largest number of sequences of each part.
        length: Tokens of a sequence.
        vocabulary: Number of different tokens.

    Returns:
        Inputs and targets int64 ``[N, length]``; the targets are the inputs one token later.

    Raises:
        TaskError: If the folder is not there, or a part has no whole sequence.
    """
    root = data_folder(folder, "text files with a sentence a line")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    listing = "\n".join(f"{path.relative_to(root)} {path.stat().st_size}" for path in files)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    version = require("tokenizers", "tokenizers", "language").__version__
    key = {
        "version": 1, "files": digest, "sequences": list(sequences), "length": length,
        "vocabulary": vocabulary, "tokenizers": version,
    }  # fmt: skip
    sizes: dict[str, int] = dict(zip(PARTS, sequences, strict=True))
    arrays = cached("sentences", key, lambda: _build(files, sizes, length, vocabulary))
    for part in PARTS:
        if not len(arrays[part]):
            raise TaskError(
                f"{root} holds too little text: no sequence of {length} tokens for the {part} split"
            )
    rows = (torch.from_numpy(arrays[part].astype(np.int64)) for part in PARTS)
    return Data(*(Split(row[:, :-1].contiguous(), row[:, 1:].contiguous()) for row in rows))


def _build(files: Sequence[Path], sizes: Mapping[str, int], length: int, vocabulary: int) -> Arrays:
    tokenizer = learn_pieces(itertools.islice(_lines(files, "train"), _LEARN_FROM), vocabulary)
    return {
        part: _windows(tokenizer, _lines(files, part), size, length + 1)
        for part, size in sizes.items()
    }


def _lines(files: Sequence[Path], part: str) -> Iterator[str]:
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as stream:
            yield from (line for text in stream if (line := text.strip()) and _part(line) == part)


def _part(line: str) -> str:
    draw = int.from_bytes(hashlib.sha256(line.encode()).digest()[:4], "big") % 100
    return PARTS[0] if draw < 98 else PARTS[draw - 97]


def _windows(tokenizer: Any, lines: Iterator[str], size: int, length: int) -> np.ndarray:
    """Return the first windows of a part, uint16 ``[windows, length]``."""
    end, pieces, total = tokenizer.token_to_id(END), [], 0
    while total < size * length and (some := list(itertools.islice(lines, _AT_ONCE))):
        ids = [number for x in tokenizer.encode_batch(some) for number in (*x.ids, end)]
        pieces.append(np.array(ids, np.uint16))
        total += len(ids)
    tokens = np.concatenate(pieces) if pieces else np.zeros(0, np.uint16)
    count = min(size, len(tokens) // length)
    return tokens[: count * length].reshape(count, length)
