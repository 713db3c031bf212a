"""What watching costs: processor seconds of `optforge watch`, against those of the search.

    python benchmarks/watch_cost.py [--minutes 3] [--workers 2] [--visitors 1] [--json FILE|-]
    python benchmarks/watch_cost.py --programs 300000        # a page of made-up programs, no search

A real search runs with `optforge watch` beside it, and is stopped when it comes to its table, which
would only make the share of watching smaller. Each visitor keeps the stream of events open and
fetches the page after every change, as a browser does; what the browser spends is not counted.
Wanted is a "watching_share" below 1 % of the search's processor seconds. Importing optforge is paid
once by any process, so it is counted apart, by a server that ends with its first answer. It takes
about a minute more than the search; every wait is told, and none lasts forever.

With --programs the page of a journal of so many made-up programs is read, rendered and, where
chromium and playwright are, opened until all its figures are drawn. Wanted are less than 7 MB and 2
seconds. Nothing is asserted. Times are processor seconds unless "elapsed", so that other load
disturbs little.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from measures.machine import load, machine

from optforge.errors import RunError
from optforge.report.pages.live import LivePage
from optforge.report.pages.write import write_page
from optforge.runs import Journal, list_runs
from optforge.runs.file_names import JOURNAL

_PATIENCE = 300.0  # seconds for a start, or for an end
_TELL = 15.0  # seconds after which a wait is told again


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="of the search (3)")
    parser.add_argument("--workers", type=int, default=2, help="of the search (2)")
    parser.add_argument("--visitors", type=int, default=1, help="who have the page open (1)")
    parser.add_argument("--programs", type=int, help="read a made-up journal of so many instead")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; - to print them")
    options = parser.parse_args()
    out = sys.stderr if options.json == "-" else sys.stdout
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        figures = reading(root, options.programs) if options.programs else watching(root, options)
    figures["machine"] = {**machine(options.workers), "load_after": load()}
    for name, value in figures.items():
        print(f"{name}: {value}", file=out)
    if options.json == "-":
        print(json.dumps(figures, indent=1))
    elif options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def reading(root: Path, programs: int) -> dict[str, Any]:
    """Return what it costs to read and render the page of a journal, and how often that is done."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.helpers.page_runs import make_run

    page = LivePage(make_run(root / "run", programs))
    begun, clock = time.thread_time(), time.monotonic()
    page.refresh()
    figures = {
        "programs": programs,
        "a_look_seconds": round(time.thread_time() - begun, 2),
        "next_look_after_seconds": round(page._due - clock),
        "page_megabytes": round(len(page.content.encode()) / 2**20, 2),
    }
    file = write_page(page.path)
    with suppress(ImportError):
        times = [opening(file) for _ in range(3)]
        figures["opening_seconds"] = [round(spent, 2) for spent, _ in times]
        figures["opening_elapsed"] = [round(elapsed, 2) for _, elapsed in times]
    return figures


def opening(file: Path) -> tuple[float, float]:
    """Return the seconds until all figures are drawn: of the page's thread, and elapsed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        tab = browser.new_page()
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        begun = time.monotonic()
        tab.goto(file.as_uri())
        tab.wait_for_function("document.documentElement.dataset.ready === 'yes'")
        elapsed = time.monotonic() - begun
        metrics = session.send("Performance.getMetrics")["metrics"]
        browser.close()
    (spent,) = (m["value"] for m in metrics if m["name"] == "TaskDuration")
    return spent, elapsed


def watching(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the processor seconds of a search, and of watching it."""
    (root / "empty").mkdir()
    with Process("watch", str(root / "empty")) as server:
        server.answers()
        start = server.end()
    run, fetched = root / "runs" / "one", [0] * options.visitors
    length = ("--minutes", str(options.minutes), "--workers", str(options.workers))
    with Process("search", *length, "--out", str(run)) as search:
        search.wait(lambda: (run / JOURNAL).exists(), "the search to begin")
        with Process("watch", str(run)) as watch:
            address = watch.answers()
            for number in range(options.visitors):
                visit = (address, fetched, number)
                threading.Thread(target=_visit, args=visit, daemon=True).start()
            search.wait(lambda: _is_searched(run), "its table", 60 * options.minutes)
            searched, watched = search.end(), watch.end() - start
    (summary,) = list_runs(root / "runs")
    return {
        "programs": summary.programs,
        "search_seconds": round(searched, 1),
        "watching_seconds": round(watched, 2),
        "watching_share": f"{watched / searched:.2%}",
        "start_seconds": round(start, 2),
        "pages_fetched": fetched,
    }


def _is_searched(run: Path) -> bool:
    """Return whether a search proposes no more programs, as its journal says."""
    with suppress(RunError), Journal.open(run / JOURNAL, write=False) as journal:
        return journal.session is not None and journal.session.ended is not None
    return False


def _visit(url: str, fetched: list[int], number: int) -> None:
    """Keep the stream of events open and fetch the page after each, as long as this runs."""
    while True:
        with suppress(OSError, HTTPException), urlopen(f"{url}events", timeout=60) as events:
            for line in events:
                if line.startswith(b"data:"):
                    with urlopen(url, timeout=60) as page:
                        page.read()
                    fetched[number] += 1
        time.sleep(1)


class Process:
    """A command of optforge; a context manager that lets none of it go on after the block.

    It is ended by SIGTERM: what a shell starts in the background does not hear SIGINT.

    Args:
        words: The words of the command; of a server, without its port.
    """

    def __init__(self, *words: str) -> None:
        self.name, self.port = words[0], _free_port() if words[0] == "watch" else None
        port = ("--port", str(self.port)) if self.port else ()
        command = [sys.executable, "-m", "optforge", *words, *port]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._spent: float | None = None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.has_ended():
            self._process.kill()

    def has_ended(self) -> bool:
        """Return whether it has; from then on it is known what it and its children spent."""
        if self._spent is None:
            number, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if number:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._spent = usage.ru_utime + usage.ru_stime
        return self._spent is not None

    def answers(self) -> str:
        """Wait until it serves a page, and return the address."""
        url = f"http://127.0.0.1:{self.port}/"

        def is_served() -> bool:  # a connection alone may be to the check of the port
            with suppress(OSError, HTTPException), urlopen(url, timeout=30):
                return True
            return False

        self.wait(is_served, "an answer")
        return url

    def end(self) -> float:
        """Ask it to end, wait for that, and return the processor seconds of it all."""
        self._process.send_signal(signal.SIGTERM)
        self.wait(self.has_ended, "its end")
        assert self._spent is not None
        return self._spent

    def wait(self, holds: Callable[[], bool], what: str, seconds: float = 0.0) -> None:
        """Wait for something, at most so many seconds and then some; tell how long it lasts."""
        begun, told = time.monotonic(), 0.0
        while not holds():
            waited = time.monotonic() - begun
            if self.has_ended() and not holds():
                raise SystemExit(f"optforge {self.name} ended; this waited for {what}")
            if waited > seconds + _PATIENCE:
                raise SystemExit(f"optforge {self.name}: {what} did not come in {waited:.0f} s")
            if waited >= told + _TELL:
                told = waited
                print(f"optforge {self.name}: {waited:.0f} s for {what}", file=sys.stderr)
            time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


if __name__ == "__main__":
    main()
