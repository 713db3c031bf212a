"""A small line plot of braille characters, each with two columns and four rows of dots."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def plot(values: Sequence[float], width: int, height: int) -> list[str]:
    """Draw values from left to right, the largest at the top; values not finite are left out.

    Args:
        values: Values to draw; they are thinned out or stretched to fit the width.
        width: Width in characters.
        height: Height in lines.

    Example:
        >>> plot([3.0, 2.0, 2.0, 1.0], width=2, height=1)
        ['⠱⢄']
    """
    columns = _columns(values, 2 * width)
    finite = [value for value in columns if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    rows = 4 * height - 1
    grid = [[0] * width for _ in range(height)]
    before: int | None = None
    for column, value in enumerate(columns):
        if not math.isfinite(value):
            before = None
            continue
        row = round(rows * (high - value) / (high - low)) if high > low else rows
        # A step is drawn as a vertical line, so that the curve hangs together.
        start = row if before is None else min(before + (row > before), row)
        for dot in range(start, row + 1) if start <= row else range(row, (before or row)):
            grid[dot // 4][column // 2] |= _BITS[column % 2][dot % 4]
        before = row
    return ["".join(chr(0x2800 + bits) for bits in line) for line in grid]


def _columns(values: Sequence[float], count: int) -> list[float]:
    if not values:
        return []
    return [values[min(len(values) - 1, column * len(values) // count)] for column in range(count)]
