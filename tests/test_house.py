"""The house keeps its order: imports point downwards, files stay short, modules say what for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "optforge"
RULES = PACKAGE / "language" / "rules"  # texts for our parser, not modules

FACE = "the public face"  # optforge/__init__.py, optforge/api/search.py and the like
# From the ground up, as in docs/architecture.md: each room imports only from rooms before it.
ORDER = (
    *("errors", "options", "files"),
    *("language", "analysis", "equality", "tasks", "training", "statistics", "fitness"),
    *(
        "optim",
        "exporters",
        "runs",
        "execution",
        "jobs",
        "tuning",
        "evolution",
        "assessment",
        "ablation",
        "promotion",
    ),
    *("comparison", "report", "api"),
    *(FACE, "cli"),
)
# Rooms that may use less than the order would let them, and what each may use.
NARROW = {
    "statistics": {"errors"},
    "optim": {"errors", "language", "analysis"},
}
# Rooms that must not know some of the rooms below them, and why.
BLIND = {
    "execution": ({"tasks", "training", "fitness"}, "it must not know what is evaluated"),
}
FACES = {"__init__": FACE, "__main__": "cli"}

LONGEST, LONGEST_IN_PACKAGE = 400, 300  # lines of tests and pages, and of modules
WRITTEN_BY_HAND = {".py", ".md", ".toml", ".yaml", ".yml", ".cfg", ".txt", ""}
# At the top only. What commands made may be long, and so is what tools keep in hidden folders.
MADE = {"runs", "results", "build", "dist"}
HIDDEN_BUT_OURS = {".ci", ".github"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if RULES not in path.parents)


def room_of(name: str) -> str:
    """The room of a dotted name such as `optforge.language.text` or `optforge`."""
    second = name.split(".")[1] if "." in name else "__init__"
    return FACES.get(second, second)


def dotted(path: Path) -> str:
    """The dotted name of a module's file; a package ends in `.__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import from optforge, also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = list(from_names(node, module))
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            names = [str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "optforge")


def from_names(node: ast.ImportFrom, module: str) -> Iterator[str]:
    base = node.module or ""
    if node.level:  # `from .x import y` in optforge.a.b is optforge.a.x
        above = module.split(".")[: -node.level]
        base = ".".join([*above, base] if base else above)
    if base == "optforge":  # `from optforge import errors` is a room, `... import Lion` the face
        rooms = {alias.name for alias in node.names}
        yield from (f"optforge.{name}" if name in ORDER else base for name in sorted(rooms))
    else:
        yield base


def called(node: ast.Call) -> str:
    function = node.func
    return getattr(function, "attr", None) or getattr(function, "id", "")


def violations(source: str, module: str) -> list[str]:
    """What is wrong with the imports of a module, one sentence each."""
    room = room_of(module)
    if room not in ORDER:
        return [f"{module}: room '{room}' is not in the list; add it to ORDER and to the docs"]
    found = []
    for line, name in imported(ast.parse(source), module):
        reason = objection(room, room_of(name))
        if reason:
            found.append(f"{module}, line {line}: '{room}' imports '{name}', but {reason}")
    return found


def objection(room: str, other: str) -> str:
    if other == room:
        return ""
    if other not in ORDER:
        return f"'{other}' is not a room"
    if ORDER.index(other) > ORDER.index(room):
        return f"'{other}' comes later in the list of rooms; turn the dependency round"
    if other not in NARROW.get(room, {other}):
        return f"'{room}' stands on {sorted(NARROW[room])} alone"
    blind, why = BLIND.get(room, (set(), ""))
    return why if other in blind else ""


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_imports_only_from_rooms_below(path: Path) -> None:
    found = violations(path.read_text(encoding="utf-8"), dotted(path))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_public_module_says_what_it_is_for(path: Path) -> None:
    if path.stem.startswith("_") and path.stem != "__init__":
        pytest.skip("private")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, f"{dotted(path)} has no docstring; say in one line what lives there"


def written_files() -> Iterator[Path]:
    for top in sorted(ROOT.iterdir()):
        hidden = top.is_dir() and top.name.startswith(".") and top.name not in HIDDEN_BUT_OURS
        if hidden or top.name in MADE:
            continue
        inside = sorted(top.rglob("*")) if top.is_dir() else [top]
        yield from (p for p in inside if p.is_file() and p.suffix in WRITTEN_BY_HAND)


def test_no_file_is_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in written_files()
    }
    assert len(lengths) > 5  # the walk did find the tree
    package = f"{PACKAGE.relative_to(ROOT)}/"
    long = {
        name: count
        for name, count in lengths.items()
        if count > (LONGEST_IN_PACKAGE if name.startswith(package) else LONGEST)
    }
    assert not long, f"split by concept what has so many lines: {long}"


def heading_anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_pages_lead_somewhere() -> None:
    """To a file of the tree, and to a heading where one is named."""
    made = (path for path in (ROOT / "results").rglob("*.md"))
    pages = [path for path in (*written_files(), *made) if path.suffix == ".md"]
    lost, links = [], 0
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            there = page.parent / name if name else page
            links += 1
            if not there.exists() or anchor and anchor not in heading_anchors(there):
                lost.append(f"{page.relative_to(ROOT)}: {target}")
    assert links > 50  # the pattern does find them
    assert not lost


PLANTED = [
    ("optforge.language.text", "from optforge.search import loop"),
    ("optforge.language.text", "import optforge.tasks"),
    ("optforge.language.text", "from ..tasks import Task"),
    ("optforge.language.text", "from .. import tasks"),
    ("optforge.language.__init__", "from ..search.loop import search"),
    ("optforge.language.text", "from optforge import Lion"),
    ("optforge.language.text", "import optforge"),
    ("optforge.language.text", "def late():\n    from optforge.runs import journal"),
    ("optforge.language.text", "import importlib\nimportlib.import_module('optforge.cli')"),
    ("optforge.errors", "from optforge.language import parse"),
    ("optforge.execution.local", "from optforge.evolution.loop import search"),
    ("optforge.execution.local", "from optforge.fitness import judge"),
    ("optforge.optim.lion", "from optforge.tasks import Task"),
    ("optforge.statistics", "from optforge.language import Program"),
    ("optforge.evolution.loop", "from optforge.api import search"),
    ("optforge.api", "from optforge.cli import main"),
    ("optforge.attic.junk", "x = 1"),
]
SOUND = [
    ("optforge.language.text", "import ast\nfrom optforge.errors import ProgramError"),
    ("optforge.language.text", "from .program import Program\nfrom . import functions"),
    ("optforge.language.__init__", "from .text import parse"),
    ("optforge.optim.lion", "from optforge.language import load_rule\nimport torch"),
    ("optforge.evolution.loop", "from optforge import errors, fitness"),
    ("optforge.__init__", "from optforge.api import search\nfrom .evolution.loop import run"),
    ("optforge.cli.search", "from optforge import __version__\nimport optforge.api"),
    ("optforge.language.text", "import optforgery"),
]


@pytest.mark.parametrize(("module", "source"), PLANTED)
def test_the_checker_finds_a_planted_violation(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(("module", "source"), SOUND)
def test_the_checker_lets_sound_imports_pass(module: str, source: str) -> None:
    assert violations(source, module) == []
