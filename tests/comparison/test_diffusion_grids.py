"""Grids of drawn images: from a finished comparison, one for each optimizer."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from optforge.cli.app import app

pytest.importorskip("diffusers", reason="needs the package diffusers: optforge[diffusion]")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def pixels(file: Path) -> tuple[tuple[int, int], bytes]:
    with Image.open(file) as picture:
        return picture.size, picture.convert("L").tobytes()


@pytest.mark.slow
def test_every_optimizer_draws_from_the_same_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    out, threads = tmp_path / "out", torch.get_num_threads()
    words = ["compare", "--tasks", "glyph_diffusion_16", "--optimizers", "adamw,lion"]
    for change in ("steps=2", "batch_size=4", "widths=[8,8,8]", "copies=[1,1,1]", "side=8"):
        words += ["--fix", change]
    words += ["--trials", "1", "--seeds", "2", "--finalists", "1", "--again", "0"]
    words += ["--extensions", "0", "--workers", "0", "--no-figures", "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    main = import_module("diffusion_grids").main
    files, before = [out / f"glyph_diffusion_16-{name}.png" for name in ("adamw", "lion")], None
    for _ in range(2):
        main([str(out), "--images", "8", "--steps", "2"])
        torch.set_num_threads(threads)
        assert capsys.readouterr().out.split() == [str(file) for file in files]
        first, second = map(pixels, files)
        assert first[0] == second[0] == (8 * 9 + 1, 9 + 1) and first[1] != second[1]
        assert before in (None, (first, second))
        before = (first, second)


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
