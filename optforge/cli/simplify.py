"""``optforge simplify``: from raw program to readable rule, with the proof of each step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from optforge.ablation import Options, SimpleRule
from optforge.ablation.evolve import PROGRAMS
from optforge.api.simplification import simplify as run
from optforge.cli.console import screen
from optforge.cli.derived import print_rule
from optforge.cli.options import Force, Json, PlainDebug
from optforge.cli.stopping import Stopping
from optforge.cli.trials import TrialsDisplay
from optforge.equality import draw_update
from optforge.errors import SimplifyError, StoppedError
from optforge.files import replace_file, split_list
from optforge.report.json_values import json_text
from optforge.report.simplify.files import rule_text, simple_rule_json
from optforge.report.simplify.page import simplify_markdown
from optforge.tasks import PROXY_TASKS

STOPPED = 130
_OF_TRAINING = ("tasks", "margin", "keep", "drop_unresolved", "by", "programs", "minutes", "seed")
_TRAINING, _OUTPUT, _MACHINE = "With training", "Output", "Machine"


def simplify(
    context: typer.Context,
    rule: Annotated[
        str, typer.Argument(help="A file, a shipped rule's name, or the directory of a run.")
    ],
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Use no training: equal over the real numbers, or up to a guard."
        ),
    ] = False,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Tasks to train on, the cheapest first, separated by commas; your own as "
            f"file.py:Class. [dim]Default: those of the run, or {', '.join(PROXY_TASKS)}.[/]",
            show_default=False,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            help="Log loss by which the mean over tasks may rise for a statement to leave.",
            rich_help_panel=_TRAINING,
        ),
    ] = Options.margin,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Protect a variable, function, state or hyper-parameter; may be repeated.",
            metavar="NAME",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    drop_unresolved: Annotated[
        bool,
        typer.Option(
            "--drop-unresolved",
            help="Drop also what the tasks cannot tell from harmless.",
            rich_help_panel=_TRAINING,
        ),
    ] = False,
    by: Annotated[
        str,
        typer.Option(
            help="'statements' tries to leave out one after the other; 'evolution' first evolves "
            "the rule with insertion disabled, as the paper did.",
            rich_help_panel=_TRAINING,
        ),
    ] = "statements",
    programs: Annotated[
        int,
        typer.Option(help="Proposals of --by evolution.", rich_help_panel=_TRAINING),
    ] = PROGRAMS,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="End after so long with what was decided. [dim]Default: no limit.[/]",
            show_default=False,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of all training seeds. [dim]Default: that of the run, or 0.[/]",
            show_default=False,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Write the simple rule to this file; with a name in .md the table and the "
            "derivation too.",
            metavar="FILE",
        ),
    ] = None,
    force: Force = False,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw the update against gradient and momentum to this PNG."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes, 0 for this one alone. [dim]Default: one a core.[/]",
            show_default=False,
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    debug: PlainDebug = False,
) -> None:
    """Simplify a rule, and write down why every step is allowed.

    What training has shown is kept: after Ctrl-C the same command goes on where it was.
    """
    if by not in ("statements", "evolution"):
        raise typer.BadParameter(f"--by is {by!r}; give 'statements' or 'evolution'")
    if programs < 1:
        raise typer.BadParameter(f"--programs is {programs}; give 1 or more")
    _check_given(context, exact, by)
    _check_free((output, picture), force)
    options = Options(
        margin, tuple(keep or ()), drop_unresolved, programs if by == "evolution" else 0, minutes
    )
    names = None if tasks is None else split_list(tasks)
    with Stopping() as stopping, TrialsDisplay(terminal_only=as_json) as display:
        stopping.armed = not exact
        try:
            found = run(
                rule,
                exact=exact,
                tasks=names,
                options=None if exact else options,
                seed=seed,
                workers=workers,
                force=force,
                display=display,
                stop=stopping,
            )
        except (StoppedError, KeyboardInterrupt):
            found = None
    if found is None:
        text = "Stopped; nothing is lost. The same command goes on where it was"
        Console(stderr=True, highlight=False).print(text, soft_wrap=True)
        raise typer.Exit(STOPPED)
    if output is not None:
        _write(output, found)
    if picture is not None:
        _draw(picture, found)
    if as_json:
        typer.echo(json_text(simple_rule_json(found)), nl=False)
    else:
        print_rule(found, screen())


def _check_given(context: typer.Context, exact: bool, by: str) -> None:
    """Refuse options that would be ignored."""
    sources = {name: context.get_parameter_source(name) for name in _OF_TRAINING}
    given = [
        f"--{name.replace('_', '-')}"
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]
    if exact and given:
        raise typer.BadParameter(
            f"--exact uses no training, so that {', '.join(given)} would do nothing; leave out "
            "--exact or the others"
        )
    if by != "evolution" and "--programs" in given:
        raise typer.BadParameter("--programs is for --by evolution; give both or neither")


def _check_free(files: Sequence[Path | None], force: bool) -> None:
    """Refuse to replace a file, before any work is done for it."""
    for file in files:
        if file is not None and file.exists() and not force:
            raise SimplifyError(f"{file} exists already; replace it with --force")
        if file is not None and not file.parent.is_dir():
            raise SimplifyError(f"cannot write {file}: there is no directory {file.parent}")


def _write(path: Path, found: SimpleRule) -> None:
    text = simplify_markdown(found) if path.suffix == ".md" else rule_text(found)
    try:
        replace_file(path, text)
    except OSError as error:
        raise SimplifyError(f"cannot write {path}: {error.strerror}") from None


def _draw(path: Path, found: SimpleRule) -> None:
    try:
        draw_update(found.program, path)
    except OSError as error:
        raise SimplifyError(f"cannot write {path}: {error.strerror}") from None
