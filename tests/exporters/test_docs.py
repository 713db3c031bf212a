"""The examples of `docs/export.md` run as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from optforge.cli.app import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch) -> None:  # noqa: ANN001
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    (commands,) = re.findall("```sh\n(.*?)```", text, re.S)
    for line in commands.splitlines():
        assert CliRunner().invoke(app, shlex.split(line)[1:]).exit_code == 0, line
    torch_block, optax_block = re.findall("```python\n(.*?)```", text, re.S)
    ends = "\nassert (update != 0).tolist() == [True, False, True]\n"
    ends_optax = "\nassert float(jnp.abs(params['w']).max()) < 0.05, params\n"
    for code in (torch_block + ends, optax_block + ends_optax):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
