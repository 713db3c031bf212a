"""The directory of a run: its journal and the files that a run writes for people."""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from optforge.errors import RunError
from optforge.files import RECORD, begin_record, check_own, is_own, replace_own, whole_record
from optforge.runs import guard
from optforge.runs.file_names import BEST, JOURNAL, OURS, SETTINGS, START, TABLE_JSON, file_names
from optforge.runs.journal import Journal
from optforge.runs.schema import plain_text


def rule_file(rule: str | Path) -> str | Path:
    """Return the file of the best rule for the directory of a run, and other paths unchanged.

    Raises:
        RunError: If the directory holds no best rule, or this is no path.

    Example:
        >>> rule_file("lion")
        'lion'
    """
    if not isinstance(rule, str | os.PathLike):
        raise RunError(f"{rule!r} is no rule; give a name, a file, or the directory of a run")
    path = Path(rule)
    if not is_directory(path):
        return rule
    if not (path / BEST).is_file():
        raise RunError(
            f"{rule} is a directory without {BEST}; give one of a run that finished, or a file"
        )
    return path / BEST


def is_directory(path: Path) -> bool:
    """Return whether a path is a directory; a text that can be no path is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long, or with a NUL byte
        return False


class RunDirectory:
    """A run on the disk with its open journal; a context manager that closes the journal.

    Made by `RunDirectory.create` and `RunDirectory.open`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with RunDirectory.create(f"{folder}/first", {"seed": 3}) as run:
        ...         path = run.write_text("best.py", "def train(w, g, lr):\\n    return g\\n")
        ...         path.name, sorted(file.name for file in run.path.glob("*.json"))
        ('best.py', ['.optforge.json', 'settings.json'])
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path = path
        self.journal = journal

    @classmethod
    def create(
        cls,
        path: str | Path | None,
        settings: Mapping[str, Any],
        tasks: Iterable[str] = (),
        force: bool = False,
        start: str = "",
    ) -> RunDirectory:
        """Create the directory of a new run and open its journal for writing.

        The journal comes last: a directory without one, as a killed process leaves it, holds no
        run yet and can be taken again.

        Args:
            path: Where; None for a new name under `runs/`.
            settings: Settings of the run, as plain values.
            tasks: Names of its tasks, which names of files hold.
            force: Whether files of others may be replaced.
            start: Text of the warm start for `start.py`; without it none is written.

        Raises:
            RunError: If a run or one of its files is there already, or nothing can be written.
        """
        path = new_run_path() if path is None else Path(path)
        names = file_names(tasks)
        _make_free_directory(path, names, force)
        with guard.sentences(path, "the run was not created"):
            begin_record(path, names if force else ())
            replace_own(path / SETTINGS, plain_text(settings, indent=2) + "\n")
            if start:
                replace_own(path / START, start)
        return cls(path, Journal.create(path / JOURNAL, settings))

    @classmethod
    def open(cls, path: str | Path, *, write: bool = False) -> RunDirectory:
        """Open the directory of an existing run.

        Args:
            path: The directory.
            write: True to resume the run, False to read it.

        Raises:
            RunError: If this is not a run, or its journal cannot be used; the message says why.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            raise RunError(
                f"{path} is not a run: it {what}, and a run is a directory; "
                "'optforge runs' lists the runs there are"
            )
        return cls(path, Journal.open(path / JOURNAL, write=write))

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def claim(self, names: Iterable[str], force: bool = False) -> None:
        """Refuse to begin work whose files would replace those of others; with force, take them.

        Raises:
            ForeignFileError: Names the first of them.
        """
        if force:
            with guard.sentences(self.path, "nothing was written"):
                begin_record(self.path, names)
        check_own(self.path, names)

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run atomically: a reader sees the old text or the new one.

        Args:
            name: A plain file name, for instance `best.py`.
            text: Its content, written as UTF-8.

        Returns:
            The path of the file.

        Raises:
            RunError: If it cannot be written; the old file then stays unchanged.
        """
        return self.write_bytes(name, text)

    def write_bytes(self, name: str, content: str | bytes) -> Path:
        """Write bytes in the same way as `write_text`."""
        if Path(name).name != name:
            raise RunError(f"{name!r} is not a plain file name")
        target = self.path / name
        with guard.sentences(target, f"{name} was not written"):
            replace_own(target, content)
        return target


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run in one line.

    Args:
        path: Directory of the run.
        created: Time of creation in ISO 8601; empty if unreadable.
        status: `running`, `finished` (it has its table), `stopped`, or `unreadable`.
        batches: Number of committed batches.
        programs: Number of proposals in them, including cache hits.
        best: The lowest fitness so far; None before the first verdict.
        problem: Why it is unreadable; empty otherwise.
    """

    path: Path
    created: str
    status: str
    batches: int
    programs: int
    best: float | None
    problem: str = ""


def list_runs(root: str | Path = "runs") -> list[RunSummary]:
    """Return summaries of all runs under a directory, oldest first; damaged ones are marked.

    Example:
        >>> list_runs("a/directory/that/does/not/exist")
        []
    """
    journals = Path(root).glob(f"*/{JOURNAL}")
    summaries = [run_summary(journal.parent) for journal in journals]
    return sorted(summaries, key=lambda summary: (summary.created, summary.path))


def new_run_path(root: str | Path = "runs") -> Path:
    """Return a new path for a run under `root`: the date, the time and four random letters.

    Example:
        >>> new_run_path().parent.name
        'runs'
    """
    letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))
    return Path(root) / f"{datetime.now():%Y-%m-%d-%H%M}-{letters}"


def check_free(path: str | Path, names: Iterable[str] = OURS, force: bool = False) -> None:
    """Refuse a place where no new run can be, before any time is spent on one.

    Args:
        path: The directory of the run.
        names: Of the files that it may write.
        force: Whether files of others may be replaced; those of another run never are.

    Raises:
        RunError: If a file, a run or one of its files is there already.

    Example:
        >>> check_free("a/directory/that/does/not/exist")
    """
    path = Path(path)
    with guard.sentences(path, "the run was not created"):
        guard.check_makeable(path)
        if (path / JOURNAL).exists():
            raise RunError(
                f"{path} already holds a run; resume it by --resume {path}, or name another one"
            )
        taken = [n for n in names if os.path.lexists(path / n) and not _is_begun(path, n)]
        if taken and not force:
            raise RunError(
                f"{path} holds a file {taken[0]} that the run would overwrite; "
                "name another directory, or give --force"
            )


def _is_begun(path: Path, name: str) -> bool:
    """Return whether a file is what is left of a run that ended before it had a journal."""
    if whole_record(path) is None:
        return False
    at_once = name in (RECORD, f"{JOURNAL}.lock")
    return at_once or (name in (SETTINGS, START) and is_own(path / name))


def _make_free_directory(path: Path, names: Iterable[str], force: bool) -> None:
    check_free(path, names, force)
    with guard.sentences(path, "the run was not created"):
        path.mkdir(parents=True, exist_ok=True)


def run_summary(path: Path) -> RunSummary:
    """Return the summary of a run; a damaged one is marked."""
    try:
        with Journal.open(path / JOURNAL, write=False) as journal:
            best, counts, created = journal.best(), journal.counts(), journal.created
    except RunError as error:
        return RunSummary(path, "", "unreadable", 0, 0, None, str(error))
    status = "finished" if (path / TABLE_JSON).exists() else "stopped"
    if guard.is_locked(path / JOURNAL):
        status = "running"
    return RunSummary(
        path,
        created,
        status,
        counts["batches"],
        counts["proposals"],
        best.fitness if best else None,
    )
