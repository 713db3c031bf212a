"""Texts that are no programs, and a judge that is run in a process of its own.

`python -m tests.helpers.hostile` prints, for each text, the error, its line, the seconds, and at
the end by how many bytes the largest memory of the process has grown over a plain import.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from optforge.language import load_rule, parse

HEAD, TAIL = "def train(w, g, lr):\n", "    return u\n"


def body(line: str) -> str:
    """A program with this statement in its third line."""
    return f"{HEAD}    u = g * 0.1\n    {line}\n{TAIL}"


BODIES = {  # what stands in line 3, and a word that the reason must contain
    "import": ("import os", "import"),
    "from import": ("from os import system", "import"),
    "attribute": ("u = g.data", "attribute"),
    "attribute call": ("u = g.__class__()", "function"),
    "dunder": ("u = __builtins__ * 2", "__builtins__"),
    "unknown function": ("u = eval(g)", "eval"),
    "dunder import": ("u = __import__(g)", "__import__"),
    "lambda": ("u = lambda: g", "lambda"),
    "called lambda": ("u = (lambda: g)()", "function"),
    "undefined name": ("u = g * nowhere", "nowhere"),
    "used before defined": ("u = later * 2.0", "later"),
    "too few arguments": ("u = interp(g, w)", "2 arguments; it takes 3"),
    "too many arguments": ("u = sign(g, w)", "2 arguments; it takes 1"),
    "no argument": ("u = sign()", "0 arguments; it takes 1"),
    "keyword": ("u = clip(g, c=1.0)", "keyword"),
    "star argument": ("u = interp(*g)", "star"),
    "double star": ("u = interp(**g)", "keyword"),
    "wide name": ("u = g * \uff47", "ASCII"),
    "bidi mark": ("u = g * 2.0 \u202e", "ASCII"),
    "cyrillic": ("u = \u0430bs(g)", "ASCII"),
    "zero width": ("u = g\u200b * 2.0", "ASCII"),
    "no-break space": ("u =\xa0g * 2.0", "ASCII"),
    "line separator": ("u = g * 2.0\u2028u = u * 2.0", "ASCII"),
    "nul byte": ("u = g * \0 2.0", "ASCII"),
    "form feed": ("u = g *\f2.0", "ASCII"),
    "lone return": ("u = g * 2.0\r    u = w * 2.0", "ASCII"),
    "escape": ("u = g * \x1b[31m2.0", "ASCII"),
    "surrogate": ("u = g * \ud800", "ASCII"),
    "walrus": ("u = (x := g) * 2.0", "namedexpr"),
    "f-string": ("u = f'{g}'", "not allowed"),
    "string": ('u = "g"', "not allowed"),
    "bytes": ("u = b'g'", "not allowed"),
    "backslash": ("u = g \\", "not allowed"),
    "semicolon": ("u = g * 2.0; u = u * 2.0", "not allowed"),
    "comprehension": ("u = [x for x in g]", "listcomp"),
    "generator": ("u = sign(x for x in g)", "generator"),
    "await": ("u = await g", "await"),
    "yield": ("u = yield g", "yield"),
    "subscript": ("u = g[0]", "subscript"),
    "condition": ("u = g if w else lr", "ifexp"),
    "comparison": ("u = g < w", "compare"),
    "boolean": ("u = g and w", "boolop"),
    "not": ("u = not g", "unaryop"),
    "floor division": ("u = g // w", "binop"),
    "matrix product": ("u = g @ w", "binop"),
    "modulo": ("u = g % 2.0", "binop"),
    "loop": ("for u in g: pass", "for"),
    "while": ("while g: pass", "while"),
    "with": ("with g: pass", "with"),
    "try": ("assert g", "assert"),
    "delete": ("del g", "delete"),
    "global": ("global g", "global"),
    "inner function": ("def f(): pass", "functiondef"),
    "class": ("class A: pass", "classdef"),
    "early return": ("return g", "return"),
    "pass": ("pass", "pass"),
    "expression": ("sign(g)", "without a target"),
    "augmented": ("u += g", "augmented"),
    "annotated": ("u: float = g * 2.0", "annassign"),
    "unpacking": ("u, x = g, w", "one name"),
    "chained": ("u = x = g * 2.0", "one name"),
    "subscript target": ("u[0] = g * 2.0", "one name"),
    "copy": ("u = g", "no function"),
    "plain constant": ("u = 1.0", "no function"),
    "huge integer": (f"u = g * 1{'0' * 500}", "finite"),
    "huge float": ("u = g * 1e999", "finite"),
    "negative huge float": ("u = g * -1e999", "finite"),
    "nan": ("u = g * nan", "nan"),
    "inf": ("u = g * inf", "inf"),
    "true": ("u = g * True", "bool"),
    "none": ("u = g * None", "NoneType"),
    "ellipsis": ("u = g * ...", "ellipsis"),
    "complex": ("u = g * 1j", "complex"),
    "long name": (f"{'u' * 65} = g * 2.0", "64"),
    "over two lines": ("u = (g *\n    2.0)", "several lines"),
    "open bracket": ("u = sign(g", "several lines"),
    "wrong indent": ("  u = g * 2.0", "not a valid"),
    "syntax": ("u = = g", "not a valid"),
    "odd number": ("u = g * 1e", "not a valid"),
    "octal": ("u = g * 0777", "not a valid"),
    "long line": ("u = g" + " + g" * 500, "characters; at most 1000"),
    "long sum": ("u = g" + "+g" * 450, "split"),
    "long chain of signs": ("u = " + "-" * 900 + "g", ""),
    "long power": ("u = g" + "**g" * 300, ""),
    "deep brackets": ("u = " + "(" * 10_000 + "g" + ")" * 10_000, ""),
    "deep calls": ("u = " + "sign(" * 40 + "g" + ")" * 40, "nested"),
    "deep brackets of a kind": ("u = " + "[" * 400 + "]" * 400, "nested"),
    "many nots": ("u = " + "not " * 200 + "g", ""),
    "many lambdas": ("u = " + "lambda:" * 130 + "g", ""),
    "long chain of attributes": ("u = g" + ".a" * 400, ""),
}

WHOLE = {  # a whole text, the line of the error, a word of the reason
    "empty": ("", 1, "exactly one"),
    "blank": ("\n\n  \n", 1, "exactly one"),
    "only a comment": ("# nothing\n", 1, "exactly one"),
    "nul": ("\0", 1, "ASCII"),
    "no function": ("u = g * 2.0\n", 1, "exactly one"),
    "two functions": (body("u = u * 2.0") * 2, 5, "exactly one"),
    "code after it": (body("u = u * 2.0") + "print(u)\n", 5, "exactly one"),
    "async": ("async " + HEAD + TAIL, 1, "exactly one"),
    "class": ("class A:\n    x = 1\n", 1, "exactly one"),
    "decorator": ("@g\n" + HEAD + "    return g\n", 2, "decorator"),
    "default": ("def train(w, g, lr=1):\n    return g\n", 1, "plain names"),
    "star": ("def train(w, g, *lr):\n    return g\n", 1, "plain names"),
    "keyword only": ("def train(w, *, g, lr):\n    return g\n", 1, "plain names"),
    "positional only": ("def train(w, g, /, lr):\n    return g\n", 1, "plain names"),
    "annotation": ("def train(w: int, g, lr):\n    return g\n", 1, "plain names"),
    "result": ("def train(w, g, lr) -> int:\n    return g\n", 1, "plain names"),
    "two parameters": ("def train(w, g):\n    return g\n", 1, "2 parameters"),
    "no parameter": ("def train():\n    return g\n", 1, "0 parameters"),
    "five states": ("def train(w, g, a, b, c, d, e, lr):\n    return g\n", 1, "8 parameters"),
    "parameter twice": ("def train(w, g, g, lr):\n    return g, g\n", 1, "twice"),
    "long parameter": (f"def train(w, {'g' * 65}, lr):\n    return w\n", 1, "64"),
    "no return": (HEAD + "    u = g * 2.0\n", 2, "return"),
    "bare return": (HEAD + "    u = g * 2.0\n    return\n", 3, "return"),
    "too few outputs": ("def train(w, g, m, lr):\n    return g\n", 2, "1 values"),
    "too many outputs": (HEAD + "    return g, w\n", 2, "2 values"),
    "returned constant": (HEAD + "    return 1.0\n", 2, "constant"),
    "returned star": (HEAD + "    return *g, w\n", 2, "starred"),
    "returned undefined": (HEAD + "    return u\n", 2, "'u'"),
    "docstring": (HEAD + '    """Doc."""\n    return g\n', 2, "not allowed"),
    "million statements": (HEAD + "    u = g * 2.0\n" * 1_000_000 + TAIL, None, "100000"),
    "million short lines": ("\n" * 99_000, 2001, "lines"),
    "many statements": (HEAD + "    u = -g\n" * 1_500 + TAIL, 1002, "more than the 1000"),
    "many nested statements": (HEAD + f"    u = g{'+g' * 50}\n" * 30 + TAIL, None, "1000"),
    "long sum over lines": (HEAD + "    u = (g\n" + "+ g\n" * 20_000 + ")\n", 3, "several lines"),
    "deep over lines": (HEAD + "    u = \n" + "sign(\n" * 10_000, None, ""),
    "deep indent": (HEAD + "".join(" " * i + "if g:\n" for i in range(1, 120)), None, ""),
    "random text": ("".join(random.Random(0).choices("adefgrtw(), =+-*\n0.", k=90_000)), None, ""),
    "random bytes": (random.Random(0).randbytes(50_000).decode("latin-1"), 1, "ASCII"),
    "tabs and spaces": (HEAD + "    u = g * 2.0\n\tu = u * 2.0\n" + TAIL, 3, "not a valid"),
}


def texts() -> dict[str, tuple[str, int | None, str]]:
    """All hostile texts: the text, the line that must be named (None: any), a word."""
    lines = {name: (body(line), LINES.get(name, 3), word) for name, (line, word) in BODIES.items()}
    return {**lines, **{f"whole: {name}": row for name, row in WHOLE.items()}}


# Where the error can only be seen in another line than the third.
LINES = {"over two lines": 4, "open bracket": 4}


def files(folder: Path) -> dict[str, Path | str]:
    """Names of hostile files."""
    (folder / "binary.txt").write_bytes(b"def train(w, g, lr):\n\xff\xfe\x00" * 1000)
    (folder / "wide.txt").write_bytes("def train".encode("utf-16"))
    with (folder / "sparse.txt").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of zeros that needs no disk
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    return {
        "endless": "/dev/zero", "directory": folder, "missing": folder / "missing.txt",
        "binary": folder / "binary.txt", "utf-16": folder / "wide.txt",
        "sparse": folder / "sparse.txt", "loop": folder / "loop.txt", "no name": "",
        "nul in the name": "a\0b", "long name": "x" * 5000, "below a file": "/dev/zero/x",
    }  # fmt: skip


def judged(action: Callable[[], object]) -> dict[str, object]:
    """What an action raises, and in which time."""
    start = time.perf_counter()
    try:
        action()
        kind, line, reason = "nothing", None, ""
    except Exception as error:  # whatever it is, it is to be reported
        kind, reason = type(error).__name__, str(error)
        line = getattr(error, "line", None)
    seconds = time.perf_counter() - start
    return {"kind": kind, "line": line, "reason": reason, "seconds": seconds}


def main() -> None:
    """Judge all texts and files in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cases = texts()
    report: dict[str, object] = {
        name: judged(lambda text=text: parse(text)) for name, (text, _, _) in cases.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, path in files(Path(folder)).items():
            report[f"file: {name}"] = judged(lambda path=path: load_rule(path))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    json.dump({"grown": (after - before) * 1024, "cases": report}, sys.stdout)


if __name__ == "__main__":
    main()
