"""The origin of code: an installed package and its version, or files and their digest."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import re
import sys
import sysconfig
import textwrap
from importlib import metadata, util
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from torch import nn

LIBRARIES = ("torch", "timm", "pytorch_optimizer", "optforge")
_STANDARD = Path(sysconfig.get_path("stdlib")).resolve()


class UnknownContentError(Exception):
    """Code or a value whose content cannot be read; the message says which and why."""


def library_version(module: str) -> str:
    """Return the version of a module's package, without the device for which it was built.

    Returns:
        The version; empty for modules that are not installed, such as Python's own.
    """
    try:
        return metadata.version(module.split(".")[0]).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def is_installed(module: str) -> bool:
    """Return whether a module belongs to Python, to an installed package, or to this library.

    Args:
        module: Dotted name of the module.

    Example:
        >>> is_installed("torch.nn"), is_installed("__main__")
        (True, False)
    """
    package = module.split(".")[0]
    if package in LIBRARIES or package in sys.builtin_module_names:
        return True
    file = getattr(sys.modules.get(package), "__file__", None)
    return package != "__main__" and file is not None and _is_of_package(Path(file).resolve())


def files_digest(module: str, code_file: str = "") -> str | None:
    """Return sixteen digits over the file of a module and the user's files that it imports.

    The location of the files does not matter. A comment counts as much as code.

    Args:
        module: The dotted name of a module.
        code_file: The file that the code names, for a module that is not in ``sys.modules``, as
            after ``importlib.util.module_from_spec`` alone.

    Returns:
        The digits; None if there is no file, as in a notebook or at a prompt.
    """
    loaded = sys.modules.get(module)
    file = code_file if loaded is None else getattr(loaded, "__file__", None)
    if not file or not Path(file).is_file():
        return None
    files = {Path(file).resolve(): str(getattr(loaded, "__package__", "") or "")}
    unread, digest = list(files.items()), hashlib.sha256()
    for path, package in unread:  # grows on the way
        content = path.read_bytes()
        digest.update(hashlib.sha256(content).digest())
        for name in _imports(content):
            imported = _own_file(name, package)
            unread += [item for item in imported.items() if item[0] not in files]
            files |= imported
    return digest.hexdigest()[:16]


def source_text(cls: type) -> str | None:
    """Return a class as normalized text, without comments, layout and docstrings.

    Returns:
        The text; None if there is no source.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def layout_text(model: nn.Module) -> str:
    """Return the printed form of a model: its parts with their settings, without addresses."""
    return re.sub(r"0x[0-9a-f]+", "0x", repr(model))


def _is_of_package(path: Path) -> bool:
    return path.is_relative_to(_STANDARD) or bool(
        {"site-packages", "dist-packages"} & set(path.parts)
    )


@functools.lru_cache(1024)
def _imports(content: bytes) -> tuple[str, ...]:
    """Return the names of modules that a file imports, in functions too; dots for relative ones."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # as for a NUL, or nesting
        return ()
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            dot = "." if node.module else ""
            names |= dict.fromkeys([base, *(f"{base}{dot}{alias.name}" for alias in node.names)])
    return tuple(name for name in names if name.strip("."))


def _own_file(name: str, package: str) -> dict[Path, str]:
    """Return the file that an import reads with its package; empty for installed packages."""
    if name.split(".")[0] in LIBRARIES:
        return {}
    try:
        spec = _find_spec(util.resolve_name(name, package))
    except (ImportError, ValueError, AttributeError):
        return {}
    if spec is None or not spec.has_location or spec.origin is None:
        return {}
    file = Path(spec.origin).resolve()
    is_own = file.suffix == ".py" and file.is_file() and not _is_of_package(file)
    return {file: spec.parent or ""} if is_own else {}


def _find_spec(name: str) -> ModuleSpec | None:
    """Find a module; unlike ``importlib.util.find_spec`` this imports no package above it."""
    if name in sys.modules:
        return sys.modules[name].__spec__
    above = name.rpartition(".")[0]
    if not above:
        return util.find_spec(name)
    package = _find_spec(above)
    if package is None or package.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, package.submodule_search_locations)
