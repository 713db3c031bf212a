"""GLUE's tasks as their files hold them: tables of tabs, lines of JSON, or the hub's data set.

`python -m paper.glue FOLDER` writes a few names of characters in these formats, to try
`paper.finetune` on.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper.hub import load_splits
from paper.options import TrainingError

HELD = ("dev", "dev_matched", "validation", "validation_matched")


@dataclass(frozen=True)
class GlueTask:
    """A task of GLUE.

    Args:
        folder: Name of its folder in GLUE's archive.
        texts: For each text of an example, the names that its column may have.
        labels: Names that the column of the label may have.
        classes: Names of the classes in the hub's order; none if the label is a number.
        score: What is reported first: ``accuracy``, ``f1``, ``matthews`` or ``pearson``.
    """

    folder: str
    texts: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    score: str

    def scores(self, *sums: float) -> dict[str, float]:
        """Return the scores that GLUE reports of the task; 0 where one is not defined.

        Args:
            sums: Over all examples: their count, correct answers, the counts of true and false
                answers of class 1 and of false and true ones of class 0; then for a number the sums
                of outputs a and targets b, of aa, bb and ab.

        Example:
            >>> TASKS["sst2"].scores(4, 3, 1, 1, 0, 2, 0, 0, 0, 0, 0)
            {'accuracy': 0.75}
        """
        count, hits, yes, wrong_yes, wrong_no, no, a, b, aa, bb, ab = sums
        if not self.classes:
            spread = (count * aa - a * a) * (count * bb - b * b)
            return {"pearson": (count * ab - a * b) / math.sqrt(spread) if spread > 0 else 0.0}
        scores = {"accuracy": hits / count}
        if self.score == "f1":
            scores["f1"] = 2 * yes / max(1.0, 2 * yes + wrong_yes + wrong_no)
        if self.score == "matthews":
            spread = (yes + wrong_yes) * (yes + wrong_no) * (no + wrong_yes) * (no + wrong_no)
            product = yes * no - wrong_yes * wrong_no
            scores["matthews"] = product / math.sqrt(spread) if spread > 0 else 0.0
        return scores


_BOTH = (("sentence1", "#1 String"), ("sentence2", "#2 String"))
_NO_YES, _FOLLOWS = ("0", "1"), ("entailment", "not_entailment")
TASKS: Mapping[str, GlueTask] = {
    "cola": GlueTask("CoLA", (("sentence",),), ("label",), _NO_YES, "matthews"),
    "sst2": GlueTask("SST-2", (("sentence",),), ("label",), _NO_YES, "accuracy"),
    "mrpc": GlueTask("MRPC", _BOTH, ("label", "Quality"), _NO_YES, "f1"),
    "stsb": GlueTask("STS-B", _BOTH, ("label", "score"), (), "pearson"),
    "qqp": GlueTask(
        "QQP", (("question1",), ("question2",)), ("label", "is_duplicate"), _NO_YES, "f1"
    ),
    "mnli": GlueTask(
        "MNLI",
        (("premise", "sentence1"), ("hypothesis", "sentence2")),
        ("label", "gold_label"),
        ("entailment", "neutral", "contradiction"),
        "accuracy",
    ),
    "qnli": GlueTask("QNLI", (("question",), ("sentence",)), ("label",), _FOLLOWS, "accuracy"),
    "rte": GlueTask("RTE", _BOTH, ("label",), _FOLLOWS, "accuracy"),
}
_COLA = ("source", "label", "star", "sentence")  # its tables have no names above them
Row = tuple[tuple[str, ...], float]  # the texts of an example, and its class or number


@dataclass(frozen=True)
class Examples:
    """Training and validation examples of a task.

    Args:
        train: Examples to train on.
        validation: Examples to evaluate on.
        digest: A hash that differs for other examples.
    """

    train: Sequence[Row]
    validation: Sequence[Row]
    digest: str


def open_glue(place: str, name: str, held: str | None = None) -> Examples:
    """Read a task of GLUE.

    Args:
        place: GLUE's folder, with one for each task, or that of the task: ``train.tsv`` and
            ``dev.tsv`` as in GLUE's archive, or ``.jsonl`` with an object a line; or ``hub:NAME``
            for a data set that the package ``datasets`` downloads.
        name: One of ``TASKS``.
        held: The part to evaluate on, as ``dev_mismatched``; by default the first of ``HELD``.

    Raises:
        TrainingError: If a part or a column is missing, or a label is none.
    """
    task = TASKS[name]
    parts = (("train",), HELD if held is None else (held,))
    if place.startswith("hub:"):
        raw = [_of_datasets(place.removeprefix("hub:"), name, part) for part in parts]
    else:
        folder = Path(place) / task.folder
        folder = folder if folder.is_dir() else Path(place)
        raw = [_of_files(folder, part, name == "cola") for part in parts]
    train, validation = ([_row(row, task) for row in rows] for rows in raw)
    digest = hashlib.sha256(json.dumps([train, validation]).encode()).hexdigest()[:16]
    return Examples(train, validation, digest)


def _of_files(folder: Path, parts: Sequence[str], bare: bool) -> list[dict[str, Any]]:
    for part in parts:
        for end in ("tsv", "jsonl"):
            path = folder / f"{part}.{end}"
            if path.is_file():
                return _read(path, bare)
    raise TrainingError(
        f"{folder} has no {parts[0]}.tsv or {parts[0]}.jsonl; give GLUE's folder, or that of the "
        "task"
    )


def _read(path: Path, bare: bool) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".jsonl":
                rows = [json.loads(line) for line in file if line.strip()]
            else:
                names = _COLA if bare else None
                table = csv.DictReader(file, names, delimiter="\t", quoting=csv.QUOTE_NONE)
                rows = list(table)
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise TrainingError(f"{path} has no examples")
    return rows


def _of_datasets(name: str, task: str, parts: Sequence[str]) -> Iterable[dict[str, Any]]:
    splits = load_splits(name, task)
    part = next((part for part in parts if part in splits), None)
    if part is None:
        raise TrainingError(f"{name} has the parts {', '.join(splits)}; it needs {parts[0]}")
    return splits[part]


def _row(columns: Mapping[str, Any], task: GlueTask) -> Row:
    texts = tuple(str(_cell(columns, names)) for names in task.texts)
    label = str(_cell(columns, task.labels)).strip()
    try:
        if label in task.classes:
            return texts, float(task.classes.index(label))
        value = float(label)
    except ValueError:
        value = -1.0
    if value < 0 or (task.classes and value not in range(len(task.classes))):
        allowed = ", ".join(task.classes) or "a number of at least 0"
        raise TrainingError(f"a label of {task.folder} is {label!r}; allowed is {allowed}")
    return texts, value


def _cell(columns: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if columns.get(name) is not None:
            return columns[name]
    raise TrainingError(
        f"an example has the columns {', '.join(map(str, columns))}; it needs {' or '.join(names)}"
    )


def write_names(folder: Path, train: int = 24, held: int = 12) -> None:
    """Write names of characters as every task: whether one is a small letter, whether two agree."""
    letters = [chr(code) for code in range(0x370, 0x500) if chr(code).isalpha()]
    names = [unicodedata.name(letter) for letter in letters]
    names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
    for task in TASKS.values():
        for part, few in (("train", names[:train]), ("dev", names[train : train + held])):
            rows = [_written(task, text, few[i - 1]) for i, text in enumerate(few)]
            part = "dev_matched" if task.folder == "MNLI" and part == "dev" else part
            path = folder / task.folder / f"{part}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            head = [] if task.folder == "CoLA" else ["\t".join(rows[0])]
            lines = head + ["\t".join(row.values()) for row in rows]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _written(task: GlueTask, text: str, other: str) -> dict[str, str]:
    """Return a row with the names that GLUE's own tables give its columns."""
    agree = (" SMALL " in text) == (" SMALL " in other)
    if len(task.texts) == 1:
        label, texts = int(" SMALL " in text), [text]
    else:
        label, texts = int(agree), [text, other]
    value = task.classes[label] if task.classes else f"{5.0 * label:.3f}"
    columns = {names[-1]: content for names, content in zip(task.texts, texts, strict=True)}
    if task.folder in ("STS-B", "RTE"):
        columns = {"sentence1": text, "sentence2": other}
    row = {**columns, task.labels[-1]: value}
    bare = {"source": "names", "label": value, "star": "", **columns}
    return bare if task.folder == "CoLA" else row


if __name__ == "__main__":
    write_names(Path(sys.argv[1]))
