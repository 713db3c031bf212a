"""Kill every verb at many moments, go on as a user would, and compare what is left in the end.

    python -m tests.reliability.kill                  # 200 kills, as `make kills`
    python -m tests.reliability.kill --kills 20 --seed 3 --verb search
    python -m tests.reliability.kill --record kills.jsonl    # goes on after what stands in it

Kinds: `call`, SIGKILL in the n-th call that changes a file (half of them in the midst of a write),
uniform over calls; `time`, SIGKILL at a moment, uniform over the time of the verb; `worker`, the
same to one of its two workers, which the verb must survive; `power`, SIGKILL at a call, and then
every file falls back to its last fsync and some of the blocks written since.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.reliability import shim
from tests.reliability.verbs import VERBS, Verb, end_state, prepare

KINDS = ("call", "time", "worker", "power")
# Verbs that have workers.
_WORKERS = ("search", "compare", "simplify", "explain", "baselines", "funnel")
_TRIES = 9  # of a kill: at a moment drawn, the verb may have ended already
_PERIOD = 8  # one kill in so many is of a worker, which takes long: it loads torch


@dataclass
class Bench:
    """Where verbs run, and what each leaves when nobody kills it.

    Args:
        folder: Holds everything.
    """

    folder: Path
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    lengths: dict[str, tuple[int, float]] = field(default_factory=dict)  # calls, seconds

    def __post_init__(self) -> None:
        library = shim.build(self.folder)
        environment = os.environ | {
            "LD_PRELOAD": str(library),
            "OPTFORGE_CACHE": str(self.root / "cache"),
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.server"],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def root(self) -> Path:
        """Where verbs run; always the same, since paths stand in files."""
        return self.folder / "root"

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def call(self, words: Sequence[str], **how: Any) -> dict[str, Any]:
        """Run a verb once."""
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        request = {"root": str(self.root), "log": str(log), "output": str(self.folder / "output")}
        request |= {"words": list(words), "call": 0, "torn": False, "seconds": None}
        request |= {"worker": False, "error": 0, **how}
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def output(self) -> str:
        """Return what the last verb said."""
        return (self.folder / "output").read_text(errors="replace").strip()

    def begin(self, verb: Verb) -> Path:
        """Put everything where the verb begins; return a copy."""
        before = self.folder / f"before_{verb.needs}"
        if not before.exists():
            shutil.rmtree(self.root, ignore_errors=True)
            prepare(self.root)
            if verb.needs:
                self.finish(VERBS[verb.needs], 0)
            shutil.copytree(self.root, before)
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(before, self.root)
        return before

    def finish(self, verb: Verb, workers: int) -> dict[str, Any]:
        """Call a verb as a user does who has to, to its end."""
        done = self.call(verb.words(self.root, workers))
        if done["code"] != 0:
            raise AssertionError(f"{verb.name} ended with {done['code']}: {self.output()[-400:]}")
        return done

    def whole(self, verb: Verb) -> dict[str, Any]:
        """Return what a verb leaves when nobody kills it."""
        if verb.name not in self.ends:
            self.begin(verb)
            done = self.finish(verb, 0)
            self.ends[verb.name] = end_state(self.root)
            self.lengths[verb.name] = done["calls"], done["seconds"]
        return self.ends[verb.name]

    def kill(self, verb: Verb, kind: str, source: random.Random) -> bool:
        """Kill a verb once, go on to its end and compare; return whether it was killed.

        Where it ended before the moment that was drawn, another one is drawn.

        Raises:
            AssertionError: If it cannot go on, or what is left differs.
        """
        expected = self.whole(verb)
        for _ in range(_TRIES):
            if killed := self._kill(verb, kind, source, expected):
                break
        return killed

    def _kill(self, verb: Verb, kind: str, source: random.Random, expected: Any) -> bool:
        """Try to kill a verb; it may end before."""
        calls, seconds = self.lengths[verb.name]
        before = self.begin(verb)
        workers = 2 if kind == "worker" else 0
        words, how = verb.words(self.root, workers), dict[str, Any]()
        if kind in ("call", "power"):
            how = {"call": source.randint(1, calls), "torn": source.random() < 0.5}
        else:
            how = {"seconds": source.uniform(0, seconds), "worker": kind == "worker"}
        done = self.call(words, **how)
        if done["orphans"]:
            raise AssertionError("workers were left behind")
        if done["code"] not in (0, -9):
            raise AssertionError(f"it ended with {done['code']}: {self.output()[-400:]}")
        if kind == "power" and done["code"] == -9:
            shim.after_loss(before, self.root, shim.read_log(self.folder / "log"), source)
        if done["code"] != 0:
            self.finish(verb, 0)
        elif kind == "time":  # it was faster than when it was measured
            self.lengths[verb.name] = calls, min(seconds, done["seconds"])
        compare(expected, end_state(self.root))
        return done["code"] == -9 or done["killed"]

    def fail(self, verb: Verb, error: int, call: int) -> bool:
        """Make calls fail from some number on; mend the disk, call the verb again and compare.

        Args:
            verb: The verb.
            error: ``errno.ENOSPC`` for a full disk, ``errno.EROFS`` for one that is read-only.
            call: Number of the first call that fails, from 1.

        Returns:
            Whether the verb failed; it may also do without a cache.

        Raises:
            AssertionError: If it says no sentence, or what is left in the end differs.
        """
        expected = self.whole(verb)
        self.begin(verb)
        done = self.call(verb.words(self.root, 0), call=call, error=error)
        said = [line for line in self.output().splitlines() if line.startswith("error: ")]
        if done["code"] not in (0, 1) or len(said) != (done["code"] == 1):
            raise AssertionError(f"it ended with {done['code']}: {self.output()[-400:]}")
        # A search that has its table ends well: what was not simplified or drawn is told.
        if done["code"] == 1 or " was not " in self.output():
            self.finish(verb, 0)
        compare(expected, end_state(self.root))
        return done["code"] == 1


def compare(expected: dict[str, Any], found: dict[str, Any]) -> None:
    """Hold two end states against each other."""
    differing = difference(expected, found)
    if differing is not None:
        raise AssertionError(differing)


def difference(expected: Any, found: Any, where: str = "") -> str | None:
    """Return where two values differ first, and how; None if they are equal."""
    if expected == found:
        return None
    pairs: list[tuple[Any, Any, Any]] = []
    if isinstance(expected, dict) and isinstance(found, dict):
        pairs = [(k, expected.get(k), found.get(k)) for k in {**expected, **found}]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = [(k, *both) for k, both in enumerate(zip(expected, found, strict=True))]
    deeper = (difference(a, b, f"{where}/{k}") for k, a, b in pairs)
    return next(filter(None, deeper), f"{where}: {str(found)[:200]}, not {str(expected)[:200]}")


def moments(kills: int, verbs: Sequence[str]) -> list[tuple[str, str]]:
    """Return verb and kind of each kill: verbs in turn, kinds in turn for each."""
    chosen = []
    for number in range(kills):
        verb = verbs[number % len(verbs)]
        turn = number // len(verbs)
        kind = ("call", "power", "time")[turn % 3]
        if verb in _WORKERS and turn % _PERIOD == _PERIOD - 1:
            kind = "worker"
        chosen.append((verb, kind))
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, and print a table of counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verb", action="append", choices=list(VERBS))
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--record", type=Path, help="keeps each kill; a second start goes on")
    options = parser.parse_args(arguments)
    verbs = options.verb or list(VERBS)
    kept = options.record.read_text() if options.record and options.record.exists() else ""
    rows = [json.loads(line) for line in kept.splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        chosen = moments(options.kills, verbs)
        for number, (verb, kind) in list(enumerate(chosen))[len(rows) :]:
            rows.append(_try(bench, verb, options.kind or kind, f"{options.seed}|{number}"))
            if options.record:
                with options.record.open("a") as record:
                    record.write(json.dumps(rows[-1]) + "\n")
        bench.close()
    return _tell(rows, verbs)


def _try(bench: Bench, verb: str, kind: str, seed: str) -> dict[str, Any]:
    """Kill once; return what came of it."""
    row: dict[str, Any] = {"verb": verb, "kind": kind, "seed": seed, "killed": False}
    try:
        return row | {"killed": bench.kill(VERBS[verb], kind, random.Random(seed)), "equal": True}
    except AssertionError as error:
        print(f"{seed}, {verb}, {kind}: {error}", flush=True)
        return row | {"equal": False, "why": str(error)}


def _tell(rows: Sequence[dict[str, Any]], verbs: Sequence[str]) -> int:
    """Print a table of counts; return 1 if an end state differed."""
    tried = Counter((row["verb"], row["kind"]) for row in rows)
    equal = Counter((row["verb"], row["kind"]) for row in rows if row["equal"])
    print("| verb | " + " | ".join(KINDS) + " |\n" + "|---" * (len(KINDS) + 1) + "|")
    for verb in verbs:
        cells = [f"{equal[verb, k]} of {tried[verb, k]}" if tried[verb, k] else "" for k in KINDS]
        print(f"| {verb} | " + " | ".join(cells) + " |")
    real = sum(row["killed"] for row in rows)
    print(f"{equal.total()} of {tried.total()} with equal end state; {real} ended by SIGKILL")
    return int(equal != tried)


if __name__ == "__main__":
    sys.exit(main())
