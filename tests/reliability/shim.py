"""The calls that change files: counted, logged and ended in the midst of; and what a disk keeps.

`shim.c` is loaded before the C library, so that the calls of SQLite are seen too. Its log holds
every byte that was written, in order; :func:`after_loss` makes of it what a machine that lost its
power may find on its disk.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, CREATE = range(1, 8)
COMPILER = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
_HEAD = struct.Struct("=IIqq")
_BLOCK = 4096  # what a disk writes as a whole


def build(folder: Path) -> Path:
    """Compile the shim and return the library."""
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    flags = ["-shared", "-fPIC", "-O1", "-w", "-ldl", "-pthread"]
    subprocess.run([str(COMPILER), str(source), "-o", str(library), *flags], check=True)
    return library


def arm(directory: Path, log: Path, end_at: int, torn: bool, error: int) -> None:
    """Watch this process, which has loaded the shim, from now on."""
    call = ctypes.CDLL(None).shim_arm
    call(os.fsencode(directory), os.fsencode(log), ctypes.c_long(end_at), int(torn), error)


@dataclass(frozen=True)
class Call:
    """One call that changed a file."""

    op: int
    path: str
    offset: int
    data: bytes


def read_log(log: Path) -> list[Call]:
    """Return all calls of a log."""
    content, place, calls = log.read_bytes() if log.exists() else b"", 0, []
    while place + _HEAD.size <= len(content):
        op, path_length, offset, length = _HEAD.unpack_from(content, place)
        place += _HEAD.size
        path = os.fsdecode(content[place : place + path_length])
        data = content[place + path_length : place + path_length + length]
        place += path_length + length
        calls.append(Call(op, path, offset, data))
    return calls


@dataclass
class _File:
    """A file: what is on the disk for certain, and the calls since."""

    durable: bytes = b""
    pending: list[Call] = field(default_factory=list)

    def now(self) -> bytes:
        content = self.durable
        for call in self.pending:
            content = _changed(content, call)
        return content

    def sync(self) -> None:
        self.durable, self.pending = self.now(), []

    def lost(self, source: random.Random, share: float) -> bytes:
        """What was written last, of which a share of the blocks has reached the disk."""
        content = self.durable
        for call in self.pending:
            if call.op == TRUNCATE:
                content = _changed(content, call) if source.random() < share else content
                continue
            for start in range(0, len(call.data), _BLOCK):
                if source.random() < share:
                    block = call.data[start : start + _BLOCK]
                    content = _changed(content, Call(WRITE, "", call.offset + start, block))
        return content


def _changed(content: bytes, call: Call) -> bytes:
    if call.op == TRUNCATE:
        return content[: call.offset].ljust(call.offset, b"\0")
    filled = content.ljust(call.offset, b"\0")
    return filled[: call.offset] + call.data + filled[call.offset + len(call.data) :]


def after_loss(before: Path, root: Path, calls: list[Call], source: random.Random) -> None:
    """Make of a directory what is left of it when its machine loses its power.

    A file has what it had at its last fsync, and some of the blocks that were written since.
    Names change in the order in which they were changed, as file systems with a journal have it;
    an fsync of anything keeps those before, and some of those after it are kept.

    Args:
        before: The directory as it was before all calls.
        root: Where it lies; its content is replaced.
        calls: All that changed it.
        source: Of chance.
    """
    files = {str(root / p.relative_to(before)): _File(p.read_bytes()) for p in _files(before)}
    folders = {str(root / p.relative_to(before)) for p in before.rglob("*") if p.is_dir()}
    names, pending = dict(files), []
    for call in calls:
        if call.op in (WRITE, TRUNCATE):
            if call.path not in files:
                files[call.path] = _File()
                pending.append((call, files[call.path]))
            files[call.path].pending.append(call)
        elif call.op == SYNC:
            if call.path in files:
                files[call.path].sync()
            for change in pending:
                _rename(names, folders, *change)
            pending = []
        else:
            file = files.get(call.path, _File())
            pending.append((call, file))
            _rename(files, set(), call, file)
    for change in pending[: source.randint(0, len(pending))]:
        _rename(names, folders, *change)
    share = source.choice((0.0, source.random(), 1.0))
    shutil.rmtree(root)
    root.mkdir()
    for folder in sorted(folders):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for name, file in names.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(file.lost(source, share))


def _rename(names: dict[str, _File], folders: set[str], call: Call, file: _File) -> None:
    if call.op == RENAME:
        names.pop(call.path, None)
        names[os.fsdecode(call.data)] = file
    elif call.op == UNLINK:
        names.pop(call.path, None)
    elif call.op == MKDIR:
        folders.add(call.path)
    else:
        names[call.path] = file


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
