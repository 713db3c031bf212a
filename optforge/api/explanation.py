"""The public function for explanations: would tuning one more thing of AdamW do as well?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from optforge.api.keywords import WorkOptions, keywords_of
from optforge.api.own_tasks import loaded
from optforge.api.process_state import preserved_process
from optforge.assessment.explain import Explained, Explanation, explain_shipped
from optforge.assessment.explain import explain as explain_by_tuning
from optforge.assessment.rows import ADAMW, FOUND
from optforge.assessment.table import Table
from optforge.errors import MOST, RunError, SearchError, reading, whole_number
from optforge.evolution.plan import read_plan
from optforge.evolution.session import make_executor, make_trainer
from optforge.execution import process_count, worker_count
from optforge.files import read_text
from optforge.jobs import JobRunner, Silent, named
from optforge.options import with_plain_fields
from optforge.report.frame import interval_columns, to_frame
from optforge.report.json_values import json_text
from optforge.report.search.explanation import (
    explanation_json,
    explanation_markdown,
    explanation_sentences,
    explanation_table,
    explanation_verdict,
)
from optforge.report.search.table_json import table_from_json
from optforge.report.text_table import TextTable
from optforge.runs import RunDirectory
from optforge.runs.file_names import EXPLANATION, EXPLANATION_PAGE, TABLE_JSON
from optforge.tasks import Task, find_tasks
from optforge.training import checked_device, is_gpu, one_thread
from optforge.tuning import Effort

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ExplainOptions(WorkOptions):
    """Options of an explanation.

    Args:
        run: Directory of a finished run.
        trials: Number of settings per task with which to tune each thing anew; by default the
            settings shipped for the run's tasks are used, or else as many trials as its table had.
        tasks: The run's own tasks, as ``file.py:Class`` or as objects, if it has any that are not
            shipped.
        force: Replace an ``explain.json`` or ``explain.md`` that optforge did not write.

    Raises:
        SearchError: If an option is out of range.
    """

    run: str | Path
    _: KW_ONLY
    trials: int | None = None
    tasks: Sequence[str | Task] = ()
    force: bool = False

    def __post_init__(self) -> None:
        if self.trials is not None:
            whole_number("trials", self.trials, 1, SearchError, MOST)
        with_plain_fields(self, SearchError)
        worker_count(self.workers)


@dataclass(frozen=True, repr=False)
class ExplanationResult(Explanation):
    """Result of an explanation: what is left of a rule's gain after each thing is tuned."""

    def __repr__(self) -> str:
        return f"ExplanationResult({len(self.rows)} rows: {explanation_verdict(self)})"

    @property
    def best(self) -> Explained:
        """The row of AdamW that leaves the least of the rule's gain."""
        return self.nearest

    @property
    def table(self) -> TextTable:
        """A row for each thing that was tuned: its own gain, and what is left of the rule's."""
        return explanation_table(self)

    def to_frame(self) -> DataFrame:
        """Return the rows as a ``pandas.DataFrame``; needs ``pip install 'optforge[pandas]'``.

        ``gain`` is the row's log ratio of test loss to AdamW with only its rate tuned, ``left``
        that of the rule to the row, each with its 95 % interval.

        Raises:
            OptforgeError: If pandas is not installed.
        """
        return to_frame(
            [
                {"tuned": row.name, **interval_columns("gain", row.gain)}
                | interval_columns("left", row.left)
                for row in self.rows
            ]
        )

    def _repr_html_(self) -> str:
        """Return the sentences and the table for a notebook."""
        words = "".join(f"<p>{escape(text)}</p>" for text in explanation_sentences(self))
        return f"{words}{self.table.html()}"


@keywords_of(ExplainOptions, {"display": "watch"})
@preserved_process()
def explain(options: ExplainOptions) -> ExplanationResult:
    """Measure how much of a run's gain is explained by tuning one more thing of AdamW.

    AdamW is tuned with its learning rate and one more thing: decay, averages, bias correction, the
    shape of the schedule, clipping, epsilon, averaged weights; then with all of them. Each is
    trained on the seeds of the run's table, so that the remaining gain of the rule is a paired
    difference.

    Returns:
        The explanation; ``explain.json`` and ``explain.md`` are written next to the table.

    Raises:
        OptforgeError: If the run cannot be read, has not finished, or found nothing to explain.
        StoppedError: If ``stop`` returned True.
    """
    watch, user_tasks = options.watch or Silent(), loaded(options.tasks)
    with RunDirectory.open(options.run, write=True) as directory, one_thread():
        table = _table(directory)
        directory.claim((EXPLANATION, EXPLANATION_PAGE), options.force)
        stored = directory.journal.settings
        with directory.journal.content():
            proxies = find_tasks(stored["search"]["tasks"], user_tasks)
            plan = read_plan(stored, proxies, find_tasks(stored["held_out"], user_tasks))
        workers = options.chosen_workers(gpus=is_gpu(checked_device(plan.settings.device)))
        count = process_count(workers)
        watch.say(f"Starting {count} workers" if count else "Training in this process")
        with closing(make_executor(plan, workers)) as executor:
            runner = JobRunner(executor, directory.journal, named(watch), options.stopping)
            trainer, explanation = make_trainer(plan, directory, runner), None
            if options.trials is None:
                explanation = explain_shipped(plan, table, trainer, _MEASURE)
            effort = plan.effort if options.trials is None else Effort(options.trials)
            explanation = explanation or explain_by_tuning(plan, table, trainer, effort)
        directory.write_text(EXPLANATION, json_text(explanation_json(explanation)))
        directory.write_text(EXPLANATION_PAGE, explanation_markdown(explanation))
    return ExplanationResult(**vars(explanation))


_MEASURE = "Measuring on test data"


def _table(directory: RunDirectory) -> Table:
    path = directory.path
    file = path / TABLE_JSON
    if not file.is_file():
        raise RunError(
            f"{path} has no table.json: the run has not finished; resume it: "
            f"optforge search --resume {path}"
        )
    with reading(file, f"write it again: optforge search --resume {path}"):
        table = table_from_json(json.loads(read_text(file))["table"])
        _check_whole(table, directory.journal.settings["search"]["tasks"])
    if not table.has(FOUND):
        raise RunError(f"{path} searched over constants alone; there is no rule to explain")
    return table


def _check_whole(table: Table, tasks: Sequence[str]) -> None:
    """Check that a table is on these tasks, and that its rows have as many losses as it says."""
    if set(table.proxies) != set(tasks):
        raise ValueError(f"its tasks are {', '.join(table.proxies)}, not {', '.join(tasks)}")
    counts = {len(losses) for row in table.rows for losses in row.logs.values()}
    if not table.has(ADAMW) or counts != {table.repeats}:
        raise ValueError("a row or a loss is missing")
