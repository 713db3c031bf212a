"""Grids of drawn images: from a finished comparison, one for each optimizer."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from optforge.cli.app import app
from optforge.report.comparison import style as comparison_style

pytest.importorskip("diffusers", reason="needs the package diffusers: optforge[diffusion]")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_every_optimizer_draws_from_the_same_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comparison_style, "_DPI", 20)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    out, threads = tmp_path / "out", torch.get_num_threads()
    words = ["compare", "--tasks", "glyph_diffusion_16", "--optimizers", "adamw,lion"]
    words += ["--fix", "steps=2", "--fix", "batch_size=4", "--trials", "1", "--seeds", "2"]
    words += ["--extensions", "0", "--workers", "0", "--out", str(out)]
    told = CliRunner().invoke(app, words, env={"COLUMNS": "160"})
    assert told.exit_code == 0, told.output
    main = import_module("diffusion_grids").main
    main([str(out), "--images", "8", "--steps", "2"])
    torch.set_num_threads(threads)
    files = sorted(out.glob("*-adamw.png")) + sorted(out.glob("*-lion.png"))
    assert [str(file) for file in files] == capsys.readouterr().out.split()
    pictures = [Image.open(file).convert("L").tobytes() for file in files]
    assert len(pictures) == 2 and pictures[0] != pictures[1]
    assert Image.open(files[0]).size == (8 * 17 + 1, 17 + 1)
    main([str(out), "--images", "8", "--steps", "2"])
    torch.set_num_threads(threads)
    assert [Image.open(file).convert("L").tobytes() for file in files] == pictures


def test_a_folder_without_a_finished_task_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    words = '{"tasks": ["glyph_diffusion_16"], "optimizers": ["adamw", "lion"]}'
    (tmp_path / "comparison.json").write_text(words)
    threads = torch.get_num_threads()
    with pytest.raises(SystemExit, match="has no finished task"):
        import_module("diffusion_grids").main([str(tmp_path)])
    torch.set_num_threads(threads)
