"""The public names: each where it is looked for, and nothing imported that is not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import optforge


def run(code: str) -> str:
    """Run code in a fresh interpreter and give what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SLOW = ("torch._dynamo", "torch._inductor", "torch.distributed.tensor", "sympy", "egglog", "optuna")
LOADED = (
    f"import sys\nprint([name for name in sys.modules if name in {SLOW} or "
    "name.split('.')[:2] in [['optforge', r] for r in "
    "('api', 'evolution', 'tasks', 'training', 'equality')]])"
)


@pytest.mark.parametrize(
    "line", ["from optforge.optim import Lion", "from optforge import Lion", "import optforge"]
)
def test_lion_brings_in_nothing_of_the_search_and_nothing_slow(line: str) -> None:
    """Neither the compiler nor distributed tensors, which few programs need."""
    assert run(f"{line}\n{LOADED}") == "[]"


FUNCTIONS_STAY = """
import optforge
import optforge.evolution.settings
import optforge.comparison, optforge.equality.exact
from optforge.evolution.settings import Settings
from optforge.evolution import Settings as Again
from optforge import search, compare, simplify
assert Settings is Again
for one in (optforge.search, search, optforge.compare, compare, optforge.simplify, simplify):
    assert callable(one), one
assert optforge.search is search and search.__module__ == "optforge.api.search"
print(optforge.language.parse is optforge.parse)
"""


def test_functions_keep_their_names_whatever_rooms_are_imported() -> None:
    assert run(FUNCTIONS_STAY) == "True"


def test_every_public_name_is_there() -> None:
    assert set(optforge.__all__) <= set(dir(optforge))
    for name in optforge.__all__:
        assert getattr(optforge, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'lion'"):
        optforge.lion  # noqa: B018
