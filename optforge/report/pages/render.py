"""From the blocks of a page to one HTML file."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from optforge.errors import OptforgeError
from optforge.files import replace_file
from optforge.report.json_values import plain
from optforge.report.pages.blocks import Figure, Page
from optforge.tasks.data.cache import directory as cache_directory

_FOLDER = Path(__file__).parent
_DIGITS = 6  # significant ones of a number; a pixel needs four
_WHOLE = re.compile(r"\[[^]]*\]|\d %|\S+ ± \S+|< \d")


def render(page: Page, live: bool = False) -> str:
    """Return a page as HTML that needs no other file and no network.

    All text is escaped, the data is JSON in which no tag can end, and a content security policy
    allows the page's own scripts and nothing else.

    Args:
        page: The page.
        live: Whether it is served by ``optforge watch``, so that it listens for changes.

    Raises:
        OptforgeError: If the package with the plots' code is not installed.
    """
    from markupsafe import Markup

    library, script = plot_code(), (_FOLDER / "page.js").read_text(encoding="utf-8")
    return _template().render(
        page=page,
        live=live,
        policy=_policy(library, script),
        style=Markup(page_style()),
        data=Markup(json_for_script(page_data(page))),
        library=Markup(library),
        script=Markup(script),
    )


def page_style() -> str:
    """Return the style sheet of all pages."""
    return (_FOLDER / "page.css").read_text(encoding="utf-8")


def page_data(page: Page) -> dict[str, Any]:
    """Return the data of a page's figures as JSON-serializable values."""
    return {"figures": {figure.name: _figure_data(figure) for figure in page.figures}}


def json_for_script(value: Any) -> str:
    """Return JSON that can stand in a script element: it holds no ``<``, ``>`` or ``&``.

    Example:
        >>> json_for_script({"name": "</script>"})
        '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


@cache
def plot_code() -> str:
    """Return the code of Vega, Vega-Lite and Vega-Embed, from the cache of optforge if it is there.

    Raises:
        OptforgeError: If ``vl-convert-python``, which holds it, is not installed.
    """
    try:
        package = importlib.import_module("vl_convert")
    except ImportError:
        raise OptforgeError(
            "a page needs vl-convert-python, which is not installed; install it with "
            "pip install 'optforge[web]'"
        ) from None
    path = cache_directory() / f"vega-{package.__version__}.js"
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    # Its names are in a function of their own; a closing tag inside a text would end the script.
    bundle = package.javascript_bundle().replace("</script", r"<\/script").replace("<!--", r"<\!--")
    code = "(()=>{" + bundle + "})();"
    with suppress(OSError):  # a cache that cannot be written costs seconds, not the page
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, code)
    return code


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True)
    environment.filters["whole"] = whole
    return environment.get_template("page.html")


def whole(cell: str) -> Any:
    """Return a table's cell as HTML that breaks into lines between its values, not within them.

    An interval, a spread and a unit stay with their number, and a long name may break after ``_``.

    Example:
        >>> str(whole("-9.5 % [-18.1, +0.0]")).replace("\\xa0", "~")
        '-9.5~% [-18.1,~+0.0]'
    """
    from markupsafe import Markup, escape

    kept = _WHOLE.sub(lambda match: match[0].replace(" ", "\xa0"), cell)
    return Markup(str(escape(kept)).replace("_", "_<wbr>"))


def _figure_data(figure: Figure) -> dict[str, Any]:
    columns = list(figure.rows[0]) if figure.rows else []
    rows = [[_short(row[column]) for column in columns] for row in figure.rows]
    return {"spec": figure.spec, "columns": columns, "rows": rows}


def _short(value: Any) -> Any:
    shortened = plain(value)
    return float(f"{shortened:.{_DIGITS}g}") if isinstance(shortened, float) else shortened


@cache
def _policy(*scripts: str) -> str:
    """Return a policy that allows these scripts by their hashes; Vega compiles its expressions."""
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    rules: Mapping[str, str] = {
        "default-src": "'none'",
        "script-src": f"{hashes} 'unsafe-eval'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
