"""Replacing a file as a whole: a reader sees the old file or the new one, never a part of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of ``path`` when the block ends without an error.

    Until then it lies beside ``path`` under a hidden name; after an error it is removed and the
    old file is as it was. The content is on the disk before the name changes.

    Args:
        path: The file to write; its directory must exist.

    Raises:
        OSError: If the file cannot be written or renamed.

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
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file as a whole, a text as UTF-8.

    Args:
        path: The file; its directory must exist.
        content: All that it shall hold.

    Raises:
        OSError: If the file cannot be written; the old one is as it was.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
