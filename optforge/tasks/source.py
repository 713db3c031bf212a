"""Classes as text that changes where what they do changes: source, or code where there is none."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import CodeType
from typing import Any

from torch import nn


def source_text(cls: type) -> str | None:
    """The class as normal text, so that comments, layout and documentation change nothing.

    Returns:
        The text; None where there is no source, for a class that was typed into a session or
        a notebook, or was built at run time.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def code_text(cls: type) -> str:
    """The byte code of a class's methods, for a class without source; without documentation."""
    lines = [cls.__qualname__]
    for name, value in sorted(vars(cls).items()):
        for function in _functions(value):
            defaults = function.__defaults__, function.__kwdefaults__
            lines += [name, _plain(repr(defaults)), *_code(function.__code__, function.__doc__)]
    return "\n".join(lines)


def layout_text(model: nn.Module) -> str:
    """The model as it prints itself: its parts with their settings, without addresses."""
    return _plain(repr(model))


def _functions(value: Any) -> Iterator[Any]:
    """The functions behind an attribute: of methods, properties and what wraps them."""
    parts = [value, *(getattr(value, n, None) for n in ("__func__", "func", "fget", "fset"))]
    for part in parts:
        function = inspect.unwrap(part) if callable(part) else part
        if inspect.isfunction(function):
            yield function


def _code(code: CodeType, documentation: str | None = None) -> Iterator[str]:
    yield code.co_code.hex()
    yield " ".join(code.co_names)
    for place, value in enumerate(code.co_consts):
        if isinstance(value, CodeType):
            yield from _code(value)
        elif isinstance(value, frozenset):  # its order is that of the hashes of this process
            yield repr(sorted(map(repr, value)))
        elif place or value != documentation:  # documentation is the first constant
            yield repr(value)


def _plain(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", text)
