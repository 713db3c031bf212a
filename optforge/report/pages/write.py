"""From a path to its page: which kind of result lies there, and the file that is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from optforge.comparison.definition import DEFINITION
from optforge.errors import OptforgeError, reading
from optforge.files import begin_record, has_record, replace_own
from optforge.report.pages.blocks import Code, Page
from optforge.report.pages.comparison import read_comparison
from optforge.report.pages.funnel import is_funnel, read_funnel
from optforge.report.pages.render import render
from optforge.report.pages.rule import is_rule, rule_page
from optforge.report.pages.run_data import read_run
from optforge.report.pages.search import search_page
from optforge.report.pages.search_results import read_results
from optforge.report.pages.simplification import read_simplification
from optforge.report.simplify.files import SIMPLE_JSON
from optforge.runs.file_names import JOURNAL, TABLE_JSON
from optforge.runs.guard import disk_errors
from optforge.runs.outputs import check_output, write_output

PAGE = "report.html"
_KEPT = (JOURNAL, DEFINITION)  # files of directories that optforge makes itself
_RESULTS = (*_KEPT, TABLE_JSON, SIMPLE_JSON)


def is_result(path: Path) -> bool:
    """Return whether a directory holds a result that has a page."""
    return _has(path, _RESULTS)


def results_in(root: Path) -> list[Path]:
    """Return the directories right below one that hold a result, in the order of their names."""
    return sorted({file.parent for name in _RESULTS for file in root.glob(f"*/{name}")})


def _has(path: Path, names: Iterable[str]) -> bool:
    return any((path / name).is_file() for name in names)


def page_of(path: str | Path) -> Page:
    """Return the page of a result.

    Args:
        path: Directory of a search, a comparison or a funnel, which may be running, or of a
            simplification; of the latter also its file; the file or the name of a rule.

    Raises:
        OptforgeError: If no result lies there, or it cannot be read.
    """
    path = Path(path)
    with reading(path, "run the command that made it again"), disk_errors():
        page = _read(path)
    if page is not None:
        return page
    raise OptforgeError(
        f"{path} holds no result that has a page; give the directory of a search, a comparison, a "
        "funnel or a simplification, such as runs/NAME ('optforge runs' lists them), or a rule"
    )


def _read(path: Path) -> Page | None:
    """Read the page of what lies at a path; None if that is no result."""
    if (path / JOURNAL).is_file():
        return _checked(read_funnel(path) if is_funnel(path) else search_page(read_run(path)))
    if (path / DEFINITION).is_file():
        return read_comparison(path)
    if (path / SIMPLE_JSON).is_file() or (path.name == SIMPLE_JSON and path.is_file()):
        return _checked(read_simplification(path))
    if (path / TABLE_JSON).is_file():
        return _checked(read_results(path))
    return rule_page(path) if is_rule(path) else None


def _checked(page: Page) -> Page:
    """Check what the template takes as text; files give what they hold."""
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Code) and not isinstance(block.text, str):
                raise TypeError(f"a program is {block.text!r}")
    return page


def write_page(path: str | Path, out: str | Path | None = None, force: bool = False) -> Path:
    """Write the page of a result.

    Args:
        path: Its directory, or a rule, as in :func:`page_of`.
        out: File to write; ``report.html`` in the directory by default, and for a rule a file
            beside it with its name.
        force: Whether a file that optforge did not write may be replaced.

    Returns:
        The file.

    Raises:
        OptforgeError: If there is no result, or the file cannot be written.
    """
    target = Path(out) if out is not None else _place(Path(path))
    if out is not None:
        check_output(target, force)
    text = render(page_of(path))
    if out is not None:
        write_output(target, text, force)
        return target
    folder = target.parent
    try:
        if force:
            begin_record(folder, [target.name])
        elif not (has_record(folder) or _has(folder, _KEPT)):  # a folder of the user's
            begin_record(folder)
        replace_own(target, text)
    except OSError as error:
        raise OptforgeError(f"{target} was not written: {error.strerror or error}") from error
    return target


def _place(path: Path) -> Path:
    """Return the file of a page that is written beside its result."""
    if path.is_dir():
        return path / PAGE
    return path.with_suffix(".html") if is_rule(path) else path.with_name(PAGE)
