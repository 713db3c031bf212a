"""The errors that optforge raises on purpose: what was received, what is allowed, what to do."""

from __future__ import annotations

import errno
import math
import numbers
import operator
import re
from collections.abc import Iterator
from contextlib import contextmanager


class OptforgeError(Exception):
    """Base of every error a user can cause; the command line prints it as one plain sentence."""


class ProgramError(OptforgeError):
    """A program text or program that is not valid.

    Args:
        reason: What is wrong and what is allowed.
        line: The line of the text, counted from 1, where there is one.

    Example:
        >>> str(ProgramError("unknown function 'foo'", line=3))
        "line 3: unknown function 'foo'"
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


class TaskError(OptforgeError):
    """A task that cannot be built, found or trained."""


class RunError(OptforgeError):
    """A run directory or journal that cannot be created, read, resumed or written."""


class SearchError(OptforgeError):
    """Settings of a search that contradict each other or the warm start."""


class OptimizerError(OptforgeError, ValueError):
    """Settings, gradients or states that an optimizer refuses; a `ValueError` too, as in torch."""


class NonFiniteError(OptimizerError):
    """A gradient with infinite or NaN elements, where the policy is to raise."""


class SimplifyError(OptforgeError):
    """A simplification whose check failed, or one that was asked for something it cannot do."""


class FunnelError(OptforgeError):
    """A funnel whose ladder, script or options cannot be used."""


class CompareError(OptforgeError):
    """A comparison, recipe or suite that cannot be read, run or resumed."""


class StoppedError(Exception):
    """Leaves work when a stop is asked for; what was finished is kept where it is resumed from."""


class TimeIsUpError(Exception):
    """Leaves work when its time is used up; what was finished is kept."""


def one_line(error: BaseException) -> str:
    """Return kind and text of an error in one line.

    Example:
        >>> one_line(ValueError("too\\nlong"))
        'ValueError: too long'
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory was missing: for Python, for torch, for a library or a process.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("no"))
        (True, False)
    """
    is_system = isinstance(error, OSError) and error.errno == errno.ENOMEM
    said = _NO_MEMORY.search(str(error)) is not None
    return isinstance(error, MemoryError) or is_system or said


_NO_MEMORY = re.compile("(can't|cannot) allocate memory|failed to map segment", re.IGNORECASE)


# What stored values of a wrong kind raise; the recursion is of what is nested too deeply.
WRONG_VALUES = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(RecursionError, StopIteration),
)
# What code of the user's may raise without ending the process: the second is of ``sys.exit()``.
USERS_ERRORS = (Exception, SystemExit)


@contextmanager
def reading(what: object, advice: str, wrong: type[OptforgeError] = RunError) -> Iterator[None]:
    """Turn what stored values of a wrong kind raise into one sentence.

    Args:
        what: What is read, for instance a file.
        advice: What to do.
        wrong: What to raise.

    Raises:
        OptforgeError: If the values are not what optforge stores.

    Example:
        >>> with reading("table.json", "run the search again"):
        ...     {}["rows"]
        Traceback (most recent call last):
        optforge.errors.RunError: table.json is damaged (KeyError: 'rows'); run the search again
    """
    try:
        yield
    except OptforgeError:
        raise
    except WRONG_VALUES as error:
        raise wrong(f"{what} is damaged ({one_line(error)}); {advice}") from error


MOST = 1_000_000  # of anything that is counted and held; more would end in a lack of memory


def whole_number(
    name: str,
    value: object,
    least: int | None = None,
    wrong: type[OptforgeError] = OptforgeError,
    most: int | None = None,
) -> int:
    """Return a setting as a Python int: NumPy's and others' integers are taken as well.

    Args:
        name: Of the setting, for the error.
        value: What was given.
        least: The least that is allowed; None for no bound.
        wrong: What to raise.
        most: The most that is allowed; None for no bound.

    Raises:
        OptforgeError: If it is no whole number, too small or too large.

    Example:
        >>> whole_number("trials", 3, 1)
        3
    """
    allowed = "a whole number" + ("" if least is None else f" of at least {least}")
    allowed += "" if most is None else f" and at most {most:,}"
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise wrong(f"{name} is {value!r}; it must be {allowed}") from None
    is_small, is_large = least is not None and number < least, most is not None and number > most
    if isinstance(value, bool) or is_small or is_large or number.bit_length() > _DIGITS:
        raise wrong(f"{name} is {_shown(value)}; it must be {allowed}")
    return number


_DIGITS = 4096  # binary ones; Python prints no number that is much longer


def _shown(value: object) -> str:
    """Return a value as text; of a number that is too long for that, how long it is."""
    try:
        return str(value) if isinstance(value, numbers.Real) else repr(value)
    except ValueError:
        return "a number of thousands of digits"


def real_number(
    name: str,
    value: object,
    *,
    above: float = -math.inf,
    infinite: bool = False,
    wrong: type[OptforgeError] = OptforgeError,
) -> float:
    """Return a setting as a Python float: NumPy's and others' real numbers are taken as well.

    Args:
        name: Of the setting, for the error.
        value: What was given.
        above: What it must be above.
        infinite: Whether infinity is allowed, as no limit.
        wrong: What to raise.

    Raises:
        OptforgeError: If it is no real number, not finite where it must be, or too small.

    Example:
        >>> real_number("minutes", 3, above=0)
        3.0
    """
    bound = "" if above == -math.inf else f" above {above:g}"
    allowed = f"a number{bound}" + (", or inf for no limit" if infinite else "")
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong(f"{name} is {value!r}; it must be {allowed}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not number > above or (number == math.inf and not infinite):
        raise wrong(f"{name} is {_shown(value)}; it must be {allowed}")
    return number


_AMOUNT = re.compile(r"(\d+(?:\.\d*)?) ?([kmgt]?)b?")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_MOST = 2.0**62  # bytes; what is more, infinity too, is as good as no bound


def byte_count(
    name: str, value: object, least: str, wrong: type[OptforgeError] = OptforgeError
) -> int:
    """Return an amount of memory in bytes.

    Args:
        name: Of the setting, for the error.
        value: What was given: a number of bytes, or a text with a unit.
        least: The least that is allowed, as a text.
        wrong: What to raise.

    Raises:
        OptforgeError: If it is no amount of memory, or too small.

    Example:
        >>> byte_count("max_memory", "2.5 GB", least="1MB")
        2500000000
    """
    count = _bytes(value)
    if count < _bytes(least):
        raise wrong(
            f"{name} is {value!r}; it must be at least {least}, as bytes or with a unit, such as "
            '"500MB" or "2GB"'
        )
    return count


def _bytes(value: object) -> int:
    match = _AMOUNT.fullmatch(str(value).strip().lower())
    return int(min(float(match[1]) * _UNITS[match[2]], _MOST)) if match else -1
