"""``optforge watch``: the page of a result in a browser, while it grows."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Annotated

import typer

from optforge.cli.console import screen
from optforge.cli.options import PlainDebug
from optforge.errors import RunError
from optforge.report.pages.live import LOOPBACK, check_port, make_server, serve

_TOKEN = re.compile(r"[A-Za-z0-9_-]*")


def watch(
    path: Annotated[
        Path, typer.Argument(help="Directory of a result, or of runs.", metavar="DIR")
    ] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need the token.")
    ] = LOOPBACK[0],
    token: Annotated[
        str, typer.Option(help="What visitors must know; made up where one is needed.")
    ] = "",
    debug: PlainDebug = False,
) -> None:
    """Show a result in the browser while it grows.

    The page is that of 'optforge report'. It reads the journal without blocking the search, takes
    less than one percent of a core, and only this machine can see it unless --host is given.
    """
    if not path.is_dir():
        raise RunError(f"{path} is not a directory; give that of a run, or one that holds runs")
    if not _TOKEN.fullmatch(token):
        raise RunError(
            f"token is {token!r}; it is part of an address: use letters, digits, - and _"
        )
    check_port(host, port)
    if host not in LOOPBACK and not token:
        token = secrets.token_urlsafe(16)
    server = make_server(path, host, port, token)
    query, name = f"?token={token}" if token else "", f"[{host}]" if ":" in host else host
    screen().print(f"http://{name}:{port}/{query}  (Ctrl-C ends it)", markup=False, soft_wrap=True)
    serve(server)
