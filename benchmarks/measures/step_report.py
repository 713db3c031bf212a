"""Figures of optimizer steps, as tables and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .contestants import OURS, REFERENCE, RULE
from .machine import spread
from .steps import Row, Size

FULL = "20M-float32"  # where rules and bytes of state are measured
# What the project aims at: a row, the row it is compared with, the sizes, what is wanted.
AIMS = (
    (OURS, "torch SGD fused", ("20M-float32",), "<= 1.1"),
    (OURS, REFERENCE, ("2M-float32",), "<= 0.9"),
    ("Lion foreach", "timm", ("20M-float32", "2M-float32"), "<= 1.05"),
    ("Lion foreach", "timm", ("20M-bfloat16", "2M-bfloat16"), "<= 3"),
    (f"{OURS}, 8 bits", REFERENCE, ("20M-float32", "2M-float32"), "<= 2.5"),
)


@dataclass
class StepReport:
    """Rows by size, and the figures that the project aims at."""

    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: list[dict[str, Any]] = field(default_factory=list)
    times: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # by size and row

    def add_first_steps(self, found: dict[str, Any]) -> None:
        self.first.append(found)

    def add_size(
        self, size: Size, rows: Sequence[Row], kernel: list[float], missing: dict[str, str]
    ) -> None:
        """Take the rows of a size; `kernel` are the times of the in-place kernel."""
        itemsize = size.dtype.itemsize
        self.times[size.name] = {row.name: row.times for row in rows}
        bandwidth = [2 * size.elements * itemsize / seconds for seconds in kernel]
        reference = next((row.times for row in rows if row.name == REFERENCE), None)
        self.sizes[size.name] = {
            "parameters": size.elements,
            "tensors": size.tensors,
            "dtype": str(size.dtype).removeprefix("torch."),
            "kernel_gigabytes_per_second": statistics.median(bandwidth) / 1e9,
            "kernel_range": [value / 1e9 for value in spread(bandwidth).range],
            "missing": missing,
            "rows": {row.name: _figures(row, size, itemsize, bandwidth, reference) for row in rows},
        }

    def aims(self) -> list[tuple[str, float | None, str]]:
        """Give what was aimed at: figure, value, wanted."""
        rows = self.sizes.get(FULL, {}).get("rows", {})
        aims = [
            (f"{size}: {name} / {to}", self._ratio(size, name, to), wanted)
            for name, to, sizes, wanted in AIMS
            for size in sizes
        ]
        costly = [row["ratio_to_bound"] for name, row in rows.items() if name.startswith(RULE)]
        graphs = [first["new_graphs_for_other_rates"] for first in self.first]
        aims += [
            ("costliest rule / its traffic", max(costly, default=None), "<= 1.3"),
            ("new graphs for other rates", max(graphs, default=None), "0"),
        ]
        states = {OURS: "4", f"{OURS}, bfloat16 momentum": "2", f"{OURS}, 8 bits": "1.03"}
        for name, wanted in {**states, REFERENCE: "8"}.items():
            value = rows.get(name, {}).get("state_bytes_per_parameter")
            aims.append((f"state bytes, {name}", value, wanted))
        return aims

    def _ratio(self, size: str, name: str, to: str) -> float | None:
        """Return the median of the ratios within a repeat; None where one did not run."""
        times = self.times.get(size, {})
        ratios = [a / b for a, b in zip(times.get(name, ()), times.get(to, ()), strict=False)]
        return statistics.median(ratios) if ratios else None

    def json(self, machine: dict[str, Any]) -> dict[str, Any]:
        aims = [{"figure": f, "value": v, "wanted": w} for f, v, w in self.aims()]
        return {"machine": machine, "aims": aims, "first_step": self.first, "sizes": self.sizes}

    def show(self, console: Console, machine: dict[str, Any]) -> None:
        console.print()
        console.print("  ".join(f"{key}: {value}" for key, value in machine.items()), style="dim")
        for name, size in self.sizes.items():
            console.print(_table(name, size))
            for row, why in size["missing"].items():
                console.print(f"  did not run: {row}: {why}", style="dim")
        for first in self.first:
            console.print(
                f"first fused step of 400 tensors, {first['parameters']:,} parameters: "
                f"{first['cold_seconds']:.2f} s, {first['warm_seconds']:.2f} s with the compiler's "
                f"cache; graphs {first['graphs']}, {first['new_graphs_for_other_rates']} more for "
                "four other rates"
            )
        table = Table("figure", "value", "wanted", box=box.SIMPLE_HEAD, pad_edge=False)
        for figure, value, wanted in self.aims():
            table.add_row(figure, "-" if value is None else f"{value:.3g}", wanted)
        console.print(table)


def _figures(
    row: Row, size: Size, itemsize: int, bandwidth: list[float], reference: list[float] | None
) -> dict[str, Any]:
    traffic = (3 * itemsize + 2 * row.state_bytes) * size.elements
    bound = [
        seconds * speed / traffic for seconds, speed in zip(row.times, bandwidth, strict=False)
    ]
    ratios = [a / b for a, b in zip(row.times, reference or [], strict=False)]
    return {
        "milliseconds": 1e3 * row.spread.median,
        "range": [1e3 * value for value in row.spread.range],
        "repeats": len(row.times),
        "ran_instead": row.ran or None,
        "ratio_to_adamw_fused": statistics.median(ratios) if ratios else None,
        "ratio_to_bound": statistics.median(bound),
        "state_bytes_per_parameter": row.state_bytes,
        "peak_extra_megabytes": row.peak_extra / 1e6,
    }


def _table(name: str, size: dict[str, Any]) -> Table:
    title = (
        f"{name}: {size['parameters']:,} parameters in {size['tensors']} tensors; "
        f"in-place kernel {size['kernel_gigabytes_per_second']:.1f} GB/s"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("optimizer")
    for heading in ("ms", "range", "/ AdamW fused", "/ traffic", "state B", "extra MB"):
        table.add_column(heading, justify="right")
    for row, found in size["rows"].items():
        low, high = found["range"]
        ratio = found["ratio_to_adamw_fused"]
        table.add_row(
            f"{row} \\[ran {found['ran_instead']}]" if found["ran_instead"] else row,
            f"{found['milliseconds']:.2f}",
            f"{low:.2f} - {high:.2f} ({found['repeats']})",
            "-" if ratio is None else f"{ratio:.2f}",
            f"{found['ratio_to_bound']:.2f}",
            f"{found['state_bytes_per_parameter']:.2f}",
            f"{found['peak_extra_megabytes']:.1f}",
        )
    return table
