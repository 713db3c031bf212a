"""Options of a training script: one dataclass holds the values, the checks and the command line.

Example:
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Config:
    ...     steps: int = option(10, "optimizer steps", "count")
    ...     def __post_init__(self) -> None:
    ...         check_options(self)
    >>> make_parser(Config, "Train.").parse_args(["--steps", "3"])
    Namespace(steps=3)
"""

from __future__ import annotations

import argparse
import math
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from torch import distributed

from optforge.errors import OptforgeError


class TrainingError(OptforgeError):
    """A training that cannot be set up, resumed or continued."""


# By name: what values are allowed, in words and as a test.
ALLOWED = {
    "any": ("anything", lambda x: True),
    "positive": ("a number above 0", lambda x: 0 < x < math.inf),
    "not negative": ("a number of at least 0", lambda x: 0 <= x < math.inf),
    "limit": ("a number above 0, or inf", lambda x: x > 0),
    "share": ("a number from 0 to below 1", lambda x: 0 <= x < 1),
    "count": ("a whole number of at least 1", lambda x: type(x) is int and x >= 1),
    "whole": ("a whole number of at least 0", lambda x: type(x) is int and x >= 0),
}


def read_presets(script: str) -> dict[str, dict[str, Any]]:
    """Return the presets of a script by name, from ``presets/SCRIPT.toml``."""
    path = Path(__file__).parent / "presets" / f"{script}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def preset_settings(
    config: type, presets: Mapping[str, Any], name: str, optimizer: str
) -> dict[str, Any]:
    """Return what a preset sets of the options, and of those of its optimizer.

    Raises:
        TrainingError: If there is no such preset.
    """
    if name not in presets:
        raise TrainingError(f"unknown preset {name!r}; there are: {', '.join(presets)}")
    row = presets[name]
    known = {setting.name: row[setting.name] for setting in fields(config) if setting.name in row}
    return {"preset": name, "optimizer": optimizer, **known, **row["optimizers"].get(optimizer, {})}


def option(default: Any, text: str, allowed: str = "any", *, may_change: bool = False) -> Any:
    """Describe a field of a configuration.

    Args:
        default: Its default value.
        text: Its help text.
        allowed: A key of `ALLOWED`, for each element of a tuple, or names separated by ``|``. None
            is always allowed.
        may_change: Whether a training that is resumed may have another value.
    """
    metadata = {"text": text, "allowed": allowed, "may_change": may_change}
    return field(default=default, metadata=metadata)


session = partial(option, may_change=True)  # an option of this session alone


def check_options(config: Any) -> None:
    """Check every field of a configuration; lists, as TOML has them, become tuples.

    Raises:
        TrainingError: Naming the value and what is allowed.
    """
    for setting in fields(config):
        value = getattr(config, setting.name)
        if isinstance(value, list):
            value = tuple(value)
            object.__setattr__(config, setting.name, value)
        if str(setting.type).startswith("tuple") and value is not None and len(value) != 2:
            raise TrainingError(f"{setting.name} is {value}; it must be two numbers")
        for part in value if isinstance(value, tuple) else (value,):
            allowed = _objection(part, setting.metadata["allowed"])
            if allowed:
                raise TrainingError(f"{setting.name} is {part!r}; it must be {allowed}")


def _objection(value: Any, allowed: str) -> str:
    """Return what is allowed if the value is not."""
    names = allowed.split("|")
    if len(names) > 1:
        return "" if value in names else " or ".join(names)
    text, holds = ALLOWED[allowed]
    return "" if value is None or holds(value) else text


def fixed_options(config: Any) -> dict[str, Any]:
    """Return the options that a training that is resumed must have unchanged."""
    return {f.name: getattr(config, f.name) for f in fields(config) if not f.metadata["may_change"]}


def run_command(
    config: type,
    presets: Mapping[str, Any],
    train: Callable[..., Any],
    text: str,
    arguments: list[str] | None,
) -> None:
    """Run the command line of a script: list its presets, or train one, several or all.

    Args:
        config: The dataclass of the options.
        presets: The presets by name.
        train: Takes a preset's ``name`` and the options that were given.
        text: Help text.
        arguments: The words of the command line; None for those of this process.
    """
    parser = make_parser(config, text)
    parser.add_argument("presets", nargs="*", help="one or several, or all")
    parser.add_argument("--list", action="store_true", help="list the presets")
    values = vars(parser.parse_args(arguments))
    names = values.pop("presets", [])
    if values.pop("list", False):
        print("\n".join(_row(name, preset) for name, preset in presets.items()))
        return
    if not names or not {"data", "out"} <= values.keys():
        parser.error("a preset, --data and --out must be given; --list shows the presets")
    several, out = len(names) > 1 or names == ["all"], Path(values.pop("out"))
    try:
        for name in presets if names == ["all"] else names:
            train(name=name, out=str(out / name if several else out), **values)
    except OptforgeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nstopped; --resume continues from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _row(name: str, row: Mapping[str, Any]) -> str:
    length = f"{row['steps']:,} steps" if "steps" in row else f"{row.get('epochs', '-')} epochs"
    size = f"{row['parameters']:g} M parameters, {length}"
    rates = (f"{k} {v['lr']:g}, {v['weight_decay']:g}" for k, v in row["optimizers"].items())
    return f"{name:20} {row['dataset']:13} {size:32} lr, weight decay: {'; '.join(rates)}"


def make_parser(config: type, text: str) -> argparse.ArgumentParser:
    """Return a parser with an option for each field; presets are read by `run_command`."""
    parser = argparse.ArgumentParser(
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    for setting in fields(config):
        keywords = _keywords(setting)
        if keywords is not None and setting.name != "preset":
            default = "" if setting.default in (None, "", False) else f" [{setting.default}]"
            name, text = "--" + setting.name.replace("_", "-"), setting.metadata["text"] + default
            parser.add_argument(name, help=text.replace("%", "%%"), **keywords)
    return parser


def _keywords(setting: Field[Any]) -> dict[str, Any] | None:
    """Return how argparse reads a field of this type; None if only a preset can set it."""
    kind = str(setting.type).removesuffix(" | None")
    if kind == "bool":
        return {"action": "store_true"}
    if kind.startswith("tuple"):
        return {"type": float if "float" in kind else int, "nargs": 2, "metavar": ("A", "B")}
    known = {"int": int, "float": float, "str": str}.get(kind)
    return known and {"type": known, "metavar": kind.upper()}
