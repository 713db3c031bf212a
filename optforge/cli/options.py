"""Conversion of a verb's options in `optforge.api` to options of its command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape

from optforge.files import split_list
from optforge.options import documented

Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Machine"),
]
PlainDebug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Force = Annotated[
    bool, typer.Option("--force", help="Replace files there that optforge did not write.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def takes(
    options: type,
    panels: Mapping[str, Sequence[str]],
    *,
    argument: str = "",
    flags: Mapping[str, Sequence[str]] | None = None,
    metavars: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Convert a function of the given options into a command that accepts all of them.

    Names, types, defaults and help texts come from the dataclass. Options that are not given are
    left out, so that the Python defaults apply. Several names may be separated by commas or given
    one after the other.

    Args:
        options: The dataclass.
        panels: Names of the options under each heading of the help.
        argument: The option that is a positional argument.
        flags: Spellings of options that differ from ``--name``.
        metavars: Placeholders of values in the help.
        more: Further help texts, for the command line only.
    """
    texts, hints = documented(options), get_type_hints(options)
    defaults = inspect.signature(options).parameters

    def parameter(name: str, panel: str | None) -> inspect.Parameter:
        kind, default = _kind(hints[name]), defaults[name].default
        words = {
            "help": _help(texts[name] + (more or {}).get(name, ""), default, defaults),
            "show_default": False,
        }
        words["metavar"] = (metavars or {}).get(name, "NAME,..." if kind == list[str] else None)
        if name == argument:
            kind, info, default = str, typer.Argument(**words), inspect.Parameter.empty
        else:
            written = (flags or {}).get(name) or [_flag(name, kind, default)]
            info, default = typer.Option(*written, rich_help_panel=panel, **words), None
            kind = kind | None
        place = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, place, default=default, annotation=Annotated[kind, info])

    named = [parameter(argument, None)] if argument else []
    named += [parameter(name, panel or None) for panel, names in panels.items() for name in names]

    def wrap(body: Callable[..., None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            chosen = {p.name: values.pop(p.name) for p in named}
            chosen = {n: _value(hints[n], v) for n, v in chosen.items() if v is not None}
            body(chosen, **values)

        body_hints = get_type_hints(body, include_extras=True)
        _, *rest = inspect.signature(body).parameters.values()
        more = [p.replace(kind=p.KEYWORD_ONLY, annotation=body_hints[p.name]) for p in rest]
        command.__name__, command.__doc__ = body.__name__, body.__doc__
        vars(command)["__signature__"] = inspect.Signature([*named, *more])
        command.__annotations__ = {p.name: p.annotation for p in (*named, *more)}
        return command

    return wrap


def names_in(texts: Sequence[str]) -> list[str]:
    """Return names separated by commas or given one after the other.

    Example:
        >>> names_in(["adamw, lion", "sgd"])
        ['adamw', 'lion', 'sgd']
    """
    return [name for text in texts for name in split_list(text)]


def _flag(name: str, kind: Any, default: Any) -> str:
    flag = name.replace("_", "-")
    return f"--{flag}/--no-{flag}" if kind is bool and default is not False else f"--{flag}"


def _help(text: str, default: Any, names: Mapping[str, Any]) -> str:
    for name in names:
        text = text.replace(f"``{name}``", f"--{name.replace('_', '-')}")
    text = escape(text.replace("``", ""))
    if default in (None, "", ()) or isinstance(default, bool) or default is inspect.Parameter.empty:
        return text
    shown = ",".join(map(_plain, default)) if isinstance(default, tuple) else _plain(default)
    return f"{text} [dim]Default: {shown}.[/]"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kind(hint: Any) -> Any:
    """Return the command-line type for a Python type: a switch, a number, names, or a text."""
    members = _members(hint)
    for kind in (bool, float, int):
        if kind in members:
            return kind
    return list[str] if any(_has_names(m) or get_origin(m) is Mapping for m in members) else str


def _value(hint: Any, value: Any) -> Any:
    split = isinstance(value, list) and any(map(_has_names, _members(hint)))
    return names_in(value) if split else value


def _has_names(hint: Any) -> bool:
    inside = get_args(hint) if get_origin(hint) in (Sequence, tuple) else ()
    return any(str in _members(part) for part in inside)


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)
