"""Lines of Python: calls and definitions that fit the width that formatters agree on."""

from __future__ import annotations

WIDTH = 88


def definition(name: str, parameters: list[str], result: str, indent: int = 0) -> list[str]:
    """Write the first line of a function, or its lines where one would be too long."""
    return call(f"def {name}", parameters, f" -> {result}:", indent)


def call(
    start: str, arguments: list[str], end: str = "", indent: int = 0, bracket: bool = True
) -> list[str]:
    """Write a call or a tuple in one line, or with a line for each argument.

    Example:
        >>> call("f", ["a", "b=1"])
        ['f(a, b=1)']
        >>> call("f", ["a" * 50, "b" * 50])[0], len(call("f", ["a" * 50, "b" * 50]))
        ('f(', 4)
    """
    if not bracket:
        return [f"{start}{arguments[0]}{end}"]
    tuple_like = start == "return "
    line = f"{start}{', '.join(arguments)}" if tuple_like else f"{start}({', '.join(arguments)})"
    if len(line + end) + indent <= WIDTH - 4:
        return [line + end]
    lines = [f"{start}("]
    for argument in arguments:
        comma = "" if argument.startswith("**") and "," in argument else ","
        lines.append(f"    {argument}{comma}" if argument != "*" else "    *,")
    return [*lines, f"){end}"]
