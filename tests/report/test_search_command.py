"""The command on the page of a search leads to the same settings again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from optforge.api.search_options import SearchOptions
from optforge.cli.app import app
from optforge.evolution import Settings
from optforge.language import load_rule
from optforge.report.pages.repeat import own_tasks, search_command
from optforge.tasks import load_task

NAMES = ("mnist_mlp", "mnist_vit")
LARGER = ("letters_residual", "mnist_autoencoder")


def settings_of(options: SearchOptions) -> Settings:
    settings = options.settings(load_rule(options.start), [load_task(name) for name in NAMES])
    return replace(settings, validation=tuple(map(str, options.larger)))


def repeated(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> SearchOptions:
    """Return the options that the command line makes of the command."""
    caught: list[dict[str, Any]] = []
    monkeypatch.setattr("optforge.cli.search.conduct", lambda _, given, __: caught.append(given))
    stored = {"search": settings.stored(), "held_out": []}
    words = search_command(stored, Path("runs/first"), 5000)
    outcome = CliRunner().invoke(app, words[1:])
    assert outcome.exit_code == 0, outcome.output
    return SearchOptions(**caught[0])


@pytest.mark.parametrize(
    "given",
    [
        {"minutes": 30.0, "compile": True, "validate": LARGER, "validation_share": 0.2},
        {"minutes": 0.5, "compile": False, "validate": (), "gradient_spread": 1.0, "lag": 9,
         "on_matrices": 0.25},
        {"programs": 9, "mutations": (1, 0, 2), "functions": "paper,rows", "restart": "initial",
         "strategy": "random", "max_state_bytes": 12, "constants_programs": 0, "in_place": 0.25},
    ],
)  # fmt: skip
def test_the_command_gives_the_settings_again(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(SearchOptions(tasks=NAMES, held_out=(), **given))
    options = repeated(settings, monkeypatch)
    assert settings_of(options) == settings and options.programs == 5000
    assert list(options.others) == []


def test_a_task_of_ones_own_is_named_with_the_trials_of_its_baseline() -> None:
    stored: dict[str, Any] = {
        "search": {"tasks": ["mnist_mlp", "Mine"], "validation": ["Larger"]},
        "held_out": ["letters_resnet"], "tuning": {"trials": 48},
    }  # fmt: skip
    assert own_tasks(stored) == ["Mine", "Larger"]
    words = search_command(stored, Path("runs/first"), 9)
    assert words[words.index("--trials") + 1] == "48" and "--fresh-seeds" not in words
    stored["tuning"]["fresh_seeds"] = 6
    words = search_command(stored, Path("runs/first"), 9)
    assert words[words.index("--fresh-seeds") + 1] == "6"
