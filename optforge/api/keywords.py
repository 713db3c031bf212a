"""Conversion of an options dataclass to keywords of a verb: names, types, defaults, help texts."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from optforge.errors import OptforgeError, SearchError
from optforge.execution import Workers, choose_workers
from optforge.jobs import Display
from optforge.options import documented
from optforge.runs.guard import disk_errors

Keywords = ParamSpec("Keywords")
Options = TypeVar("Options")
Result = TypeVar("Result")
Old = Mapping[str, str | Callable[[Any], dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """Options of every verb that trains: the machine and the display.

    Args:
        workers: Number of worker processes; by default one per core, or one if a GPU is the
            device; 0 to train in this process only.
        cluster: Address of a Ray cluster to train on, HOST:PORT or ray://HOST:PORT; auto for the
            one that runs here, or a new one on this machine. Without it, this machine's cores.
        watch: A display; nothing is shown by default.
        stop: Called often; return True to end early.
    """

    workers: int | None = None
    cluster: str | None = None
    watch: Display | None = None
    stop: Callable[[], bool] | None = None

    def chosen_workers(
        self, wrong: type[OptforgeError] = SearchError, gpus: bool = False
    ) -> Workers:
        """Return where jobs run; a cluster is joined.

        Raises:
            OptforgeError: If the number cannot be used, or the cluster cannot be reached.
        """
        return choose_workers(self.workers, self.cluster, gpus, wrong)

    @property
    def stopping(self) -> Callable[[], bool]:
        """The function that returns whether to end early."""
        return self.stop or (lambda: False)


def keywords_of(
    options: Callable[Keywords, Options], old: Old | None = None
) -> Callable[[Callable[[Options], Result]], Callable[Keywords, Result]]:
    """Convert a function of an options object into a function of its fields.

    Args:
        options: The dataclass; the function receives its fields as arguments, its signature, and
            the ``Args`` of its docstring.
        old: Former names of keywords, mapped to the present name or to a function that returns
            several present ones from the value; they warn.

    Example:
        >>> @keywords_of(WorkOptions, {"processes": "workers"})
        ... def verb(options: WorkOptions) -> int | None:
        ...     return options.workers
        >>> verb(workers=3)
        3
    """
    signature = _signature(options)

    def wrap(verb: Callable[[Options], Result]) -> Callable[Keywords, Result]:
        @functools.wraps(verb)
        def call(*args: Keywords.args, **keywords: Keywords.kwargs) -> Result:
            named = _renamed(verb.__name__, keywords, old or {})
            bound = signature.bind(*args, **named)
            with disk_errors():
                return verb(options(*bound.args, **bound.kwargs))  # pyright: ignore[reportCallIssue]

        returned = inspect.signature(verb).return_annotation
        vars(call)["__signature__"] = signature.replace(return_annotation=returned)
        call.__doc__ = _with_arguments(verb.__doc__, options)
        return call

    return wrap


def _signature(options: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of an options class, its own keywords before those of its bases."""
    depth: dict[str, int] = {}
    for number, base in enumerate(inspect.getmro(options)):  # pyright: ignore[reportArgumentType]
        for name in vars(base).get("__annotations__", ()):
            depth.setdefault(name, number)
    signature = inspect.signature(options)
    ordered = sorted(
        signature.parameters.values(),
        key=lambda p: depth[p.name] if p.kind is p.KEYWORD_ONLY else -1,
    )
    return signature.replace(parameters=ordered)


def _renamed(verb: str, keywords: Mapping[str, Any], old: Old) -> dict[str, Any]:
    named = {name: value for name, value in keywords.items() if name not in old}
    for name in keywords.keys() & old.keys():
        new = old[name]
        present = {new: keywords[name]} if isinstance(new, str) else new(keywords[name])
        text = f"{verb}({name}=...) is deprecated; write {', '.join(f'{key}=' for key in present)}"
        warnings.warn(f"{text} instead", DeprecationWarning, stacklevel=3)
        named |= present
    return named


def _with_arguments(text: str | None, options: Callable[..., Any]) -> str:
    """Insert the options into a docstring after its opening paragraphs."""
    texts = documented(options)
    fill = textwrap.TextWrapper(100, initial_indent=" " * 4, subsequent_indent=" " * 8).fill
    lines = [fill(f"{name}: {texts[name]}") for name in _signature(options).parameters]
    arguments = "Args:\n" + "\n".join(lines)
    before, *after = re.split(
        r"^(Returns:|Raises:)", inspect.cleandoc(text or ""), maxsplit=1, flags=re.MULTILINE
    )
    return "\n\n".join([before.rstrip(), arguments, "".join(after)]).strip()
