"""The pages of running results, served over HTTP: one reader for all visitors, updates as events.

Needs ``pip install 'optforge[web]'``.
"""

from __future__ import annotations

import asyncio
import html
import importlib
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from optforge.errors import OptforgeError
from optforge.files import raw_bytes
from optforge.report.pages.render import page_style, render
from optforge.report.pages.write import is_result, page_of, results_in
from optforge.runs import list_runs

# Of starlette and uvicorn, which are imported when pages are served.
Request: TypeAlias = Any
Response: TypeAlias = Any
Server: TypeAlias = Any
Starlette: TypeAlias = Any

_PING = 15.0  # seconds after which a silent connection gets a comment, so that it stays open
_SLICE = 0.25  # seconds after which a stream of events looks whether the server is to end
_GRACE = 5  # seconds in which a last look at a journal may end with the server
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Pace:
    """How often a result is read again; half a percent of a core, however long its journal is.

    Args:
        least: Least number of seconds between two reads.
        share: Share of a core that reading may take; serving takes less than as much again.

    Example:
        >>> Pace(least=1.0).share
        0.005
    """

    least: float = 2.0
    share: float = 0.005


class LivePage:
    """The page of a result, read again when enough time has passed since it was last read.

    It opens the journal for reading each time: it neither blocks the search nor minds that one
    side begins anew.

    Args:
        path: Directory of the result.
        pace: How often it is read again.

    Example:
        >>> LivePage(Path("runs/none")).version
        0
    """

    def __init__(self, path: Path, pace: Pace = Pace()) -> None:
        self.path, self.pace = path, pace
        self.version, self.content = 0, ""
        self._due = 0.0
        self._lock = threading.Lock()

    def refresh(self) -> int:
        """Read the result again if that is due, and return the number of its present version.

        Raises:
            OptforgeError: If it could never be read; later errors leave the last page as it is.
        """
        with self._lock:
            if time.monotonic() >= self._due:
                self._read()
            return self.version

    def _read(self) -> None:
        begun = time.thread_time()
        try:
            content = render(page_of(self.path), live=True)
        except OptforgeError:
            if not self.content:
                raise
            content = self.content
        if content != self.content:
            self.version, self.content = self.version + 1, content
        spent = time.thread_time() - begun
        self._due = time.monotonic() + max(self.pace.least, spent / self.pace.share)


class Site:
    """The live pages of a directory: of the result in it, or of all runs below it.

    Args:
        root: Directory of a result, or one that holds runs.
        pace: How often a result is read again.
        is_ending: Whether the server is to end, and with it all streams of events.
    """

    def __init__(
        self, root: Path, pace: Pace = Pace(), is_ending: Callable[[], bool] = lambda: False
    ) -> None:
        self.root, self.pace, self.is_ending = root, pace, is_ending
        self._pages: dict[str, LivePage] = {}
        self._started = secrets.token_hex(4)  # versions of another process are not ours

    def page(self, name: str) -> LivePage | None:
        """Return the page of a run by its name; an empty name stands for the root itself."""
        if name and name not in {path.name for path in results_in(self.root)}:
            return None
        if not name and not is_result(self.root):
            return None
        return self._pages.setdefault(name, LivePage(self.root / name, self.pace))

    def version(self, page: LivePage) -> str:
        """Return what names the present content of a page; another process has other names."""
        return f"{self._started}-{page.version}"

    def content(self, page: LivePage) -> str:
        """Return a page as HTML that knows its version."""
        return page.content.replace(' data-version=""', f' data-version="{self.version(page)}"', 1)

    def listing(self) -> str:
        """Return the list of runs and other results as HTML, in the order of their names."""
        said = {
            run.path.name: f": {run.problem or run.status}, {run.programs:,} programs"
            for run in list_runs(self.root)
        }
        said = dict.fromkeys((path.name for path in results_in(self.root)), "") | said
        rows = "".join(
            f'<li><a href="/run/{quote(name)}/">{html.escape(name)}</a>{html.escape(words)}</li>'
            for name, words in said.items()
        )
        head = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width"><meta name="color-scheme" content="light dark">'
            '<link rel="icon" href="data:,">'
            f"<title>Runs</title><style>{page_style()}</style>"
        )
        return f"{head}<h1>Runs in {html.escape(str(self.root))}</h1><ul>{rows}</ul>"

    async def changes(self, page: LivePage) -> AsyncIterator[str]:
        """Yield a server-sent event with the version now and after every change."""
        sent, silent = "", 0.0
        while not self.is_ending():
            with suppress(OptforgeError):  # not readable now; the next look may find it mended
                await asyncio.to_thread(page.refresh)
            version = self.version(page)
            silent += self.pace.least
            if version != sent:
                sent, silent = version, 0.0
                yield f"data: {version}\n\n"
            elif silent > _PING:
                silent = 0.0
                yield ": still here\n\n"
            await self._pause()

    async def _pause(self) -> None:
        """Wait until the next look, or until the server is to end."""
        due = time.monotonic() + self.pace.least
        while (left := due - time.monotonic()) > 0 and not self.is_ending():
            await asyncio.sleep(min(left, _SLICE))


def live_app(site: Site, token: str = "") -> Starlette:
    """Return the application that serves live pages.

    Args:
        site: The pages.
        token: What a visitor must know, as ``?token=...`` once; empty for none, which only a
            server on the loopback address may do.

    Raises:
        OptforgeError: If starlette is not installed.
    """
    applications, routing, responses = map(_web, ("applications", "routing", "responses"))
    middleware, base, hosts = map(_web, ("middleware", "middleware.base", "middleware.trustedhost"))

    async def show(request: Request) -> Response:
        page = site.page(request.path_params.get("name", ""))
        if page is None:
            is_listing = "name" not in request.path_params
            text = site.listing() if is_listing else "There is no such run."
            return responses.HTMLResponse(raw_bytes(text), 200 if is_listing else 404)
        try:
            await asyncio.to_thread(page.refresh)
        except OptforgeError as error:
            return responses.PlainTextResponse(raw_bytes(f"{error}."), 503)
        return responses.HTMLResponse(raw_bytes(site.content(page)))

    async def events(request: Request) -> Response:
        page = site.page(request.path_params.get("name", ""))
        if page is None:
            return responses.PlainTextResponse("There is no such run.", 404)
        headers = {"Cache-Control": "no-store"}
        kind = "text/event-stream"
        return responses.StreamingResponse(site.changes(page), media_type=kind, headers=headers)

    routes = [
        routing.Route(path, endpoint)
        for path, endpoint in (
            *(("/", show), ("/events", events)),
            *(("/run/{name}/", show), ("/run/{name}/events", events)),
        )
    ]
    if token:
        guard = middleware.Middleware(base.BaseHTTPMiddleware, dispatch=_asks_for(token, responses))
    else:  # another name in the request is a page elsewhere that wants to read ours
        guard = middleware.Middleware(hosts.TrustedHostMiddleware, LOOPBACK)
    return applications.Starlette(routes=routes, middleware=[guard])


def check_port(host: str, port: int) -> None:
    """Check that pages can be served at an address, before it is told to anybody.

    Raises:
        OptforgeError: If another program has the port, or this machine has no such address.

    Example:
        >>> check_port("127.0.0.1", 0)  # 0 stands for any free port
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        _ = host.encode("idna")  # else a socket is left open
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:
        raise OptforgeError(
            f"port {port} of {host} cannot be used ({getattr(error, 'strerror', None) or error}); "
            "give another one with --port, or an address of this machine with --host"
        ) from error


def serve(server: Server) -> None:
    """Serve live pages until the process is interrupted.

    Args:
        server: As :func:`make_server` returns it.
    """
    with suppress(KeyboardInterrupt):
        server.run()


def make_server(root: Path, host: str, port: int, token: str = "", pace: Pace = Pace()) -> Server:
    """Return the server of live pages; open pages do not keep it from ending.

    Args:
        root: Directory of a result, or one that holds runs.
        host: Address to listen on.
        port: Port; 0 for any free one.
        token: As in :func:`live_app`.
        pace: How often a result is read again.

    Raises:
        OptforgeError: If the packages are not installed.
    """
    uvicorn = _import("uvicorn")
    app = live_app(Site(root, pace, lambda: server.should_exit), token)
    options = {"log_level": "warning", "timeout_graceful_shutdown": _GRACE}
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, **options))
    return server


def _asks_for(token: str, responses: Any) -> Callable[..., Any]:
    """Return a guard that lets in who knows the token, and remembers it in a cookie."""

    async def guard(request: Request, call_next: Callable[..., Any]) -> Response:
        sent = request.query_params.get("token") or request.cookies.get("token", "")
        if not secrets.compare_digest(sent.encode(), token.encode()):
            return responses.PlainTextResponse("Add ?token=... to the address.", 403)
        response = await call_next(request)
        response.set_cookie("token", token, httponly=True, samesite="strict")
        return response

    return guard


def _web(name: str) -> Any:
    return _import(f"starlette.{name}")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise OptforgeError(
            f"watching needs {name.split('.')[0]}, which is not installed; install it with "
            "pip install 'optforge[web]'"
        ) from None
