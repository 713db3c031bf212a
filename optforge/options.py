"""The fields of options: checked by their type as soon as they are given, made plain, explained."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy

from optforge.errors import OptforgeError, real_number, whole_number

Wrong = type[OptforgeError]
_ARGUMENT = re.compile(r" {4}(\w+): (.*)")


def with_plain_fields(options: object, wrong: Wrong) -> None:
    """Make the fields of a frozen dataclass plain Python values, by their types.

    Numbers of NumPy and of others become Python's, lists become tuples. Texts, paths and switches
    are checked. What has another type is left as it is.

    Args:
        options: The instance, in its ``__post_init__``.
        wrong: What to raise for a value of another kind.

    Raises:
        OptforgeError: If a field is not of its kind.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Options:
        ...     trials: int
        ...     def __post_init__(self):
        ...         with_plain_fields(self, OptforgeError)
        >>> Options(1.5)
        Traceback (most recent call last):
        optforge.errors.OptforgeError: trials is 1.5; it must be a whole number
    """
    for field in fields(options):  # type: ignore[arg-type]
        value, kind = getattr(options, field.name), str(field.type)
        base = kind.removesuffix(" | None")
        if base in _KINDS and (value is not None or base == kind):
            object.__setattr__(options, field.name, _KINDS[base](field.name, value, wrong))


def plain_value(value: Any) -> Any:
    """Return a value with Python's numbers in the place of NumPy's, in lists and tuples too.

    Example:
        >>> plain_value((numpy.int64(3), [numpy.float32(0.5)])), plain_value(numpy.arange(2))
        ((3, [0.5]), [0, 1])
    """
    if isinstance(value, numpy.generic | numpy.ndarray):
        return value.tolist()
    if type(value) not in (list, tuple):
        return value
    items = type(value)(map(plain_value, value))
    changed = any(new is not old for new, old in zip(items, value, strict=True))
    return items if changed else value  # the same one, where there is nothing to change


def items_of(name: str, value: Any, kind: str, wrong: Wrong = OptforgeError) -> tuple[Any, ...]:
    """Return the items of a setting that is a list; a text is none, although it has letters.

    Args:
        name: Of the setting, for the error.
        value: What was given.
        kind: What the items are, in the plural.
        wrong: What to raise.

    Raises:
        OptforgeError: If it has no items.

    Example:
        >>> items_of("seeds", [3, 4], "whole numbers")
        (3, 4)
    """
    try:
        items = None if isinstance(value, str) else tuple(value)
    except TypeError:
        items = None
    if items is None:
        raise wrong(f"{name} is {value!r}; it must be a list of {kind}")
    return items


def mapping_of(name: str, value: Any, wrong: Wrong = OptforgeError) -> Mapping[str, Any]:
    """Return a setting that maps names to values; None is an empty one.

    Args:
        name: Of the setting, for the error.
        value: What was given.
        wrong: What to raise.

    Raises:
        OptforgeError: If it is no mapping, or a key is no text.

    Example:
        >>> mapping_of("fixed", None), mapping_of("fixed", {"steps": 10})
        ({}, {'steps': 10})
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise wrong(f"{name} is {value!r}; it must map names to values, as in {{'steps': 10}}")
    return value


def _real(name: str, value: Any, wrong: Wrong) -> float:
    return real_number(name, value, infinite=True, wrong=wrong)


def _switch(name: str, value: Any, wrong: Wrong) -> bool:
    try:
        is_switch = getattr(value, "ndim", 0) == 0 and value in (True, False)  # NumPy's as well
    except (TypeError, ValueError):  # what cannot be compared, as pandas.NA
        is_switch = False
    if not is_switch:
        raise wrong(f"{name} is {value!r}; it must be True or False")
    return bool(value)


def _text(name: str, value: Any, wrong: Wrong) -> Any:
    # Other plain values are taken, or refused with the allowed ones, where the text is read.
    if not isinstance(value, str | int | float | list | tuple):
        raise wrong(f"{name} is {value!r}; it must be a text")
    return value


def _path(name: str, value: Any, wrong: Wrong) -> Any:
    if not isinstance(value, str | os.PathLike):
        raise wrong(f"{name} is {value!r}; it must be a name or a path")
    return value


def _names(name: str, value: Any, wrong: Wrong) -> Any:
    return value if isinstance(value, str) else items_of(name, value, "names", wrong)


def _whole_numbers(name: str, value: Any, wrong: Wrong) -> tuple[int, ...]:
    numbers = items_of(name, value, "whole numbers", wrong)
    return tuple(whole_number(f"a number of {name}", number, wrong=wrong) for number in numbers)


def _whole(name: str, value: Any, wrong: Wrong) -> int:
    return whole_number(name, value, wrong=wrong)


_KINDS: Mapping[str, Callable[[str, Any, Wrong], Any]] = {
    "int": _whole,
    "float": _real,
    "bool": _switch,
    "str": _text,
    "str | Path": _path,
    "tuple[str, ...]": _names,
    "tuple[int, ...]": _whole_numbers,
}


def documented(options: Callable[..., Any]) -> dict[str, str]:
    """Return the help text of each option, from the docstrings of its class and base classes.

    Example:
        >>> class Named:
        ...     '''Something with a name.
        ...
        ...     Args:
        ...         name: Its name.
        ...     '''
        >>> documented(Named)
        {'name': 'Its name.'}
    """
    texts: dict[str, list[str]] = {}
    for base in reversed(inspect.getmro(options)):  # pyright: ignore[reportArgumentType]
        block = inspect.cleandoc(vars(base).get("__doc__") or "").partition("\nArgs:\n")[2]
        lines: list[str] = []
        for line in block.partition("\n\n")[0].splitlines():
            if match := _ARGUMENT.fullmatch(line):
                lines = texts[match[1]] = [match[2]]
            else:
                lines.append(line.strip())
    return {name: " ".join(lines) for name, lines in texts.items()}
