"""Check and measure optforge on one CUDA GPU.

    python benchmarks/gpu.py [--json FILE] [--only SECTION,...] [--device cuda:0]

At most eight minutes on one card. Without a card it says so and ends with code 1.

Sections:

correct     the kernel of rules against the interpreter, training against the processor, steps of
            `Lion` and `ProgramOptimizer` by `torch.compile` against the loop
peaks       a large float32 matrix product, a large copy, and what the kernel of rules moves
rates       candidates a second against two CPU cores, on the shipped proxies and on ones about 30
            times larger: rules of all kinds, one seed each, evaluation not counted
lion        milliseconds of a step on 100 M parameters in 20 tensors, beside fused AdamW and the
            bound of its traffic
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from measures import gpu_checks, gpu_times
from measures.machine import machine

SECTIONS = ("correct", "peaks", "rates", "lion")


def main() -> None:
    options = read_options()
    if options.cores:
        names = [name for pair in gpu_times.PAIRS for name in pair]
        gpu_times.two_cores(list(reversed(names)), Path(options.cores))
        return
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here: nothing is measured")
    warnings.simplefilter("ignore")
    figures: dict[str, Any] = {"machine": machine(2), "card": torch.cuda.get_device_name()}
    for section in options.only:
        begin = time.perf_counter()
        try:
            figures[section] = SECTION[section](options.device)
        except Exception as error:  # the other sections are still worth their time
            figures[section] = {"failed": f"{type(error).__name__}: {error}"[:2000]}
        figures[section]["seconds"] = time.perf_counter() - begin
        print(section, json.dumps(figures[section], indent=1), flush=True)
        if options.json:
            Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if any("failed" in figures[section] for section in options.only):
        sys.exit(1)


def correct(device: str) -> dict[str, Any]:
    return {
        "rules": gpu_checks.check_rules(device, 200),
        "training": gpu_checks.check_training(device, gpu_times.RULES),
        "optimizers": gpu_checks.check_optimizers(device),
    }


def peaks(device: str) -> dict[str, Any]:
    copy = gpu_times.copy_bandwidth(device)
    moved = {
        name: gpu_times.rule_bandwidth(device, name, 64, 3, 200_000) / copy
        for name in ("lion", "adamw", "adan")
    }
    return {
        "float32_product_flops": gpu_times.product_peak(device),
        "copy_bytes_per_second": copy,
        "rule_kernel_share_of_copy": moved,
    }


def rates(device: str) -> dict[str, Any]:
    """Measure the card while another process measures two cores, of which more are wanted."""
    names = [name for pair in gpu_times.PAIRS for name in pair]
    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder) / "cores.json", dict[str, Any]()
        cores = subprocess.Popen([sys.executable, __file__, "--cores", str(path)])
        try:
            result = {
                name: {"recorded": _rate(name, device, compile=False)} for name in reversed(names)
            }
            for name in reversed(names):
                result[name]["compiled"] = _rate(name, device, compile=True)
            cores.wait(timeout=60)
        except subprocess.TimeoutExpired:
            cores.terminate()
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, row in result.items():
        row["two_cores"] = known.get(name, {})
        fastest = max(row["two_cores"].values(), default=float("nan"))
        best = max(row[way]["candidates_per_second"] for way in ("recorded", "compiled"))
        row["times_two_cores"] = best / fastest
    return result


def _rate(name: str, device: str, compile: bool) -> dict[str, Any]:
    row = gpu_times.gpu_rate(name, device, compile, 256)
    row["share_of_peak"] = row["training_flops_per_second"] / gpu_times.product_peak(device, 4096)
    print(name, "compiled" if compile else "recorded", json.dumps(row), flush=True)
    torch.cuda.empty_cache()
    return row


def lion(device: str) -> dict[str, Any]:
    return {
        str(dtype).removeprefix("torch."): gpu_times.lion_step(device, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    }


SECTION = {"correct": correct, "peaks": peaks, "rates": rates, "lion": lion}


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--only", metavar="SECTION,...", default=",".join(SECTIONS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cores", metavar="FILE", help="measure two CPU cores only")
    options = parser.parse_args()
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    for name in options.only:
        if name not in SECTIONS:
            parser.error(f"there is no section {name!r}; there are {', '.join(SECTIONS)}")
    return options


if __name__ == "__main__":
    main()
