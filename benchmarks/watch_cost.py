"""What watching costs: processor seconds of `optforge watch`, against those of the search.

    python benchmarks/watch_cost.py [--minutes 3] [--workers 2] [--visitors 1] [--json FILE|-]
    python benchmarks/watch_cost.py --programs 300000        # a page of made-up programs, no search

A real search runs with `optforge watch` beside it, and is stopped when it comes to its table, which
would only make the share of watching smaller. Each visitor keeps the stream of events open and
fetches the page after every change, as a browser does; what the browser spends is not counted.
Wanted is a "watching_share" below 1 % of the search's processor seconds. Importing optforge is paid
once by any process, so it is counted apart, by a server that ends with its first answer.

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
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from measures.machine import load, machine

from optforge.errors import RunError
from optforge.report.pages.live import LivePage
from optforge.report.pages.write import write_page
from optforge.runs import Journal, list_runs
from optforge.runs.directory import JOURNAL


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="of the search (3)")
    parser.add_argument("--workers", type=int, default=2, help="of the search (2)")
    parser.add_argument("--visitors", type=int, default=1, help="who have the page open (1)")
    parser.add_argument("--programs", type=int, help="read a made-up journal of so many instead")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; - to print them")
    options = parser.parse_args()
    out = sys.stderr if options.json == "-" else sys.stdout
    with tempfile.TemporaryDirectory() as folder:
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
    start = _end(_served(root / "empty", _free_port()))
    run, port, done = root / "runs" / "one", _free_port(), threading.Event()
    length = ("--minutes", str(options.minutes), "--workers", str(options.workers))
    search = _started("search", *length, "--out", str(run))
    while not (run / JOURNAL).exists():
        if search.poll() is not None:
            raise SystemExit("the search ended before it began")
        time.sleep(0.5)
    watch, fetched = _served(run, port), [0] * options.visitors
    visitors = [
        threading.Thread(target=_visit, args=(f"http://127.0.0.1:{port}/", done, fetched, number))
        for number in range(options.visitors)
    ]
    for visitor in visitors:
        visitor.start()
    _wait_until_searched(search, run)
    search.send_signal(signal.SIGINT)
    searched = _seconds_of(search)
    done.set()
    watched = _end(watch) - start
    for visitor in visitors:
        visitor.join()
    (summary,) = list_runs(root / "runs")
    return {
        "programs": summary.programs,
        "search_seconds": round(searched, 1),
        "watching_seconds": round(watched, 2),
        "watching_share": f"{watched / searched:.2%}",
        "start_seconds": round(start, 2),
        "pages_fetched": fetched,
    }


def _wait_until_searched(search: subprocess.Popen[bytes], run: Path) -> None:
    """Wait until a search proposes no more programs, as its journal says."""
    while search.poll() is None:
        with suppress(RunError), Journal.open(run / JOURNAL, write=False) as journal:
            if journal.session is not None and journal.session.ended is not None:
                return
        time.sleep(1)
    raise SystemExit("the search ended before its clock did")


def _visit(url: str, done: threading.Event, fetched: list[int], number: int) -> None:
    """Keep the stream of events open and fetch the page after each, until all is done."""
    while not done.is_set():
        with suppress(OSError), urlopen(f"{url}events", timeout=60) as events:
            for line in events:
                if line.startswith(b"data:"):
                    with urlopen(url, timeout=60) as page:
                        page.read()
                    fetched[number] += 1
                if done.is_set():
                    return


def _started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "optforge", *words], stdout=subprocess.DEVNULL)


def _served(root: Path, port: int) -> subprocess.Popen[bytes]:
    """Start `optforge watch` and wait until it answers."""
    server = _started("watch", str(root), "--port", str(port))
    while server.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return server
        time.sleep(0.2)
    raise SystemExit("optforge watch ended before it answered")


def _end(server: subprocess.Popen[bytes]) -> float:
    server.send_signal(signal.SIGINT)
    return _seconds_of(server)


def _seconds_of(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process and return the processor seconds of it and of its children."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


if __name__ == "__main__":
    main()
