"""What the tests of pages share: the package with the plots' code, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.browsing import new_tab


@pytest.fixture(scope="session")
def plots() -> Any:
    reason = "needs vl-convert-python: pip install 'optforge[web]'"
    return pytest.importorskip("vl_convert", reason=reason)


@pytest.fixture(scope="module")
def browser(plots: Any) -> Iterator[Any]:
    del plots
    reason = "needs playwright: pip install playwright"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """An empty page without a network; at the end nothing may have been said or run in it."""
    with new_tab(browser) as opened:
        yield opened
