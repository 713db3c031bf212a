"""Numbers as words: percent with intervals, bytes, times, p-values."""

from __future__ import annotations

import math

from optforge.statistics import Interval


def percent(interval: Interval) -> str:
    """Return a log ratio with its interval as a change in percent.

    Example:
        >>> percent(Interval(-0.1, -0.2, 0.0, 0.04, 10))
        '-9.5 % [-18.1, +0.0]'
    """
    return _change(interval, " %") if math.isfinite(interval.mean) else "not comparable"


def loss_change(interval: Interval) -> str:
    """Return a log ratio of losses with its interval as a change in percent, for a sentence.

    Example:
        >>> loss_change(Interval(-0.1, -0.2, 0.0, 0.04, 10))
        '-9.5 % loss [-18.1, +0.0]'
    """
    return _change(interval, " % loss")


def log_difference(interval: Interval | None) -> str:
    """Return a difference of log losses with its interval.

    Example:
        >>> log_difference(Interval(-0.1, -0.2, 0.0, 0.04, 10))
        '-0.100 [-0.200, +0.000]'
    """
    if interval is None:
        return "-"
    mean, low, high = (f"{x:+.3f}" for x in _ends(interval))
    return f"{mean} [{low}, {high}]"


def ratio(interval: Interval | None) -> str:
    """Return a log ratio with its interval as a ratio.

    Example:
        >>> ratio(Interval(0.0, -0.1, 0.1, 1.0, 10))
        '1.00 [0.90, 1.11]'
    """
    if interval is None:
        return "-"
    values = (math.exp(min(x, 700.0)) for x in _ends(interval))
    mean, low, high = (f"{value:.2f}" if value < 1e4 else "inf" for value in values)
    return f"{mean} [{low}, {high}]"


def number(interval: Interval | None, digits: int = 4, sign: str = "") -> str:
    """Return a mean and half the length of its interval.

    Args:
        interval: The interval; None if unknown.
        digits: Number of digits after the point.
        sign: ``+`` to also write the sign of positive numbers.

    Example:
        >>> number(Interval(0.5, 0.4, 0.6, 0.0, 10), 2), number(None)
        ('0.50 ± 0.10', '-')
    """
    if interval is None or not math.isfinite(interval.mean):
        return "-"
    half = (interval.high - interval.low) / 2
    spread = f" ± {half:.{digits}f}" if math.isfinite(half) else ""
    return f"{interval.mean:{sign}.{digits}f}{spread}"


def points(interval: Interval) -> str:
    """Return a difference of shares in percentage points, with its interval.

    Example:
        >>> points(Interval(0.012, -0.01, 0.034, 0.2, 10))
        '+1.20 [-1.00, +3.40]'
    """
    if not math.isfinite(interval.mean):
        return "-"
    mean, low, high = (f"{100 * x:+.2f}" for x in _ends(interval))
    return f"{mean} [{low}, {high}]"


def p_value(p: float) -> str:
    """Return a p-value with two digits, or as less than a very small one.

    Example:
        >>> p_value(0.00001), p_value(0.031)
        ('< 0.001', '0.031')
    """
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def duration(seconds: float) -> str:
    """Return a human-readable time.

    Example:
        >>> duration(42), duration(3700), duration(0.3)
        ('42 s', '1 h 02 min', '300 ms')
    """
    if not math.isfinite(seconds):
        return "-"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Return a human-readable number of bytes.

    Example:
        >>> size(2048), size(3_500_000)
        ('2.0 KB', '3.3 MB')
    """
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    return f"{count:.1f} GB"


def value(x: float) -> str:
    """Return a hyper-parameter with three digits.

    Example:
        >>> value(0.00123456), value(0.998)
        ('0.00123', '0.998')
    """
    if not math.isfinite(x):
        return "-"
    if 0.9 < x < 1:  # a beta: what counts is its distance from 1
        return f"{x:.4f}".rstrip("0")
    return f"{x:.3g}"


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


def _change(interval: Interval, unit: str) -> str:
    mean, low, high = (
        f"{100 * math.expm1(x):+.1f}" if x <= 50 else "+inf" for x in _ends(interval)
    )
    return f"{mean}{unit} [{low}, {high}]"
