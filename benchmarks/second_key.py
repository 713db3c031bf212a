"""Does a cheap algebraic canonical form pay as the key of a search's cache?

    python benchmarks/second_key.py [--programs 3000] [--seeds 0,1] [--workers 2] [--json FILE]
    python benchmarks/second_key.py --replay runs/ONE runs/OTHER

The same search from AdamW, seed for seed, once with the functional fingerprint as its key and once
with the canonical form of `measures/canonical.py`, which is equal for more programs and takes
longer. Reported for each: the share of proposals that were known already, verdicts a second (known
ones included) from the first batch to the last, and the time of one key. The two histories part
where the first program is known to one and not to the other, so seeds are needed, and the machine
must be idle. With `--replay` nothing is trained: the new programs of finished runs get the key in
the order of their journals, and those are counted whose key a former one has, with the training
that they took. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from measures.canonical import lean_key
from rich.console import Console
from rich.table import Table

from optforge.analysis import lean_fingerprint, live_program
from optforge.evolution import genome
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.evolution.session import make_executor, make_plan, make_search
from optforge.evolution.settings import Settings
from optforge.jobs import JobRunner
from optforge.language import load_rule, parse, round_constants
from optforge.runs import Journal, RunDirectory
from optforge.tasks import PROXY_TASKS, load_task
from optforge.tuning import BaselineTuner

KEYS = {"functional": lean_fingerprint, "canonical": lean_key}


def main() -> None:
    options = read_options()
    if options.replay:
        for path in options.replay:
            print(json.dumps(replayed(path)))
        return
    tasks = [load_task(name) for name in PROXY_TASKS]
    rows = []
    for seed in map(int, options.seeds.split(",")):
        settings = Settings(
            start=round_constants(load_rule("adamw")).text,
            tasks=PROXY_TASKS,
            hashes=tuple(task.hash for task in tasks),
            seed=seed,
            population=200,
            tournament=6,
            confirm=3,
        )
        plan = make_plan(settings, tasks, (), lambda text: None, BaselineTuner(trials=1))
        for name in KEYS:
            row = {"seed": seed, "key": name, **searched(plan, name, options)}
            rows.append(row)
            print(json.dumps(row), flush=True)
    report(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def read_options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--programs", type=int, default=3000)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--replay", type=Path, nargs="*", metavar="RUN")
    return parser.parse_args()


def searched(plan: SearchPlan, name: str, options: Any) -> dict[str, Any]:
    """Run one search with one kind of key."""
    key = KEYS[name]
    genome.lean_fingerprint = key
    times: list[float] = []

    def watch(history: History) -> None:
        if history.tally.proposals:
            times.append(time.perf_counter())

    with (
        tempfile.TemporaryDirectory() as folder,
        RunDirectory.create(Path(folder) / "run", plan.stored()) as directory,
    ):
        executor = make_executor(plan, options.workers)
        try:
            search = make_search(plan, JobRunner(executor, directory.journal))
            history = search.run(lambda h: h.tally.proposals >= options.programs, watch)
        finally:
            executor.close()
        texts = [p.program for p in directory.journal.proposals()]
    lean = [live_program(parse(text)) for text in texts[:1000]]
    begin = time.perf_counter()
    for one in lean:
        key(one)
    each = (time.perf_counter() - begin) / len(lean)
    tally, elapsed = history.tally, times[-1] - times[0]
    return {
        "proposals": tally.proposals,
        "cached": tally.cached,
        "cache_share": tally.cached / tally.proposals,
        "seconds": elapsed,
        "verdicts_per_second": tally.proposals / elapsed,
        "new_per_second": tally.evaluated / elapsed,
        "same_numbers_share_of_new": tally.same_numbers / max(1, tally.evaluated),
        "mismatches": tally.mismatches,
        "key_microseconds": 1e6 * each,
    }


def replayed(path: Path) -> dict[str, Any]:
    """Count in a finished run the new programs whose canonical key was known."""
    keys, numbers, spent = set[str](), set[str](), dict.fromkeys(KEYS, 0.0)
    counts = dict.fromkeys(("new", "canonical_known", "numbers_known"), 0)
    training = saved = 0.0
    with Journal.open(path / "journal.sqlite", write=False) as journal:
        verdicts = {verdict.id: verdict for verdict in journal.verdicts()}
        for proposal in journal.proposals():
            if proposal.cached or proposal.verdict is None:
                continue
            verdict, lean = verdicts[proposal.verdict], live_program(parse(proposal.program))
            found = {}
            for name, key in KEYS.items():
                begin = time.perf_counter()
                found[name] = key(lean)
                spent[name] += time.perf_counter() - begin
            counts["new"] += 1
            training += verdict.seconds
            if found["canonical"] in keys:
                counts["canonical_known"] += 1
                saved += verdict.seconds
            counts["numbers_known"] += verdict.numeric_fingerprint in numbers
            keys.add(found["canonical"])
            numbers.add(verdict.numeric_fingerprint)
        totals = journal.counts()
    each = {f"{name}_microseconds": 1e6 * spent[name] / counts["new"] for name in KEYS}
    return {
        "run": path.name,
        "proposals": totals["proposals"],
        "cached": totals["cached"],
        **counts,
        "training_seconds": training,
        "training_saved": saved,
        **each,
    }


def report(rows: list[dict[str, Any]]) -> None:
    table = Table("seed", "key", "known already", "verdicts/s", "new/s", "key, us", box=None)
    for row in rows:
        share = f"{100 * row['cache_share']:.1f} %"
        rates = [f"{row[name]:.1f}" for name in ("verdicts_per_second", "new_per_second")]
        table.add_row(str(row["seed"]), row["key"], share, *rates, f"{row['key_microseconds']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
