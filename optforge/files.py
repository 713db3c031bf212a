"""Files: found whatever their path holds, read whatever wrote them, replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from optforge.errors import OptforgeError

RECORD = ".optforge.json"  # what optforge wrote into a directory
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")  # a file that is being written
_KEPT = 2  # digests of a file: the one that is there, and the one that takes its place


@contextmanager
def replacing(path: Path, new: bool = False) -> Iterator[BinaryIO]:
    """Yield a new file that replaces ``path`` when the block ends without an error.

    Until then it is stored next to ``path`` under a hidden name; after an error it is removed and
    the old file stays unchanged. The content is on the disk before the name changes, and the new
    name before this returns.

    Args:
        path: The file to write; its directory must exist.
        new: Whether to refuse a file that is there when the block ends.

    Raises:
        OSError: If the file cannot be written or renamed; ``FileExistsError`` if it must be new.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "table.md") as file:
        ...         _ = file.write(b"new")
        ...     [(found.name, found.read_text()) for found in Path(folder).iterdir()]
        [('table.md', 'new')]
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path, new)
        sync_directory(path.parent)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise


def _rename(file: Path, path: Path, new: bool) -> None:
    """Rename a file; a new one by a link, which fails if the name is taken."""
    if new:
        try:
            os.link(file, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError(path) from None
        else:
            file.unlink()
            return
    os.replace(file, path)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed processes left in a directory to which only this process writes."""
    for leftover in directory.glob(".*.part"):
        if _PART.fullmatch(leftover.name):
            with suppress(OSError):
                leftover.unlink()


def sync_directory(directory: Path) -> None:
    """Flush the names in a directory to the disk, where the system supports that."""
    with suppress(OSError):  # Windows opens no directory, some file systems sync none
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_file(path: Path, content: str | bytes, new: bool = False) -> None:
    """Write a file atomically, a text as UTF-8.

    Args:
        path: The file; its directory must exist.
        content: The whole content.
        new: Whether to refuse a file that is there by now.

    Raises:
        OSError: If the file cannot be written; the old one then stays unchanged.
    """
    with replacing(path, new) as file:
        file.write(raw_bytes(content))


def raw_bytes(content: str | bytes) -> bytes:
    """Return a content as bytes; names of files that are not UTF-8 are written with escapes."""
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


class ForeignFileError(OptforgeError):
    """A file that optforge did not write is in the place of one of its own files."""


def check_own(directory: Path, names: Iterable[str]) -> None:
    """Refuse to work if this would replace files that optforge did not write.

    Args:
        directory: Directory of the files; it need not exist.
        names: Names of the files.

    Raises:
        ForeignFileError: If there is such a file; the message names the first one.
    """
    for name in names:
        if not is_own(directory / name):
            raise _foreign(directory / name)


def _foreign(path: Path) -> ForeignFileError:
    what = "was not written by optforge, or was changed since, and would be replaced"
    advice = "move it away, name another directory, or give --force"
    if path.is_dir():
        what, advice = "is a directory", "move it away, or name another directory"
    return ForeignFileError(f"{path} {what}; {advice}")


def begin_record(directory: Path, adopted: Iterable[str] = ()) -> None:
    """Start the record of which files of a directory belong to optforge; an existing one is kept.

    Args:
        directory: The directory; it must exist.
        adopted: Names of files that may be replaced no matter who wrote them.

    Raises:
        ForeignFileError: If a file that is no record has its name, and nothing is adopted.
        OSError: If the record cannot be written.
    """
    adopted = tuple(adopted)
    if os.path.lexists(directory / RECORD) and not adopted and whole_record(directory) is None:
        raise _foreign(directory / RECORD)
    record = _record(directory) or {}
    present = {name: _digest_of(directory / name) for name in adopted}
    record |= {name: [digest] for name, digest in present.items() if digest}
    replace_file(directory / RECORD, json.dumps(record, indent=1) + "\n")


def replace_own(path: Path, content: str | bytes) -> None:
    """Write a file atomically, unless one exists that optforge did not write.

    Args:
        path: The file; its directory must exist.
        content: The whole content.

    Raises:
        ForeignFileError: If the file was written or changed by something else.
        OSError: If it cannot be written.
    """
    check_own(path.parent, [path.name])
    record = _record(path.parent)
    if record is not None:
        digests = [*record.get(path.name, []), _digest(raw_bytes(content))]
        record[path.name] = list(dict.fromkeys(digests))[-_KEPT:]
        # First, so that the file is known as ours whenever this process ends.
        replace_file(path.parent / RECORD, json.dumps(record, indent=1) + "\n")
    replace_file(path, content)


def has_record(directory: Path) -> bool:
    """Return whether a directory records which of its files belong to optforge."""
    return _record(directory) is not None


def is_own(path: Path) -> bool:
    """Return whether a file may be replaced: it does not exist, or optforge wrote it.

    A directory without a record was made by an earlier version, which kept none.
    """
    record = _record(path.parent)
    if record is None or not os.path.lexists(path):
        return True
    return _digest_of(path) in record.get(path.name, ())


def _record(directory: Path) -> dict[str, list[str]] | None:
    """Return the record of a directory; one that is damaged knows no file, so that all are kept."""
    stored = whole_record(directory)
    return {} if stored is None and os.path.lexists(directory / RECORD) else stored


def whole_record(directory: Path) -> dict[str, list[str]] | None:
    """Return the digests of a directory's own files by name; None if they cannot be read."""
    try:
        stored = json.loads(read_text(directory / RECORD))
    except (OSError, RecursionError, ValueError):
        return None
    are_digests = isinstance(stored, dict) and all(isinstance(v, list) for v in stored.values())
    return stored if are_digests else None


def _digest_of(path: Path) -> str | None:
    """Return the digest of a file, or of a link that leads nowhere; None for anything else."""
    if os.path.islink(path) and not path.exists():
        return _digest(os.fsencode(os.readlink(path)))
    return _digest(path.read_bytes()) if is_file(path) else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def is_file(name: str | Path) -> bool:
    """Return whether a file of this name is there; a text that can be no path is none."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a name too long, with a NUL byte, in a closed directory
        return False


def read_text(path: Path) -> str:
    """Return a text in UTF-8, without the byte-order mark that some editors write.

    Raises:
        OSError: If it cannot be read.
        UnicodeDecodeError: If it is not UTF-8.
    """
    return path.read_text(encoding="utf-8-sig")


def split_name(text: str) -> tuple[str, str]:
    """Split ``name=what`` into name, empty if there is none, and rest; a path keeps its signs.

    Example:
        >>> split_name("mine=adamw"), split_name("adamw")
        (('mine', 'adamw'), ('', 'adamw'))
    """
    for place in (-1, *(k for k, sign in enumerate(text) if sign == "=")):  # longest path first
        if is_file(split_class(text[place + 1 :])[0]):
            return text[: max(place, 0)], text[place + 1 :]
    name, _, rest = text.rpartition("=")
    return name, rest


def split_class(text: str) -> tuple[str, str]:
    """Split ``file.py:Class`` into file and class, which may be empty; a path keeps its colons.

    Example:
        >>> split_class("mine.py:Line"), split_class("mine.py")
        (('mine.py', 'Line'), ('mine.py', ''))
    """
    if is_file(text):
        return text, ""
    file, colon, name = text.rpartition(":")
    return (file, name) if colon else (text, "")


def split_list(text: str, is_whole: Callable[[str], bool] | None = None) -> list[str]:
    """Split what is separated by commas; a file that is there keeps those in its path.

    Args:
        text: The names.
        is_whole: Whether a text with commas is one name; by default, whether it names a file.

    Example:
        >>> split_list("adamw, lion,")
        ['adamw', 'lion']
    """
    is_whole = is_whole or _is_named_file
    parts, names = text.split(","), []
    while parts:
        joined = [",".join(parts[:count]).strip() for count in range(len(parts), 1, -1)]
        whole = next(filter(is_whole, joined), parts[0].strip())
        names.append(whole)
        del parts[: whole.count(",") + 1]
    return [name for name in names if name]


def _is_named_file(text: str) -> bool:
    """Return whether this is a file that is there, as ``name=file`` and ``file:Class`` too."""
    name, rest = split_name(text)
    file, cls = split_class(rest)
    return "," not in name + cls and is_file(file)
