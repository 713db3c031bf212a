"""Each test starts without what accelerate remembers of the one before."""

from __future__ import annotations

import pytest
from accelerate.state import AcceleratorState, GradientState

from tests.helpers.pictures import folders


@pytest.fixture(autouse=True)
def fresh_accelerate() -> None:
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folders(tmp_path_factory.mktemp("pictures") / "data"))
