"""The public face of explaining: which single thing that anybody may tune would do as well?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from optforge.api.process_state import preserved_process
from optforge.assessment.explain import Explanation, explain_shipped
from optforge.assessment.explain import explain as explain_by_tuning
from optforge.assessment.rows import FOUND
from optforge.assessment.table import Table
from optforge.errors import RunError, SearchError, whole_number
from optforge.evolution.plan import read_plan
from optforge.evolution.session import make_executor, make_trainer
from optforge.execution import worker_count
from optforge.jobs import Display, JobRunner, Silent, named
from optforge.report.json_values import json_text
from optforge.report.search.explanation import explanation_json, explanation_markdown
from optforge.report.search.table_json import table_from_json
from optforge.runs import RunDirectory
from optforge.runs.directory import EXPLANATION, EXPLANATION_PAGE
from optforge.tasks import Task, find_tasks
from optforge.training import one_thread
from optforge.tuning import Effort


@preserved_process()
def explain(
    run: str | Path,
    *,
    trials: int | None = None,
    tasks: Sequence[Task] = (),
    workers: int | None = None,
    display: Display | None = None,
    force: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Explanation:
    """Tell how much of a run's gain single things explain that anybody may tune of AdamW.

    AdamW is tuned with its rate and one more thing: decay, averages, bias correction, the shape of
    the schedule, clipping, epsilon, averaged weights; then with all of them. Each is trained on
    the seeds of the run's table, so that what is left of the rule's gain is paired with it.

    Args:
        run: Directory of a finished run.
        trials: Settings of each, on each task; as many as the run's rows had by default. Settings
            that are shipped for the run's tasks are used where no number is given.
        tasks: The run's own tasks, where it has any that are not shipped.
        workers: Processes; one a core by default, 0 for none but this one.
        display: Shows the progress.
        force: Whether an ``explain.json`` or ``explain.md`` of somebody else may be replaced.
        stop: Asked now and then whether to stop.

    Returns:
        The explanation; ``explain.json`` and ``explain.md`` are written beside the table.

    Raises:
        OptforgeError: If the run cannot be read, has not finished, or found nothing to explain.
        StoppedError: If ``stop`` said so.
    """
    display = display or Silent()
    if trials is not None:
        trials = whole_number("trials", trials, 1, SearchError)
    count = worker_count(workers)
    with RunDirectory.open(run, write=True) as directory, one_thread():
        table = _table(directory.path)
        directory.claim((EXPLANATION, EXPLANATION_PAGE), force)
        stored = directory.journal.settings
        proxies = find_tasks(stored["search"]["tasks"], tasks)
        others = find_tasks(stored["held_out"], tasks)
        made = read_plan(stored, proxies, others)
        display.say(f"Starting {count} workers" if count else "Training in this process")
        executor = make_executor(made, count)
        try:
            runner = JobRunner(executor, directory.journal, named(display), stop)
            trainer = make_trainer(made, directory, runner)
            found = None
            if trials is None:
                found = explain_shipped(made, table, trainer, _MEASURE)
            effort = made.effort if trials is None else Effort(trials)
            found = found or explain_by_tuning(made, table, trainer, effort)
        finally:
            executor.close()
        directory.write_text(EXPLANATION, json_text(explanation_json(found)))
        directory.write_text(EXPLANATION_PAGE, explanation_markdown(found))
    return found


_MEASURE = "Measuring on test data"


def _table(path: Path) -> Table:
    file = path / "table.json"
    if not file.is_file():
        raise RunError(
            f"{path} has no table.json: the run has not finished; go on with it: "
            f"optforge search --resume {path}"
        )
    table = table_from_json(json.loads(file.read_text(encoding="utf-8"))["table"])
    if not table.has(FOUND):
        raise RunError(f"{path} searched over constants alone; there is no rule to explain")
    return table
