"""The folder with data that cannot be shipped."""

from __future__ import annotations

import os
from pathlib import Path

from optforge.errors import TaskError


def data_folder(name: str, holds: str) -> Path:
    """Return a folder below ``$OPTFORGE_DATA``.

    Args:
        name: Name of the folder.
        holds: What it must hold, for the message.

    Raises:
        TaskError: If the variable is not set or the folder is not there.
    """
    root = os.environ.get("OPTFORGE_DATA")
    if not root:
        raise TaskError(
            f"this task needs data on disk and OPTFORGE_DATA is not set; set it to a folder that "
            f"holds {name}/ with {holds}"
        )
    folder = Path(os.path.expanduser(root), name)  # pathlib raises where no home is known
    if not folder.is_dir():
        raise TaskError(
            f"this task needs {holds} in {folder}, which is not a folder; put it there, or set "
            "OPTFORGE_DATA to where it is"
        )
    return folder
