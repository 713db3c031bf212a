"""One tuner for everything: what is known comes first, and all get the same number of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy import ndarray

from optforge.execution import InlineExecutor
from optforge.fitness import seeds
from optforge.jobs import JobRunner, Store, Trainer
from optforge.language import parse
from optforge.tasks import Schedule
from optforge.training import Stack, Trainee, train_population
from optforge.tuning import (
    Dimension,
    Effort,
    Setting,
    Space,
    Tunable,
    in_process,
    losses_by,
    schedule_of,
    tunable,
    tune_together,
)
from tests.helpers.tiny import Blobs, Sums

SPACE = Space((Dimension("lr", 1e-3, 1.0),), of_constants=True)


def sgd(setting: Setting) -> Trainee:
    """Its rate is the constant that invented losses read."""
    text = "def train(w, g, lr):\n    u = g * {!r}\n    u = u * lr\n    return u"
    return Trainee(parse(text.format(dict(setting)["lr"])))


def lr(value: float) -> Setting:
    return (("lr", value),)


def rate(trainee: Trainee) -> float:
    return float(trainee.program.statements[0].arguments[1])


class Invented:
    """Losses with a best rate on each task, and a record of what was asked.

    The noise of the first measurements hangs on the purpose, so that luck with them is no luck
    with the others.
    """

    def __init__(self, best: Mapping[str, float], noise: float = 0.0) -> None:
        self.best, self.noise = best, noise
        self.asked: list[tuple[str, int, dict[str, list[float]]]] = []

    def __call__(
        self, candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
    ) -> dict[str, ndarray]:
        rates = {task: [rate(one) for one in own] for task, own in candidates.items()}
        self.asked.append((purpose, count, rates))
        found = {}
        for task, own in rates.items():
            source = np.random.default_rng(len(self.asked))
            exact = np.log(np.array(own)[:, None] / self.best[task]) ** 2
            found[task] = exact + self.noise * source.standard_normal((len(own), count))
        return found

    def tried(self, task: str) -> list[float]:
        firsts = [of for purpose, count, of in self.asked if (purpose, count) == ("tune", 1)]
        return [r for of in firsts for r in of.get(task, [])]


def test_known_settings_come_first_and_are_measured_again() -> None:
    """Even if they look bad at first: the last measurement decides."""
    known = (lr(0.9), lr(0.0321))
    losses = Invented({"a": 0.0321})
    (found,) = tune_together([(Tunable(SPACE, sgd, known), ["a"])], losses, Effort(20))
    assert losses.tried("a")[:2] == [0.9, 0.0321] and len(losses.tried("a")) == 20
    assert losses.asked[-1][0] == "tune again" and losses.asked[-1][2]["a"][:2] == [0.9, 0.0321]
    assert found.parameters == {"lr": 0.0321} and found.loss == 0.0
    assert found.trainee == sgd(lr(0.0321)) and found.trials == 20


def test_a_known_setting_outside_of_the_space_is_measured_as_it_is_at_the_end() -> None:
    losses = Invented({"a": 5.0})
    known = Tunable(SPACE, sgd, (lr(5.0),))
    (found,) = tune_together([(known, ["a"])], losses, Effort(8))
    assert losses.tried("a")[0] == 1.0, "the nearest there is"
    assert found.parameters == {"lr": 5.0}


def test_all_get_the_same_number_of_trials_whatever_else_is_tuned() -> None:
    jobs = [(Tunable(SPACE, sgd), ["a"]), (Tunable(SPACE, sgd, (lr(0.5),)), ["b", "c"])]
    best = {"a": 0.01, "b": 0.1, "c": 0.1}
    told: list[tuple[int, int]] = []
    losses = Invented(best)
    found = tune_together(jobs, losses, Effort(37), lambda done, total: told.append((done, total)))
    assert {task: len(losses.tried(task)) for task in best} == dict.fromkeys(best, 37)
    assert [one.trials for one in found] == [37, 37] and told == [(16, 37), (32, 37), (37, 37)]
    for job, together in zip(jobs, found, strict=True):
        (alone,) = tune_together([job], Invented(best), Effort(37))
        assert alone == together


def test_two_jobs_on_one_task_are_told_apart() -> None:
    jobs = [(Tunable(SPACE, sgd, (lr(known),)), ["a"]) for known in (0.9, 0.002)]
    losses = Invented({"a": 0.002})
    found = tune_together(jobs, losses, Effort(1))
    assert losses.asked[0][2] == {"a": [0.9, 0.002]}
    assert [one.parameters["lr"] for one in found] == [0.9, 0.002]


@pytest.mark.parametrize("trials", [1, 3, 48])
def test_several_tasks_count_alike(trials: int) -> None:
    """In the mean of both the best lies half-way between their own, on the log scale."""
    best = {"a": 0.01, "b": 0.25}
    losses = Invented(best)
    (found,) = tune_together([(Tunable(SPACE, sgd), ["a", "b"])], losses, Effort(trials))
    assert losses.tried("a") == losses.tried("b")
    finals = losses.asked[-1][2]["a"]
    means = [
        np.mean([np.log(r / middle) ** 2 for middle in best.values()])
        for r in dict.fromkeys(finals)
    ]
    assert found.loss == pytest.approx(min(means))
    if trials == 48:
        assert found.parameters["lr"] == pytest.approx(0.05, rel=0.15)


def test_luck_with_the_first_seeds_does_not_choose() -> None:
    losses = Invented({"a": 0.05}, noise=3.0)
    (found,) = tune_together([(Tunable(SPACE, sgd), ["a"])], losses, Effort(64))
    purpose, count, finals = losses.asked[-1]
    assert (purpose, count, len(finals["a"])) == ("tune again", 12, 12)
    again = Invented({"a": 0.05}, noise=3.0)
    again.asked = losses.asked[:-1]
    logs = again({"a": [sgd(lr(r)) for r in finals["a"]]}, "tune again", 12)["a"].mean(1)
    assert found.parameters["lr"] == finals["a"][int(logs.argmin())] and logs.argmin() != 0
    assert {(p, c) for p, c, _ in losses.asked[:-1]} == {("tune", 1), ("tune", 3)}


def test_the_best_third_by_the_first_seed_gets_the_others() -> None:
    """In each round of 16 they are five; the rest has one seed."""
    losses = Invented({"a": 0.05})
    tune_together([(Tunable(SPACE, sgd), ["a"])], losses, Effort(64))
    for first, whole in zip(losses.asked[:-1:2], losses.asked[1:-1:2], strict=True):
        best = sorted(first[2]["a"], key=lambda r: abs(np.log(r / 0.05)))[:5]
        assert whole[2]["a"] == [r for r in first[2]["a"] if r in best]
    assert len(losses.tried("a")) == 64


def test_an_easy_first_seed_favors_no_trial() -> None:
    """All are 5 lower on the first seed, so the best of the whole trials stays the best of all."""

    class Easy(Invented):
        def __call__(
            self, candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
        ) -> dict[str, ndarray]:
            found = super().__call__(candidates, purpose, count)
            easy = np.where(np.arange(count) == 0, -5.0, 0.0) * (purpose == "tune")
            return {task: values + easy for task, values in found.items()}

    easy, plain = Easy({"a": 0.05}), Invented({"a": 0.05})
    for losses in (easy, plain):
        tune_together([(Tunable(SPACE, sgd), ["a"])], losses, Effort(48))
    assert easy.asked == plain.asked


def test_what_diverges_is_never_the_best() -> None:
    def losses(
        candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
    ) -> dict[str, ndarray]:
        rates = np.array([rate(one) for one in candidates["a"]])[:, None]
        return {"a": np.repeat(np.where(rates > 0.1, np.inf, rates), count, axis=1)}

    known = Tunable(SPACE, sgd, (lr(0.9),))
    (found,) = tune_together([(known, ["a"])], losses, Effort(24))
    assert found.parameters["lr"] <= 0.1
    (hopeless,) = tune_together([(known, ["a"])], losses, Effort(1))
    assert np.isfinite(hopeless.loss), "there is nothing else"


def test_losses_in_this_process_are_those_of_training() -> None:
    """On seeds of the purpose that have nothing in common with another's, many or few at once."""
    tasks = {"Blobs": Blobs(), "Sums": Sums()}
    some = [sgd(lr(0.01 * n)) for n in range(1, 20)]
    losses = losses_by(in_process(tuple(tasks.values())))
    found = losses({"Blobs": some, "Sums": some[:2]}, "tune", 2)
    for task, own in (("Blobs", some), ("Sums", some[:2])):
        chosen = seeds(0, task, "tune", 2)
        logs = train_population(Stack(tasks[task]), own, chosen).losses.log().numpy()
        np.testing.assert_allclose(found[task], logs, rtol=1e-4)
        assert not set(chosen) & set(seeds(0, task, "tune again", 12))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (lr(0.1), None),
        ((("warmup", 0.3),), Schedule(0.3, 1.0, 0.0)),
        (
            (("decay_power", 2.0), ("final_lr", 0.2), ("lr", 0.1), ("warmup", 0.3)),
            Schedule(0.3, 2.0, 0.2),
        ),
    ],
)
def test_a_setting_names_its_schedule(setting: Setting, expected: Schedule | None) -> None:
    assert schedule_of(setting) == expected


def test_averages_are_drawn_by_what_they_forget() -> None:
    """Of a known setting the complement is drawn, and it comes back as it was."""
    candidate = tunable("lion")
    values = {
        "lr": 0.01, "weight_decay": 0.5, "beta1": 0.875, "beta2": 0.9375, "warmup": 0.2,
        "decay_power": 0.5, "final_lr": 0.1,
    }  # fmt: skip
    given = tuple(sorted(values.items()))
    seen: list[Trainee] = []

    def losses(
        candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
    ) -> dict[str, ndarray]:
        seen.extend(candidates["a"])
        return {"a": np.zeros((len(candidates["a"]), count))}

    known = Tunable(candidate.space, candidate.build, (given,))
    tune_together([(known, ["a"])], losses, Effort(1))
    first, whole, again = seen
    assert first == whole == again == candidate.build(given)


def test_the_display_names_the_training_of_the_last_settings() -> None:
    named: list[str] = []
    invented = Invented({"a": 0.1})

    class Display(Trainer):
        def losses(self, programs: Any, chosen: Any, split: str, what: str = "") -> Any:
            named.append(what)
            return invented(programs, "tune", len(chosen["a"]))

    trainer = Display(
        JobRunner(InlineExecutor(lambda: lambda job: job)), {}, 0, Store(None, compiled=False)
    )
    losses = losses_by(trainer, "fit, ", "Training the best settings again")
    tune_together([(Tunable(SPACE, sgd), ["a"])], losses, Effort(20))
    assert set(named[:-1]) == {""} and named[-1] == "Training the best settings again"
