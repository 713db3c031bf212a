"""Live pages: they follow a run that grows, ask for a token, and let in nobody else."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

import pytest

from optforge.errors import OptforgeError
from optforge.report.pages import live
from optforge.report.pages.live import LivePage, Pace, Site
from optforge.runs import Journal
from tests.helpers.browsing import READY
from tests.helpers.page_runs import finish_run, grow_run, make_run

pytest.importorskip("vl_convert", reason="needs vl-convert-python: pip install 'optforge[web]'")
pytest.importorskip("starlette", reason="needs starlette: pip install 'optforge[web]'")
pytest.importorskip("uvicorn", reason="needs uvicorn: pip install 'optforge[web]'")


class Served:
    """Live pages served from a thread at a free port."""

    def __init__(self, root: Path, token: str = "", port: int = 0) -> None:
        pace = Pace(0.2, 1.0)  # at once, though that takes more than half a percent of a core
        self.server = live.make_server(root, "127.0.0.1", port, token, pace)
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> str:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


def answer(url: str, **headers: str) -> tuple[int, str]:
    """The status of an answer, and the cookie that it sets."""
    try:
        with urlopen(UrlRequest(url, headers=headers)) as given:
            return given.status, given.headers.get("Set-Cookie", "")
    except HTTPError as error:
        error.close()
        return error.code, ""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "first", programs=100)


def test_a_page_has_a_new_version_only_when_the_run_has_grown(run: Path) -> None:
    page = LivePage(run, Pace(0.0))
    page._due = 0.0
    assert page.refresh() == 1
    page._due = 0.0
    assert page.refresh() == 1
    with Journal.open(run / "journal.sqlite", write=True) as journal:
        grow_run(journal, 100, 150)
        page._due = 0.0
        assert page.refresh() == 2, "a journal that is being written must be readable"
    assert "150" in page.content


def test_reading_waits_two_hundred_times_as_long_as_it_takes(run: Path) -> None:
    page = LivePage(run, Pace(0.0))
    begun, spent = time.monotonic(), time.thread_time()
    page.refresh()
    spent = time.thread_time() - spent
    assert page._due - begun >= 190 * spent > 0


def test_an_error_leaves_the_last_page(run: Path) -> None:
    page = LivePage(run, Pace(0.0))
    page.refresh()
    content, page._due = page.content, 0.0
    shutil.rmtree(run)
    assert page.refresh() == 1 and page.content == content
    with pytest.raises(OptforgeError):
        LivePage(run).refresh()


def test_runs_are_listed_and_others_are_not_served(run: Path) -> None:
    site = Site(run.parent)
    assert "first" in site.listing() and "100 programs" in site.listing()
    assert site.page("first") is not None
    other = run.parent / "<i>&?"
    other.mkdir()
    (other / "table.json").write_text("{}")
    assert '<a href="/run/%3Ci%3E%26%3F/">&lt;i&gt;&amp;?</a></li>' in site.listing()
    assert site.page("<i>&?") is not None
    for name in ("..", "", ".", "first/../first", "x" * 300):
        assert site.page(name) is None


def test_only_this_machine_or_who_knows_the_token(run: Path) -> None:
    with Served(run) as url:
        assert answer(url)[0] == 200
        assert answer(url, Host="evil.example")[0] == 400
    with Served(run, token="secret") as url:
        assert answer(url)[0] == 403
        assert answer(f"{url}/?token=wrong")[0] == 403
        status, cookie = answer(f"{url}/?token=secret")
        assert status == 200 and "token=secret" in cookie and "HttpOnly" in cookie
        assert answer(url, Cookie="token=secret")[0] == 200


def test_an_open_page_follows_a_run_that_grows(browser: Any, run: Path) -> None:
    with Served(run.parent) as url:
        page, said = browser.new_page(), list[str]()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.set_default_timeout(30_000)
        page.goto(url)
        page.click("text=first")
        page.wait_for_function(READY)
        page.locator("#descent summary").first.click()
        front = page.locator("#pareto summary").first.inner_text()
        with Journal.open(run / "journal.sqlite", write=True) as journal:
            grow_run(journal, 100, 150)
        grown = "[...document.querySelectorAll('#summary dd')].some(e => /^150,/.test(e.innerText))"
        page.wait_for_function(grown)
        page.wait_for_function("views.progress.data('data_0') !== undefined")
        assert page.locator("#descent details[open]").count() == 1
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        assert page.locator("#pareto summary").first.inner_text() != front
        finish_run(run)
        page.click("#sections >> text=Table")
        page.wait_for_function("views.contenders !== undefined")
        assert said == []
        page.close()


def test_either_side_may_be_restarted(
    browser: Any, run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shows = "document.getElementById('summary').innerText.includes('{:,}, ')".format
    page = browser.new_page()
    page.set_default_timeout(30_000)
    with Served(run) as url:
        page.goto(url)
        page.wait_for_function(READY)
    assert capfd.readouterr().err == "", "an open page keeps no server from ending"
    page.wait_for_selector("#state[data-lost]")
    with Journal.open(run / "journal.sqlite", write=True) as journal:
        grow_run(journal, 100, 150)
    with Served(run, port=int(url.rsplit(":")[-1])):
        page.wait_for_function(shows(150))
        assert page.locator("#state[data-lost]").count() == 0
        shutil.rmtree(run)
        make_run(run, programs=50)
        page.wait_for_function(shows(50))
    page.close()


def test_a_page_knows_its_version(run: Path) -> None:
    versions = []
    for site in (Site(run), Site(run)):  # as of two processes
        page = site.page("")
        assert page is not None and page.refresh() == 1
        versions.append(site.version(page))
        assert f'data-version="{versions[-1]}"' in site.content(page)
    assert versions[0] != versions[1]


def test_a_damaged_result_is_told_until_it_is_mended(run: Path) -> None:
    (run / "table.json").write_text("{")
    with Served(run) as address:
        assert answer(f"{address}/")[0] == 503
        (run / "table.json").unlink()
        assert answer(f"{address}/")[0] == 200
