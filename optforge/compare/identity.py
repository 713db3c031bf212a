"""What makes two optimizers the same: the version of a library, or the content of one's own code.

A name alone would let an edited class, or two functions of one factory, share finished cells.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import cloudpickle

from optforge.errors import CompareError

LIBRARIES = ("torch", "timm", "pytorch_optimizer", "optforge")
_DIGITS = 16
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
# What Python writes into a class without being asked; lines and comments decide nothing.
_UNTOLD = {"__module__", "__doc__", "__dict__", "__weakref__", "__firstlineno__", "__qualname__",
           "__static_attributes__", "__annotations__", "__parameters__",
           "_abc_impl"}  # fmt: skip
_STANDARD = Path(sysconfig.get_path("stdlib")).resolve()
Seen = dict[int, Any]  # what was described already, by id; kept alive, or ids would be used again


def identity_of(maker: Callable[..., Any]) -> str:
    """Tell an optimizer's class or function from all others, in any process and at any time.

    Args:
        maker: Takes parameters and keywords.

    Returns:
        Its qualified name, with the version of its package if it comes from an installed one,
        else with a hash of its code: bytecode, constants, default values, what it closes over,
        and what it names in its module.

    Raises:
        CompareError: If it holds a value that cannot be told from others.

    Example:
        >>> import torch
        >>> identity_of(torch.optim.SGD).split()[0]
        'torch.optim.sgd.SGD'
    """
    name = f"{_module(maker)}.{getattr(maker, '__qualname__', type(maker).__qualname__)}"
    if _named(maker):
        return f"{name} {library_version(_package(maker))}"
    return f"{name} {content_hash(maker)}"


def library_version(package: str) -> str:
    """The version of an installed package, without what says for which device it was built."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def content_hash(value: Any) -> str:
    """Sixteen digits over everything that a value consists of.

    Example:
        >>> content_hash(lambda p, lr=0.1: None) == content_hash(lambda p, lr=0.2: None)
        False
    """
    digest = hashlib.sha256()
    for part in _entered(value, {}):
        digest.update(part.encode(errors="replace") + b"\0")
    return digest.hexdigest()[:_DIGITS]


def _parts(value: Any, seen: Seen) -> Iterator[str]:
    """Describe a value, piece by piece: what is installed by its name, all else by its content."""
    if isinstance(value, _PLAIN):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, CodeType):
        yield from _code(value, seen)
    elif isinstance(value, tuple | set | frozenset):
        yield from _collection(value, seen)
    elif _named(value):
        yield f"{value.__module__}.{value.__qualname__} {library_version(_package(value))}"
    elif id(value) in seen:
        yield "again"
    else:
        seen[id(value)] = value
        yield from _entered(value, seen)


def _entered(value: Any, seen: Seen) -> Iterator[str]:
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


def _code(code: CodeType, seen: Seen) -> Iterator[str]:
    yield f"code {code.co_code.hex()}"
    for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_consts):
        yield from _collection(names, seen)


def _function(function: Any, seen: Seen) -> Iterator[str]:
    if getattr(function, "hooked", False):  # torch wraps `step` when a class is first used
        function = function.__wrapped__
    yield f"function {function.__name__}"
    yield from _code(function.__code__, seen)
    yield from _parts((function.__defaults__, function.__kwdefaults__), seen)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen)
        except ValueError:  # a name that was never assigned
            yield "empty"
    around = function.__globals__
    if _installed(str(around.get("__name__", ""))):
        return
    for name in sorted(_names(function.__code__) & around.keys()):
        yield f"global {name}"
        yield from _parts(around[name], seen)


def _names(code: CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*(_names(one) for one in inner))


def _class(cls: type, seen: Seen) -> Iterator[str]:
    yield f"class {cls.__name__}"
    yield from _collection(cls.__bases__, seen)
    for name, value in sorted(vars(cls).items()):
        if name not in _UNTOLD:
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
    elif inspect.isroutine(value):
        yield f"{_module(value)}.{value.__qualname__}"
    elif callable(value) and hasattr(value, "__dict__"):
        yield from _parts((type(value), vars(value)), seen)
    else:
        yield _pickled(value)


def _pickled(value: Any) -> str:
    try:
        return hashlib.sha256(cloudpickle.dumps(value)).hexdigest()
    except Exception as error:
        raise CompareError(
            f"an optimizer holds a {type(value).__qualname__} that cannot be told from others "
            f"({type(error).__name__}: {error}), so that its runs could not be kept; "
            "give it plain values or tensors"
        ) from error


def _named(value: Any) -> bool:
    """Whether a class or function of an installed package is known by its name and version."""
    if not isinstance(value, type | FunctionType) or getattr(value, "__closure__", None):
        return False
    return _installed(value.__module__)


@functools.cache
def _installed(module: str) -> bool:
    package = module.split(".")[0]
    if package in LIBRARIES or package in sys.builtin_module_names:
        return True
    file = getattr(sys.modules.get(package), "__file__", None)
    if package == "__main__" or file is None:
        return False
    path = Path(file).resolve()
    return path.is_relative_to(_STANDARD) or bool(
        {"site-packages", "dist-packages"} & set(path.parts)
    )


def _package(value: Any) -> str:
    return _module(value).split(".")[0]


def _module(value: Any) -> str:
    return getattr(value, "__module__", None) or type(value).__module__
