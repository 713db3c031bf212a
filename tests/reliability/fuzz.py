"""What people hand in, damaged: bits flipped, cut off, parts doubled, lost, swapped or renamed."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from optforge.cli.app import app
from optforge.errors import OptforgeError

_STRANGE = (b"\0", b"\xff\xfe", b"[[", b"}}", b'"', b"'", b"nan", b"inf", b"-1", b"1e999", b"null",
            b"0", b"\n", b"=", b"[]", b"{}", b"true", b"''", b"99999999999999999999",
            b"\xef\xbb\xbf", b"1.5", b"None", b"()")  # fmt: skip


def damaged(content: bytes, source: random.Random) -> bytes:
    """Return a content after one to three mishaps."""
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        content = source.choice(_MISHAPS)(content, source)
    return content


def _flip(content: bytes, source: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 8))):
        if changed:
            changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def _cut(content: bytes, source: random.Random) -> bytes:
    return content[: source.randint(0, len(content))]


def _part(content: bytes, source: random.Random) -> tuple[int, int]:
    start = source.randint(0, len(content))
    return start, min(len(content), start + source.choice((1, 4, 20, 100, 4096)))


def _lose(content: bytes, source: random.Random) -> bytes:
    start, end = _part(content, source)
    return content[:start] + content[end:]


def _zero(content: bytes, source: random.Random) -> bytes:
    start, end = _part(content, source)
    return content[:start] + bytes(end - start) + content[end:]


def _double(content: bytes, source: random.Random) -> bytes:
    start, end = _part(content, source)
    return content[:end] + content[start:]


def _insert(content: bytes, source: random.Random) -> bytes:
    place = source.randint(0, len(content))
    return content[:place] + source.choice(_STRANGE) + content[place:]


def _replace_word(content: bytes, source: random.Random) -> bytes:
    """Put something strange, or another word of the file, in the place of a word or a value."""
    words = list(re.finditer(rb'"[^"\n]*"|[\w.+-]+|\[[^\[\]\n]*\]', content))
    if not words:
        return content
    word, other = source.choice(words), source.choice(words)
    new = source.choice((other.group(), source.choice(_STRANGE)))
    return content[: word.start()] + new + content[word.end() :]


def _other_version(content: bytes, source: random.Random) -> bytes:
    """Make it what another version could have written: with another number, or another name."""
    is_journal = content.startswith(b"SQLite format 3")
    if is_journal and source.random() < 0.3:
        start = source.choice((60, 68))  # user_version, application_id
        return content[:start] + source.randbytes(4) + content[start + 4 :]
    names = list(re.finditer(rb'(?<=")\w+(?=": )|^\w+(?= = )', content, re.MULTILINE))
    if not names:
        return content
    name = source.choice(names)
    new = name.group().swapcase() if is_journal else name.group() + b"_2"  # pages keep their layout
    return content[: name.start()] + new + content[name.end() :]


_MISHAPS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    *(_flip, _cut, _lose, _zero, _double, _insert, _other_version),
    *(_replace_word,) * 4,
)


_KINDS = (None, -1, 0, 1e300, 2.5, True, "", "x", [], [None], {}, {"a": 1}, 10**30, [[]])


def change_settings(journal: Path, source: random.Random) -> None:
    """Change one to three of the settings in a journal, as a hand or another version would."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        ((text,),) = connection.execute("SELECT value FROM meta WHERE key = 'settings'")
        settings = json.loads(text)
        for _ in range(source.choice((1, 1, 1, 2, 3))):
            settings = _changed(settings, source)
        changed = json.dumps(settings)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (changed,))


def _changed(value: Any, source: random.Random) -> Any:
    """Change something in a value: the deeper a place is, the less often itself."""
    keys = list(value) if isinstance(value, dict) else []
    keys = list(range(len(value))) if isinstance(value, list) else keys
    if not keys or source.random() < 0.15:
        return source.choice(_KINDS)
    key, changed = source.choice(keys), value.copy()
    if source.random() < 0.15:
        del changed[key]
    else:
        changed[key] = _changed(value[key], source)
    return changed


def say(words: Sequence[str]) -> str:
    """Call the command line, in this process; return what is wrong with its answer, or nothing."""
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200", "NO_COLOR": "1"})
    if result.exit_code == 0:
        return ""
    if result.exit_code not in (1, 2) or "Traceback" in result.output:
        return f"exit {result.exit_code}: {result.output[-400:]}"
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return "" if len(lines) == 1 and len(lines[0]) > 20 else f"no sentence: {result.output[-300:]}"


def refusal(*words: str) -> str:
    """Call a verb that must end with one sentence, and return that."""
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    assert result.exit_code == 1, result.output
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return sentence


def do(call: Callable[[], object]) -> str:
    """Call from Python; return what is raised beyond the errors of optforge, or nothing."""
    try:
        call()
    except OptforgeError as error:
        return "" if str(error).strip() else "an error without words"
    except Exception as error:
        return "".join(traceback.format_exception(error))[-600:]
    return ""


@contextmanager
def limited_memory(more: int = 1 << 30) -> Iterator[None]:
    """Limit this process to so many bytes beyond what it has, on Linux.

    A damaged number may ask for any amount; what is not refused has to fail, and not the machine.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        yield
        return
    import resource

    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmData")]
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = 1024 * int(line.split()[1]) + more
    limit = limit if before[0] == resource.RLIM_INFINITY else min(limit, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder, but for what SQLite keeps for itself."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal", ".lock", ".pyc"))
    }
