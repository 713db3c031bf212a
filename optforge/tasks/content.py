"""What a class, function or value of one's own consists of, as text that changes with its content.

A name alone would let an edited class, or two functions of one factory, pass for the same. What
comes from an installed package is known by its name and version, all else by its content: byte
code, constants, default values, what is closed over, and what is named in its module.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata, util
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import cloudpickle
import numpy as np
import torch

LIBRARIES = ("torch", "timm", "pytorch_optimizer", "optforge")
_DIGITS = 16
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
# What Python writes into a class without being asked; lines and comments decide nothing.
UNTOLD = {"__module__", "__doc__", "__dict__", "__weakref__", "__firstlineno__", "__qualname__",
           "__static_attributes__", "__annotations__", "__parameters__", "__abstractmethods__",
           "__dataclass_fields__", "__dataclass_params__", "_abc_impl"}  # fmt: skip
_STANDARD = Path(sysconfig.get_path("stdlib")).resolve()
# What was described already: its number, by id; the value is kept alive, or ids would be reused.
Seen = dict[int, tuple[int, Any]]


class UnknowableError(Exception):
    """A value that cannot be told from others, such as a lock; says which and why."""


def content_of(values: Iterable[Any], known: Iterable[Any] = ()) -> str:
    """Sixteen digits over everything that these values consist of.

    Args:
        values: Anything.
        known: What is not described wherever the values hold it.

    Raises:
        UnknowableError: If one holds a value that cannot be told from others.

    Example:
        >>> content_of([lambda x, lr=0.1: x]) == content_of([lambda x, lr=0.2: x])
        False
    """
    digest = hashlib.sha256()
    seen: Seen = {id(one): (place, one) for place, one in enumerate(known)}
    for value in values:
        # Functions and classes that are asked about are looked into, wherever they come from.
        parts = _entered if isinstance(value, FunctionType | type) else _parts
        for part in parts(value, seen):
            digest.update(part.encode(errors="replace") + b"\0")
    return digest.hexdigest()[:_DIGITS]


def library_version(package: str) -> str:
    """The version of an installed package, without what says for which device it was built."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def is_named(value: Any) -> bool:
    """Whether a class or function of an installed package is known by its name and version."""
    if not isinstance(value, type | FunctionType) or getattr(value, "__closure__", None):
        return False
    return is_installed(str(value.__module__))


@functools.cache
def is_installed(module: str) -> bool:
    """Whether a module, by its dotted name, is Python's own, of a package, or of this library."""
    package = module.split(".")[0]
    if package in LIBRARIES or package in sys.builtin_module_names:
        return True
    file = getattr(sys.modules.get(package), "__file__", None)
    if package == "__main__" or file is None:
        return False
    return _is_of_package(Path(file).resolve())


def package_of(value: Any) -> str:
    """The first part of the name of the module that a value comes from."""
    return module_of(value).split(".")[0]


def module_of(value: Any) -> str:
    """The name of the module that a value, or else its class, comes from."""
    return getattr(value, "__module__", None) or type(value).__module__


def names_in(code: CodeType) -> set[str]:
    """Names of globals and attributes in a function's code and in the functions inside of it."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*(names_in(one) for one in inner))


def _is_of_package(path: Path) -> bool:
    return path.is_relative_to(_STANDARD) or bool(
        {"site-packages", "dist-packages"} & set(path.parts)
    )


def _parts(value: Any, seen: Seen) -> Iterator[str]:
    """Describe a value, piece by piece."""
    if isinstance(value, _PLAIN) and not isinstance(value, enum.Enum):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, CodeType):
        yield from _code(value, seen)
    elif isinstance(value, tuple | set | frozenset):
        yield from _collection(value, seen)
    elif is_named(value):
        yield f"{value.__module__}.{value.__qualname__} {library_version(package_of(value))}"
    elif id(value) in seen:
        yield f"again {seen[id(value)][0]}"
    else:
        yield from _entered(value, seen)


def _entered(value: Any, seen: Seen) -> Iterator[str]:
    seen[id(value)] = len(seen), value
    if isinstance(value, ModuleType):
        yield f"module {value.__name__}"
    elif isinstance(value, list | dict):
        items = list(value.items()) if isinstance(value, dict) else value
        yield from _collection(items, seen)
    elif isinstance(value, FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, type):
        yield from _class(value, seen)
    else:
        yield from _object(value, seen)


def _collection(values: Any, seen: Seen) -> Iterator[str]:
    yield f"{type(values).__name__} {len(values)}"
    if isinstance(values, set | frozenset):  # their order changes from process to process
        yield from sorted("\0".join(_parts(one, dict(seen))) for one in values)
        return
    for one in values:
        yield from _parts(one, seen)


def _code(code: CodeType, seen: Seen, documentation: str | None = None) -> Iterator[str]:
    yield f"code {code.co_code.hex()}"
    constants = code.co_consts
    if documentation is not None and constants[:1] == (documentation,):
        constants = (None, *constants[1:])
    for names in (code.co_names, code.co_varnames, code.co_freevars, constants):
        yield from _collection(names, seen)


def _function(function: Any, seen: Seen) -> Iterator[str]:
    if getattr(function, "hooked", False):  # torch wraps `step` when a class is first used
        function = function.__wrapped__
    yield f"function {function.__name__}"
    yield from _code(function.__code__, seen, function.__doc__)
    yield from _parts((function.__defaults__, function.__kwdefaults__), seen)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen)
        except ValueError:  # a name that was never assigned
            yield "empty"
    around = function.__globals__
    if is_installed(str(around.get("__name__", ""))):
        return
    yield from _globals(around, names_in(function.__code__), seen, set())
    yield from _imported(function.__code__, str(around.get("__package__") or ""))


def _globals(
    around: dict[str, Any], names: set[str], seen: Seen, modules: set[str]
) -> Iterator[str]:
    """What names stand for in a module, and in the modules of one's own that these stand for."""
    for name in sorted(names & around.keys()):
        value = around[name]
        yield f"global {name}"
        if not isinstance(value, ModuleType) or is_installed(value.__name__):
            yield from _parts(value, seen)
        elif value.__name__ not in modules:
            modules.add(value.__name__)
            yield from _globals(vars(value), names, seen, modules)


def _imported(code: CodeType, package: str) -> Iterator[str]:
    """The files of one's own that a function imports when it runs; they may not be loaded yet."""
    constants: list[Any] = []
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            constants.append(step.argval)
        elif step.opname == "IMPORT_NAME":
            level = constants[-2] if len(constants) > 1 else 0
            yield from _file_of("." * level + step.argval, package)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _imported(const, package)


def _file_of(name: str, package: str) -> Iterator[str]:
    try:
        found = util.find_spec(name, package or None)
    except Exception:  # there is none, or what lies above it cannot be imported
        return
    if found is None or not found.has_location or found.name.split(".")[0] in LIBRARIES:
        return
    file = Path(found.origin or "").resolve()
    if file.is_file() and not _is_of_package(file):
        yield f"imports {_hex(file.read_bytes())}"


def _class(cls: type, seen: Seen) -> Iterator[str]:
    yield f"class {cls.__name__}"
    yield from _collection(cls.__bases__, seen)
    for name, value in sorted(vars(cls).items()):
        if name not in UNTOLD:
            yield f"attribute {name}"
            yield from _parts(value, seen)


def _object(value: Any, seen: Seen) -> Iterator[str]:
    if isinstance(value, functools.partial):
        yield from _parts(("partial", value.func, value.args, value.keywords), seen)
    elif isinstance(value, MethodType):
        yield from _parts(("method", value.__func__, value.__self__), seen)
    elif isinstance(value, staticmethod | classmethod):
        yield from _parts((type(value).__name__, value.__func__), seen)
    elif isinstance(value, property):
        yield from _parts(("property", value.fget, value.fset), seen)
    elif isinstance(value, functools.cached_property):
        yield from _parts(("cached", value.func), seen)
    elif (wrapped := getattr(value, "__wrapped__", None)) is not None:  # by `functools.lru_cache`
        yield from _parts(("wrapped", wrapped), seen)
    elif inspect.isroutine(value):
        yield f"{module_of(value)}.{value.__qualname__}"
    elif isinstance(value, enum.Enum):
        yield from _parts((type(value), value.name, value.value), seen)
    elif isinstance(value, torch.Tensor | np.ndarray):
        yield _array(value)
    elif not is_installed(type(value).__module__) or (
        callable(value) and hasattr(value, "__dict__")
    ):  # never pickled: a class of one's own has another pickle in every process
        yield from _parts((type(value), object.__getstate__(value)), seen)
    else:
        yield _pickled(value)


def _array(value: torch.Tensor | np.ndarray) -> str:
    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        plain = torch.view_as_real(value) if value.is_complex() else value
        content = plain.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return f"tensor {value.dtype} {tuple(value.shape)} {_hex(content)}"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array {value.dtype} {value.shape} {_hex(value.tobytes())}"
    return _pickled(value)


def _pickled(value: Any) -> str:
    try:
        return _hex(cloudpickle.dumps(value))
    except Exception as error:
        raise UnknowableError(
            f"a {type(value).__qualname__} that cannot be told from others "
            f"({type(error).__name__}: {error})"
        ) from error


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
