"""The live view: one frame drawn from the state of a search."""

from __future__ import annotations

import math

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from optforge.cli.braille import plot
from optforge.cli.change import Changing
from optforge.cli.track import Track, clock, fitness, phase_words
from optforge.evolution.history import History
from optforge.evolution.leaders import leader, rescored, validated
from optforge.evolution.tally import stage_counts

_SIDE = 44, 56  # width of the numbers where the program stands beside them
_TWO_COLUMNS, _ROOMY = 80, 104
_PLOT = 4
_HINT = "fitness: log of validation loss over tuned AdamW's, lower is better; Ctrl-C stops, safely"


def frame(
    track: Track, history: History, changing: Changing, width: int, height: int
) -> RenderableType:
    """Draw the whole view in the given number of characters and lines."""
    wide = width >= _TWO_COLUMNS
    side = _SIDE[width >= _ROOMY] if wide else width
    room = height - 6  # of a panel beside the other: less title, hint and borders
    numbers = _numbers(track, history, side - 4, room if wide else room - 6)
    left = Panel(numbers, box=box.ROUNDED, border_style="dim", padding=(0, 1))
    lines = room if wide else room - _height(numbers)
    right = _program(changing, lines)
    body: RenderableType
    if lines < 1:
        body = left
    elif wide:
        body = Table.grid(expand=True)
        body.add_column(width=side)
        body.add_column(ratio=1)
        body.add_row(left, right)
    else:
        body = Group(left, right)
    # Short of the edge, so that the echo of ^C does not wrap and move what is to be erased.
    hint = Text(_HINT, "dim")
    hint.truncate(width - 4, overflow="ellipsis")
    return Group(_head(track, history, width), body, hint)


def _head(track: Track, history: History, width: int) -> RenderableType:
    settings = track.plan.settings
    who = f"{track.workers} worker{'' if track.workers == 1 else 's'}"
    title = Text.assemble(
        ("optforge", "bold cyan"),
        f"  on {', '.join(settings.tasks)}",
        (f"  seed {settings.seed}, {who}, {track.directory.path}", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
    left = track.remaining(history)
    line = Table.grid(padding=(0, 2))
    for _ in range(5):
        line.add_column(no_wrap=True)
    line.add_row(
        Text(f"{clock(track.elapsed)} gone", "bold"),
        ProgressBar(100, 100 * track.share(history), width=max(4, min(40, width - 72))),
        f"{clock(left)} left",
        Text(phase_words(history), "green"),
        Text(_phase_end(track, history), "dim"),
    )
    return Group(title, line)


def _phase_end(track: Track, history: History) -> str:
    settings = track.plan.settings
    if history.phase != "constants" or settings.strategy != "evolution":
        return ""
    end = settings.constants_programs  # batches in flight go beyond it
    return f"{min(history.phase_proposals, end):,} of {end:,}"


def _numbers(track: Track, history: History, width: int, room: int) -> Group:
    """Fill the space with the most important numbers first; those that do not fit are left out."""
    best = _best(history)
    stages = _stages(history, merged=room < 8 + 4 + len(track.plan.stages) + 3 + _PLOT)
    parts: list[RenderableType] = [_counts(track, history), *best]
    if room >= 8 + stages.row_count:
        parts.append(stages)
    used = sum(_lines(part) for part in parts)
    if room >= used + _PLOT + 2 and any(map(math.isfinite, track.points)):
        parts += _plot(track, width, min(7, room - used - 2))
    return Group(*parts)


def _counts(track: Track, history: History) -> Table:
    tally = history.tally
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column()
    for _ in range(3):
        table.add_column(justify="right")
    dim = [Text(word, "dim") for word in ("programs", "now/s", "overall/s")]
    table.add_row("", *dim)
    rows = (("proposed", tally.proposals), ("evaluated", tally.evaluated), ("judged", tally.judged))
    labels = {"proposed": "proposed", "evaluated": "new, evaluated", "judged": "judged in full"}
    for name, count in rows:
        now, overall = track.rates(name)
        table.add_row(labels[name], Text(f"{count:,}", "bold"), _rate(now), _rate(overall))
    cache = 100 * tally.cached / max(1, tally.proposals)
    table.add_row("known already", Text(f"{cache:.0f} %", "bold"), "", "")
    table.add_row("restarts", Text(str(tally.restarts), "bold"), "", "")
    return table


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def _best(history: History) -> list[Text]:
    best, fresh = leader(history), rescored(history)
    value = "none yet" if best is None else fitness(best.fitness)
    lines = [Text.assemble("best fitness    ", (value, "bold green"))]
    if fresh is None:
        lines.append(Text.assemble("on fresh seeds  ", ("not yet measured", "dim")))
    else:
        whose = "" if fresh[1] else ", an earlier best"
        lines.append(Text.assemble("on fresh seeds  ", (fitness(fresh[0]), "bold"), (whose, "dim")))
    if history.settings.validation:
        lines.append(_on_larger(history))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _on_larger(history: History) -> Text:
    value, label = validated(history), "on larger tasks "
    if value is None:
        return Text.assemble(label, ("not yet measured", "dim"))
    begun = f", overfitted {history.tally.overfitted}x" if history.tally.overfitted else ""
    return Text.assemble(label, (fitness(value), "bold"), (begun, "red"))


def _stages(history: History, merged: bool) -> Table:
    tally = history.tally
    counts = {k: v for k, v in stage_counts(tally.stages).items() if k != "judged"}
    if merged and counts:
        counts = {"rejected": sum(counts.values())}
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    if not merged:
        table.add_row(Text("rejected at", "dim"), "", "")
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        share = f"{100 * count / max(1, tally.evaluated):.1f} %"
        table.add_row(name if merged else f"  {name}", f"{count:,}", share)
    audit = f"{tally.false_rejects} of {tally.audited} audited"
    share = f"{100 * tally.false_rejects / tally.audited:.1f} %" if tally.audited else ""
    table.add_row("wrongly rejected", audit, share)
    return table


def _plot(track: Track, width: int, height: int) -> list[RenderableType]:
    finite = [value for value in track.points if math.isfinite(value)]
    top, bottom = f"{max(finite):+.3f}", f"{min(finite):+.3f}"
    lines = plot(track.points, width - 8, height)
    labels = [top, *[""] * (height - 2), bottom]
    drawn = [
        Text.assemble((f"{label:>7} ", "dim"), (line, "cyan"))
        for label, line in zip(labels, lines, strict=True)
    ]
    return [Text("best fitness in this session", "dim"), *drawn]


def _program(changing: Changing, room: int) -> Panel:
    shown = changing.text(room)
    title = f"best program{changing.ago()}"
    if not shown.plain:
        shown = Text("Judging the warm start ...", "dim")
    shown.no_wrap, shown.overflow = True, "ellipsis"  # a wrapped line would push out the last one
    return Panel(shown, title=title, title_align="left", box=box.ROUNDED, border_style="dim")


def _lines(part: RenderableType) -> int:
    return part.row_count if isinstance(part, Table) else 1


def _height(group: Group) -> int:
    return sum(_lines(part) for part in group.renderables) + 2
