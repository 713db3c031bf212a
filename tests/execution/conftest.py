"""A cluster of three nodes for the tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.ray_nodes import ray_nodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes: two for most tests, the third for what a single test adds."""
    with ray_nodes(3) as nodes:
        yield nodes
