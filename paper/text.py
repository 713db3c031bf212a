"""Text as tokens on disk: a vocabulary learnt from it, and one file of numbers for each part.

    python -m paper.text FOLDER --out TOKENS --vocabulary 32000
    python -m paper.text hub:NAME --out TOKENS

FOLDER holds text files in `train` and `validation`, or anywhere: then one file in ten, drawn by its
name, is for validation. It may hold Parquet files with a column `text` as well, a document a row,
and `hub:NAME` is such a data set that the package `datasets` downloads. Documents are joined, with
a mark at their ends.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import Dataset

from optforge.errors import OptforgeError
from optforge.files import replace_file, replacing
from optforge.tasks.data.pieces import END, learn_pieces
from optforge.tasks.language.masks import mask_pieces
from paper.examples import Item, content_seed
from paper.hub import load_splits
from paper.options import TrainingError

PARTS = ("train", "validation")
_RECORD = "tokens.json"
_LEARN_FROM = 50_000  # documents for the vocabulary
_AT_ONCE = 1_000  # documents
_FEW = 2**16  # pieces that fit into two bytes
_NOT_TEXT = {".png", ".jpg", ".gz", ".zip", ".bin", ".parquet", ".pdf"}
Documents = Callable[[], Iterator[str]]


@dataclass
class Sequences(Dataset[tuple[Tensor, Tensor]]):
    """A part of a text in sequences of one length, one after another.

    Args:
        tokens: All tokens ``[N]``.
        length: Tokens of a sequence.
        vocabulary: Number of different tokens.
        masked_share: Share of the tokens that are asked for and masked; None to ask for the next.
        seed: Seed of the masks, with (epoch, index) of an example.
    """

    tokens: Any
    length: int
    vocabulary: int
    masked_share: float | None = None
    seed: int = 0

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, item: Item) -> tuple[Tensor, Tensor]:
        start = item[1] * self.length
        window = self.tokens[start : start + self.length + 1].astype(numpy.int64)
        pieces = torch.from_numpy(window)
        if self.masked_share is None:
            return pieces[:-1], pieces[1:]
        generator = torch.Generator().manual_seed(content_seed(self.seed, "masks", *item))
        x, y = mask_pieces(pieces[None, :-1], self.vocabulary, self.masked_share, generator)
        return x[0], y[0]


@dataclass(frozen=True)
class Tokens:
    """The tokens of both parts, read from disk when they are needed.

    Args:
        train: Tokens to train on ``[N]``.
        validation: Tokens to evaluate on ``[N]``.
        vocabulary: Number of different tokens.
        digest: A hash that differs for other texts or another vocabulary.
    """

    train: Any
    validation: Any
    vocabulary: int
    digest: str


def open_tokens(place: str) -> Tokens:
    """Open a folder that this script wrote.

    Raises:
        TrainingError: If it is not one, or a file of it is not as it was written.
    """
    folder = Path(place)
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        parts = [numpy.memmap(folder / f"{part}.bin", record["dtype"], "r") for part in PARTS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{place} is no folder of tokens ({type(error).__name__}: {error}); make one with "
            "'python -m paper.text FOLDER --out TOKENS'"
        ) from error
    sizes = [len(part) for part in parts]
    if sizes != record.get("sizes"):
        raise TrainingError(
            f"{place} has {sizes} tokens where {record.get('sizes')} were written; make it again"
        )
    return Tokens(parts[0], parts[1], record["vocabulary"], record["digest"])


def write_tokens(place: str, out: Path, vocabulary: int) -> dict[str, Any]:
    """Learn a vocabulary from a text and write it in tokens; the record comes last.

    Args:
        place: The text, as the module says.
        out: Folder for ``train.bin``, ``validation.bin``, ``tokenizer.json`` and ``tokens.json``.
        vocabulary: Number of different tokens.

    Returns:
        The record: vocabulary, dtype, number of tokens of each part, and a digest of all.

    Raises:
        OptforgeError: If there is no text, or the folder cannot be written.
    """
    texts = _documents(place)
    tokenizer = learn_pieces(islice(texts["train"](), _LEARN_FROM), vocabulary)
    dtype = "uint16" if vocabulary <= _FEW else "uint32"
    digest = hashlib.sha256(tokenizer.to_str().encode())
    try:
        out.mkdir(parents=True, exist_ok=True)
        sizes = [
            _write_part(out / f"{part}.bin", tokenizer, texts[part](), dtype, digest.update)
            for part in PARTS
        ]
        replace_file(out / "tokenizer.json", tokenizer.to_str())
        record = {"vocabulary": tokenizer.get_vocab_size(), "dtype": dtype, "sizes": sizes}
        record |= {"digest": digest.hexdigest()[:16]}
        replace_file(out / _RECORD, json.dumps(record) + "\n")
    except OSError as error:
        raise TrainingError(f"tokens cannot be written to {out}: {error}") from error
    return record


def _write_part(
    path: Path, tokenizer: Any, documents: Iterator[str], dtype: str, note: Callable[[bytes], None]
) -> int:
    end, count = tokenizer.token_to_id(END), 0
    with replacing(path) as file:
        while some := list(islice(documents, _AT_ONCE)):
            encoded = tokenizer.encode_batch(some)
            ids = [number for text in encoded for number in (*text.ids, end)]
            content = numpy.array(ids, dtype).tobytes()
            note(content)
            file.write(content)
            count += len(ids)
    return count


def _documents(place: str) -> Mapping[str, Documents]:
    """Return a function for each part that reads its documents, from the first one on."""
    folder = Path(place)
    if place.startswith("hub:"):
        return _of_datasets(place.removeprefix("hub:"))
    if not folder.is_dir():
        raise TrainingError(f"{place} is not a folder; give one with text files, or hub:NAME")
    if any(folder.rglob("*.parquet")):
        return _of_datasets(place)
    files: dict[str, list[Path]] = {part: [] for part in PARTS}
    has_parts = all((folder / part).is_dir() for part in PARTS)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in _NOT_TEXT:
            name = path.relative_to(folder)
            part = name.parts[0] if has_parts else _part_of(name.as_posix())
            files.get(part, []).append(path)
    for part, paths in files.items():
        if not paths:
            raise TrainingError(
                f"{place} has no text file for {part}; put some into {folder / part}, and others "
                "into the other part"
            )
    return {part: lambda paths=paths: _read(paths) for part, paths in files.items()}


def _part_of(name: str) -> str:
    return PARTS[hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[0] % 10 == 0]


def _read(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            yield path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise TrainingError(f"{path} cannot be read: {error.strerror or error}") from error


def _of_datasets(name: str) -> Mapping[str, Documents]:
    splits = load_splits(name)
    if missing := [part for part in PARTS if part not in splits]:
        raise TrainingError(
            f"the data set {name} has the splits {', '.join(splits)}; it lacks {missing[0]}"
        )
    if "text" not in splits["train"].column_names:
        columns = ", ".join(splits["train"].column_names)
        raise TrainingError(
            f"the data set {name} has the columns {columns}; it needs one of 'text'"
        )
    return {part: lambda rows=splits[part]: (row["text"] for row in rows) for part in PARTS}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", help="folder of texts, or hub:NAME")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tokens")
    parser.add_argument("--vocabulary", type=int, default=32_000, help="different tokens [32000]")
    parsed = parser.parse_args(arguments)
    try:
        record = write_tokens(parsed.place, parsed.out, parsed.vocabulary)
    except OptforgeError as error:
        sys.exit(f"error: {error}")
    train, held = record["sizes"]
    print(f"{parsed.out}: {train:,} tokens for training, {held:,} for validation, "
          f"{record['vocabulary']:,} different ones")  # fmt: skip


if __name__ == "__main__":
    main()
