"""Run two checkouts side by side on this machine, and say where their results differ.

    python benchmarks/same_results.py OLD NEW [--only SECTION,...] [--keep DIRECTORY]

For changes that move code and must not change what it computes. Floats differ between processors,
so that no digest of them is committed; here both checkouts run on the same one. Exit code 1 and
the first differences where something is not equal. About ten minutes on two cores.

Sections:

search      every proposal, mutation, fingerprint and verdict of a search of 1,500 programs with one
            worker on one small task, and its table; timings aside
compare     cells and report of tests/comparison/smoke.toml of the new checkout; timings aside
derivations the exact derivation of every shipped rule, as JSON
exports     every exported file, all targets
optimizers  weights after each of 50 steps of `Lion` and `ProgramOptimizer` on every path, dtype and
            rule, as digests

Only what users call is used: the command line, files of runs, `from optforge import ...`. So the
inside of the package may change as it likes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Whatever a clock, a process or a path decides.
_OF_TIME = re.compile(
    r"second|time|_ms|pareto|started|commit|machine|load|path|directory|version|peak_mb"
)
_SHOWN = 5
Results = dict[str, Any]


def main() -> None:
    options = read_options()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as side_by_side:
        sides = [
            Checkout(tree, Path(folder) / side)
            for side, tree in (("old", options.old), ("new", options.new))
        ]
        results: list[Results] = [{}, {}]
        for name in options.only:
            for found, result in zip(results, side_by_side.map(SECTIONS[name], sides), strict=True):
                found[name] = result
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        for side, found in zip(("old", "new"), results, strict=True):
            (options.keep / f"{side}.json").write_text(
                json.dumps(found, indent=1), encoding="utf-8"
            )
    equal = True
    for name in options.only:
        differences = list(compare(results[0][name], results[1][name]))
        count = sum(1 for _ in leaves(results[1][name]))
        print(f"{name}: {count:,} values, {len(differences):,} differ")
        for line in differences[:_SHOWN]:
            print(f"  {line}")
        equal = equal and not differences and count > 0
    sys.exit(0 if equal else 1)


class Checkout:
    """A working tree whose package is imported, and a directory for what it writes."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree, self.folder = tree.resolve(), folder
        folder.mkdir(parents=True)
        where = self.python("-c", "import optforge; print(optforge.__file__)").strip()
        if not where.startswith(str(self.tree)):
            sys.exit(f"python imports optforge from {where}, not from {self.tree}")

    def python(self, *arguments: str) -> str:
        """Run Python on the checkout's package; what it prints."""
        environment = {**os.environ, "PYTHONPATH": str(self.tree), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{self.tree}: {' '.join(arguments[:6])} failed\n{done.stderr[-3000:]}")
        return done.stdout

    def optforge(self, *arguments: str) -> str:
        """Run a verb of the command line; what it prints."""
        return self.python("-m", "optforge", *arguments)


def search(checkout: Checkout) -> Results:
    run = checkout.folder / "run"
    checkout.optforge(
        *("search", "--programs", "1500", "--seed", "0", "--workers", "1"),
        *("--tasks", "digits_mlp", "--held-out", "none", "--trials", "8", "--run", str(run)),
    )
    journal = sqlite3.connect(f"file:{run / 'journal.sqlite'}?mode=ro", uri=True)
    tables = ("proposals", "verdicts", "events")
    rows = {name: list(_rows(journal, name)) for name in tables}
    table = json.loads((run / "table.json").read_text(encoding="utf-8"))
    rule = (run / "best.py").read_text(encoding="utf-8") if (run / "best.py").exists() else ""
    return {**rows, "table": without_times(table), "best": rule}


def _rows(journal: sqlite3.Connection, table: str) -> Iterator[dict[str, Any]]:
    cursor = journal.execute(f"SELECT * FROM {table} ORDER BY rowid")
    names = [column[0] for column in cursor.description]
    for row in cursor:
        values = {
            k: v.hex() if isinstance(v, bytes) else v for k, v in zip(names, row, strict=True)
        }
        yield without_times(values)


def comparison(checkout: Checkout) -> Results:
    out, suite = checkout.folder / "smoke", next(HERE.parent.glob("tests/*/smoke.toml"))
    checkout.optforge("compare", "--suite", str(suite), "--workers", "1", "--out", str(out))
    results: Results = {}
    for path in sorted(out.rglob("*.json")) + sorted(out.rglob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        whole = [json.loads(line) for line in lines] if path.suffix == ".jsonl" else _json(path)
        results[str(path.relative_to(out))] = without_times(whole)
    return results


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def derivations(checkout: Checkout) -> Results:
    return {
        rule: json.loads(checkout.optforge("simplify", rule, "--exact", "--json"))
        for rule in _rules(checkout)
    }


def exports(checkout: Checkout) -> Results:
    return {
        f"{rule}, {target}": checkout.optforge("export", rule, "--to", target)
        for rule in _rules(checkout)
        for target in ("torch", "optax", "latex")
    }


def _rules(checkout: Checkout) -> list[str]:
    text = checkout.python("-c", "from optforge.language import rule_names; print(*rule_names())")
    return text.split()


def optimizers(checkout: Checkout) -> Results:
    return json.loads(checkout.python(str(HERE / "measures" / "trajectories.py")))


SECTIONS: dict[str, Callable[[Checkout], Results]] = {
    "search": search,
    "compare": comparison,
    "derivations": derivations,
    "exports": exports,
    "optimizers": optimizers,
}


def without_times(value: Any) -> Any:
    """Leave out what a clock, a process or a path decides."""
    if isinstance(value, dict) and isinstance(value.get("curve"), list):  # the fourth is seconds
        value = {**value, "curve": [point[:3] for point in value["curve"]]}
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not _OF_TIME.search(k)}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return value


def compare(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Say where two values of JSON differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            if key not in old or key not in new:
                yield f"{where}/{key}: only in the {'old' if key in old else 'new'} one"
            else:
                yield from compare(old[key], new[key], f"{where}/{key}")
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{where}: {len(old)} and {len(new)} entries"
        for number, (one, other) in enumerate(zip(old, new, strict=False)):
            yield from compare(one, other, f"{where}/{number}")
    elif old != new and not (old != old and new != new):
        yield f"{where}: {str(old)[:120]!r} and {str(new)[:120]!r}"


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values at the ends of a value of JSON."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("old", type=Path, metavar="OLD", help="a checkout")
    parser.add_argument("new", type=Path, metavar="NEW", help="another one")
    parser.add_argument("--only", metavar="SECTION,...", default=",".join(SECTIONS))
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="write both results there")
    options = parser.parse_args()
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    for name in options.only:
        if name not in SECTIONS:
            parser.error(f"there is no section {name!r}; there are {', '.join(SECTIONS)}")
    return options


if __name__ == "__main__":
    main()
