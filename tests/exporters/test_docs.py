"""The examples of `docs/export.md` run as they stand there."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optforge.cli.app import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory whose modules can be imported, and are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in {file.stem for file in tmp_path.glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("folder")
def test_the_examples_of_the_page_run() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (commands,) = re.findall("```sh\n(.*?)```", text, re.S)
    for line in commands.splitlines():
        assert CliRunner().invoke(app, shlex.split(line)[1:]).exit_code == 0, line
    torch_block, optax_block = re.findall("```python\n(.*?)```", text, re.S)
    ends = "\nassert (update != 0).tolist() == [True, False, True]\n"
    ends_optax = "\nassert float(jnp.abs(params['w']).max()) < 0.05, params\n"
    for code in (torch_block + ends, optax_block + ends_optax):
        exec(compile(code, str(PAGE), "exec", dont_inherit=True), {})
