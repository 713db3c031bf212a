"""Make the pages of the results in this repository, with an index.

    python benchmarks/make_gallery.py                    # build/gallery/index.html
    python benchmarks/make_gallery.py runs/first         # beside them those of your own results
    python benchmarks/make_gallery.py --pictures docs    # also the screenshots of the docs

There is a page for each search, comparison and funnel below results/, one for a simplification of
the paper's raw program, and the property cards of some shipped rules. Where the journal of a search
was kept (``journal.sqlite.gz``), its page shows the course as well. Nothing is trained. Needs
``pip install 'optforge[web]'``; the screenshots need playwright and chromium as well.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from optforge.ablation import describe
from optforge.comparison.definition import DEFINITION
from optforge.equality import simplify_exact
from optforge.errors import OptforgeError
from optforge.language import load_rule
from optforge.report.pages.blocks import Page, Words
from optforge.report.pages.funnel import is_funnel
from optforge.report.pages.render import render
from optforge.report.pages.rule import rule_page
from optforge.report.pages.simplification import simplification_page
from optforge.report.pages.write import is_result, page_of
from optforge.report.simplify.files import simple_rule_json
from optforge.runs.file_names import JOURNAL

RULES = ("adamw", "lion", "muon", "ortho_lion")
RAW = "program_8"  # the paper's, before it was made simple
PACKED = f"{JOURNAL}.gz"
# File of each screenshot, with the page and the element that it shows; "" for the top of the page.
PICTURES = {
    "report.png": ("search-2026-11-28-seed0", ""),
    "gallery-funnel.png": ("funnel-2026-11-28-seed0", "#figure-stages"),
    "gallery-seeds.png": ("search-2026-11-27-paper-matrices-seed0", "#figure-seeds"),
    "gallery-differences.png": ("images-optimizers", "#figure-differences"),
    "gallery-coordinates.png": ("images-map", "#figure-coordinates"),
    "gallery-rule.png": ("lion", "#figure-update"),
}
READY = "document.documentElement.dataset.ready === 'yes'"

Subject = tuple[str, str, Callable[[], Page]]  # group, name of the file, the page


@dataclass(frozen=True)
class Entry:
    """A line of the index."""

    group: str
    name: str
    page: Page

    @property
    def headline(self) -> str:
        """What the page says first."""
        blocks = (block for section in self.page.sections for block in section.blocks)
        strong = (block.text for block in blocks if isinstance(block, Words) and block.is_strong)
        return next(strong, "")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the pages of all results, with an index.")
    parser.add_argument("paths", nargs="*", type=Path, help="further results, such as runs/first")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("-o", "--output", type=Path, default=Path("build/gallery"))
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="where screenshots go")
    arguments = parser.parse_args()
    chosen = [*results_below(arguments.results, arguments.paths), *always()]
    entries = make_gallery(chosen, arguments.output)
    print(arguments.output / "index.html")
    if arguments.pictures:
        take_pictures(arguments.output, arguments.pictures, PICTURES)
    sys.exit(len(entries) < len(chosen))


def results_below(root: Path, more: Sequence[Path] = ()) -> Iterator[Subject]:
    """Yield the results given by their paths, then those below a directory."""
    for path in more:
        yield "Your own results", path.name, lambda path=path: page_of(path)
    for path in sorted(filter(is_result, root.rglob("*"))):
        name = "-".join(path.relative_to(root).parts)
        yield _group(path), name, lambda path=path: page_with_journal(path)


def _group(path: Path) -> str:
    if (path / DEFINITION).is_file():
        return "Comparisons"
    return "Funnels" if (path / JOURNAL).is_file() and is_funnel(path) else "Searches"


def page_with_journal(path: Path) -> Page:
    """Return the page of a result, with the course of a search whose journal was kept packed."""
    if not (path / PACKED).is_file():
        return page_of(path)
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(shutil.copytree(path, Path(folder) / path.name))
        with gzip.open(path / PACKED) as packed:
            (unpacked / JOURNAL).write_bytes(packed.read())
            written = packed.mtime or 0
        os.utime(unpacked / JOURNAL, (written, written))  # the page says how long the search took
        return page_of(unpacked)


def always() -> Iterator[Subject]:
    """Yield what is made from the shipped rules alone."""
    yield "Simplifications", f"simplified-{RAW}", simplified
    for name in RULES:
        yield "Rules", name, lambda name=name: rule_page(name)


def simplified() -> Page:
    """Return the page of the exact simplification of the paper's raw program."""
    return simplification_page(simple_rule_json(describe(simplify_exact(load_rule(RAW)))), RAW)


def make_gallery(subjects: Sequence[Subject], folder: Path) -> list[Entry]:
    """Write pages and their index into a directory; what cannot be read is named and left out."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for group, name, page in subjects:
        try:
            entry = Entry(group, name, page())
        except OptforgeError as error:
            print(f"{name} has no page: {error}", file=sys.stderr)
            continue
        (folder / f"{name}.html").write_text(render(entry.page), encoding="utf-8")
        entries.append(entry)
    (folder / "index.html").write_text(index(entries), encoding="utf-8")
    return entries


def index(entries: Sequence[Entry]) -> str:
    """Return the index as HTML; all text is escaped, and it has no scripts."""
    style = (resources.files("optforge.report.pages") / "page.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f"<title>Results of optforge</title><style>{style}</style></head>",
        "<body><main><h1>Results of optforge</h1>",
    ]
    for group in dict.fromkeys(entry.group for entry in entries):
        lines = map(_line, (entry for entry in entries if entry.group == group))
        parts.append(f"<section><h2>{escape(group)}</h2><ul>{''.join(lines)}</ul></section>")
    return "\n".join([*parts, "</main></body></html>\n"])


def _line(entry: Entry) -> str:
    link = f'<a href="{quote(entry.name)}.html">{escape(entry.page.title)}</a>'
    note = f'<span class="note">{escape(entry.page.state)}</span>'
    return f"<li>{link} {note}<br>{escape(entry.headline)}</li>"


def take_pictures(gallery: Path, folder: Path, pictures: Mapping[str, tuple[str, str]]) -> None:
    """Take screenshots of pages of a gallery."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": 1200, "height": 1480}, device_scale_factor=0.7, color_scheme="light"
        )
        tab = context.new_page()
        for file, (name, element) in pictures.items():
            tab.goto((gallery / f"{name}.html").resolve().as_uri())
            tab.wait_for_function(READY)
            if element:  # the bar that stays on top would hide a part of it
                tab.evaluate("document.querySelector('nav').remove()")
            shot = tab.locator(element).screenshot() if element else tab.screenshot()
            # Without a palette: the fewest colors are those that tell optimizers apart.
            Image.open(io.BytesIO(shot)).convert("RGB").save(folder / file, optimize=True)
            print(folder / file)
        browser.close()


if __name__ == "__main__":
    main()
