"""Tables of plain values as pandas data frames; pandas is imported only then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optforge.errors import OptforgeError
from optforge.statistics import Interval

if TYPE_CHECKING:
    from pandas import DataFrame


def to_frame(rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Return rows of plain values as a data frame.

    Args:
        rows: Rows of values by column name.

    Raises:
        OptforgeError: If pandas is not installed.

    Example:
        >>> to_frame([{"task": "mnist_mlp", "loss": 0.5}]).shape
        (1, 2)
    """
    try:
        import pandas
    except ImportError:
        raise OptforgeError(
            "a data frame needs pandas, which is not installed; install it with "
            "pip install 'optforge[pandas]'"
        ) from None
    return pandas.DataFrame.from_records(list(rows))


def interval_columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return an interval as three columns: ``name``, ``name_low``, ``name_high``.

    Example:
        >>> interval_columns("loss", None)
        {'loss': None, 'loss_low': None, 'loss_high': None}
    """
    ends = (interval.mean, interval.low, interval.high) if interval else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
