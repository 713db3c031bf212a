"""Writing of a search's results into the directory of its run."""

from __future__ import annotations

from optforge.assessment.finish import Finish
from optforge.jobs import Display
from optforge.report.search.files import search_files
from optforge.report.search.history import draw_history
from optforge.runs import HISTORY, RunDirectory


def write_finish(finish: Finish | None, directory: RunDirectory) -> None:
    """Write rules and tables of a finished search, or nothing if no program was judged."""
    for name, text in search_files(finish).items() if finish is not None else ():
        directory.write_text(name, text)


def write_history(directory: RunDirectory, display: Display) -> None:
    """Write the history figure of a search into its directory."""
    try:
        directory.write_bytes(HISTORY, draw_history(directory.journal))
    except Exception as error:  # a missing picture is no reason to lose a result
        display.say(f"The picture of the history was not drawn ({type(error).__name__}: {error})")
