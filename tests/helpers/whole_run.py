"""A finished run with everything that a search leaves: session, table, explanation, simple rule."""

from __future__ import annotations

import json
import time
from pathlib import Path

from optforge.runs import Journal, Session
from optforge.runs.file_names import TABLE_JSON
from tests.helpers.other_pages import make_simplification
from tests.helpers.page_runs import HOSTILE, finish_run, make_run


def make_whole_run(path: Path) -> Path:
    """Write a finished run of 400 programs that were searched in 80 seconds."""
    make_run(path)
    begun = time.time() - 1000
    with Journal.open(path / "journal.sqlite", write=True) as journal:
        journal.write_session(Session(begun, 0, None, 400, ended=begun + 80))
    finish_run(path)
    make_simplification(path / "simple", "signum")
    (path / "simple" / "simplify.json").rename(path / "simplify.json")
    (path / "simple").rmdir()
    stored = json.loads((path / TABLE_JSON).read_text())
    stored["explanation"] = make_explanation()
    stored["counts"] = {
        "programs": 400, "new": 200, "judged": 135, "rejected": {f"{HOSTILE}, repeat 0": 65},
        "audited": 7, "wrongly_rejected": 2, "same_fingerprint_other_numbers": 0,
        "same_numbers_other_fingerprint": 4, "meta_overfitted": 1,
    }  # fmt: skip
    (path / TABLE_JSON).write_text(json.dumps(stored))
    return path


def make_explanation() -> dict[str, object]:
    """An explanation of one row, as a run stores it."""
    gain = {"mean": -0.05, "low": -0.06, "high": -0.04, "count": 3}
    row = {"tuned": f"decay {HOSTILE}", "gain_over_rate_alone": gain, "left_of_the_rule": gain}
    return {"trials": 4, "repeats": 3, "rows": [row]}
