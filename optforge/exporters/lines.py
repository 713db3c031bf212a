"""Lines of Python: calls and definitions that fit the line width of formatters."""

from __future__ import annotations

WIDTH = 88


def definition(name: str, parameters: list[str], result: str, indent: int = 0) -> list[str]:
    """Write the first line of a function, split into several if it would be too long."""
    return call(f"def {name}", parameters, f" -> {result}:", indent)


def call(
    start: str, arguments: list[str], end: str = "", indent: int = 0, bracket: bool = True
) -> list[str]:
    """Write a call or a tuple on one line, or with one line per argument.

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


def assignment(target: str, text: str, indent: int = 0) -> list[str]:
    """Write an assignment; a call that would be too long gets one line per argument.

    Example:
        >>> assignment("x", "f(y, [g(z, 1)])")
        ['x = f(y, [g(z, 1)])']
        >>> assignment("x", f"f(y, [g({'z' * 99}, 1)])")[1]
        '    y,'
    """
    name, _, rest = text.partition("(")
    arguments = _arguments(rest)
    if len(f"{target} = {text}") + indent <= WIDTH + 4 or not (name.isidentifier() and arguments):
        return [f"{target} = {text}"]
    return call(f"{target} = {name}", arguments, indent=WIDTH)


def _arguments(rest: str) -> list[str]:
    """Return a call's arguments from its first bracket on; empty if it does not end the text."""
    depth, parts = 1, [""]
    for place, letter in enumerate(rest):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0:
            return [part.strip() for part in parts] if place == len(rest) - 1 else []
        if letter == "," and depth == 1:
            parts.append("")
        else:
            parts[-1] += letter
    return []


def for_each(target: str, function: str, lists: list[str], indent: int = 0) -> list[str]:
    """Write the list of a function's results for the elements of several lists.

    Example:
        >>> for_each("x", "f", ["a", "b"])
        ['x = [f(*arrays) for arrays in zip(a, b, strict=True)]']
        >>> for_each("x", "f", ["a" * 60, "b" * 30])[:3]
        ['x = [', '    f(*arrays)', '    for arrays in zip(']
    """
    zipped = [*lists, "strict=True"]
    line = f"{target} = [{function}(*arrays) for arrays in zip({', '.join(zipped)})]"
    if len(line) + indent <= WIDTH:
        return [line]
    inside = call("for arrays in zip", zipped, indent=indent + 4)
    return [f"{target} = [", f"    {function}(*arrays)", *(f"    {x}" for x in inside), "]"]


def several(targets: list[str]) -> list[str]:
    """Write the names to which several values are assigned."""
    line = ", ".join(targets)
    return [line] if len(line) <= WIDTH - 20 else ["(", *(f"    {t}," for t in targets), ")"]
