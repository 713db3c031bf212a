"""Settings for all tests."""

from __future__ import annotations

import gc
import os
import signal

import pytest
import torch
from hypothesis import HealthCheck, settings

# Times vary with the machine, so no deadline. `HYPOTHESIS_PROFILE=deep` looks for longer.
_QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile("quick", deadline=None, max_examples=40, suppress_health_check=_QUIET)
settings.register_profile(
    "ci", settings.get_profile("quick"), derandomize=True, database=None, print_blob=True
)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=1000)
# `make test` draws the same examples each time, `make slow` new ones.
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# In a background job interrupts are ignored, and so they would be in what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # many small computations: more threads get in each other's way


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the property tests, which `make slow` runs again on new examples."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.property)


def pytest_collection_finish() -> None:
    """Freeze what is there before the first test.

    Some libraries collect garbage in each call, accelerate at the end of each training; among the
    millions of objects of imported modules that takes a second.
    """
    gc.collect()
    gc.freeze()
