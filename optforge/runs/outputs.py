"""Files that the user names: written as a whole, and replaced with force only."""

from __future__ import annotations

import os
from pathlib import Path

from optforge.errors import OptforgeError
from optforge.files import is_file, raw_bytes, replace_file
from optforge.runs.directory import is_directory


def check_output(path: Path, force: bool, wrong: type[OptforgeError] = OptforgeError) -> None:
    """Refuse a place where a file that the user names cannot be written, before any work is done.

    Args:
        path: The file to write; a device or a pipe is written to as it is.
        force: Whether an existing file may be replaced.
        wrong: What to raise.

    Raises:
        OptforgeError: If a file is there already, or the directory is missing.
    """
    if is_directory(path):
        raise wrong(f"cannot write {path}: it is a directory; name a file in it")
    is_broken_link = os.path.islink(path) and not os.path.exists(path)
    if (is_file(path) or is_broken_link) and not force:
        raise wrong(_taken(path))
    if not is_directory(path.parent):
        raise wrong(f"cannot write {path}: there is no directory {path.parent}")


def write_output(
    path: Path, content: str | bytes, force: bool, wrong: type[OptforgeError] = OptforgeError
) -> None:
    """Write a file that the user named; without force, never over one that is there by now.

    Args:
        path: The file to write.
        content: The whole content.
        force: Whether an existing file may be replaced.
        wrong: What to raise.

    Raises:
        OptforgeError: If a file is there already, or it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_output(Path(folder) / "rule.py", "one", force=False)
        ...     write_output(Path(folder) / "rule.py", "two", force=True)
        ...     (Path(folder) / "rule.py").read_text()
        'two'
    """
    check_output(path, force, wrong)
    try:
        if path.exists() and not path.is_file():  # a device, or a pipe such as /dev/stdout
            path.write_bytes(raw_bytes(content))
        else:
            replace_file(path, content, new=not force)
    except FileExistsError:
        raise wrong(_taken(path)) from None
    except OSError as error:
        raise wrong(f"cannot write {path}: {error.strerror or error}") from error


def _taken(path: Path) -> str:
    return f"{path} exists already; replace it with --force, or name another file"
