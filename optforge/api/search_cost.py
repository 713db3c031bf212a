"""The cost of a search before it runs, measured on a few steps of each task."""

from __future__ import annotations

from dataclasses import replace

from optforge.api.own_tasks import check_own, loaded
from optforge.api.search_options import SearchOptions
from optforge.assessment.cost import SearchCost, TaskCost
from optforge.errors import SearchError
from optforge.execution import process_count
from optforge.jobs import Silent
from optforge.language import load_rule
from optforge.training import checked_device, is_gpu, one_thread, trained_alone
from optforge.tuning import BaselineTuner, shipped
from optforge.tuning.own_tasks import seconds_of_training
from optforge.tuning.trainees import FULL

_STEPS, _PROGRAMS = 5, 16  # timed of each task, and so many programs at once


def search_cost(options: SearchOptions) -> SearchCost:
    """Return what a search would cost, without running it; takes seconds a task.

    Args:
        options: Options of the search.

    Raises:
        OptforgeError: If an option or a task cannot be used, as in a search.

    Example:
        >>> cost = search_cost(SearchOptions(["digits_mlp"], held_out=[], workers=1, programs=100))
        >>> cost.tasks[0].steps, cost.total > cost.verdict > 0
        (200, True)
    """
    device = checked_device(options.device, SearchError)
    proxies, held_out = loaded(options.proxies), loaded(options.others)
    options.settings(load_rule(options.start), proxies)
    tasks, watch = [*proxies, *held_out], options.watch or Silent()
    check_own(tasks, watch)
    alone = trained_alone(tasks, watch.say, device)
    workers = options.chosen_workers(gpus=is_gpu(device))
    seconds = {}
    with one_thread():
        for number, task in enumerate(tasks):
            watch.progress("Measuring a few steps of each task", number, len(tasks))
            seconds[task.name] = seconds_of_training(
                task, task.name in alone, device, _STEPS, _PROGRAMS
            )
    untuned = [task for task in tasks if shipped(task, "adamw") is None]
    tuner = BaselineTuner(options.trials, options.length, workers)
    effort = tuner.fitting(sum(seconds[task.name] for task in untuned)) if untuned else FULL
    effort = replace(effort, fresh_seeds=options.fresh_seeds)
    judging = options.repeats + options.confirm
    costs = [
        TaskCost.of(task, seconds[task.name], effort, task in untuned, judging * (task in proxies))
        for task in tasks
    ]
    processes = max(1, process_count(workers))
    return SearchCost(tuple(costs), processes, device, options.length, options.programs)
