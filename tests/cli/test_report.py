"""``optforge report``: a page for a run, and plain sentences for mistakes."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from optforge.api.funnel_result import FunnelResult
from optforge.cli.app import app
from tests.helpers.page_runs import make_run
from tests.reliability.fuzz import refusal


def call(*words: str) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(app, ["report", *words], env=environment)


def test_a_run_becomes_a_page_beside_its_journal(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert-python: pip install 'optforge[web]'")
    run = make_run(tmp_path / "run", programs=50)
    result = call(str(run))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{run / 'report.html'} (")
    named = call(str(run), "-o", str(tmp_path / "named.html"))
    assert named.exit_code == 0 and (tmp_path / "named.html").is_file()


@pytest.mark.parametrize("name", [".", "nowhere"])
def test_what_is_no_result_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    result = call(str(tmp_path / name))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "holds no result" in line and "optforge runs" in line


@pytest.mark.parametrize(
    ("words", "subject"),
    [
        ("rules", "RULE"),
        ("show lion", "lion"),
        ("export lion --to torch --out out.py", "lion"),
        ("simplify signum --exact --out out.json", "out.json"),
        ("funnel run", "run/funnel"),
        ("explain run", "run"),
        ("runs .", "run"),
    ],
)
def test_the_end_of_every_verb_names_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, subject: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"), programs=50)
    funnel = FunnelResult(Path("run/funnel"), (), ("first",), "adamw", stopped=True)
    monkeypatch.setattr("optforge.cli.funnel.run", lambda **_: funnel)
    monkeypatch.setattr("optforge.cli.explain.run_explain", lambda **_: None)
    monkeypatch.setattr("optforge.cli.explain.print_explanation", lambda *_: None)
    result = CliRunner().invoke(app, words.split(), env={"COLUMNS": "200"})
    assert result.exit_code in (0, 130), result.output  # the funnel was stopped
    assert f"As a page: optforge report {subject}\n" in result.output


@pytest.mark.parametrize(("words", "asks"), [([], False), (["--host", "0.0.0.0"], True)])
def test_watching_beyond_this_machine_needs_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], asks: bool
) -> None:
    served: list[tuple[object, ...]] = []
    monkeypatch.setattr("optforge.cli.watch.check_port", lambda *_: None)
    monkeypatch.setattr("optforge.cli.watch.make_server", lambda *values: served.append(values))
    monkeypatch.setattr("optforge.cli.watch.serve", lambda _: None)
    result = CliRunner().invoke(app, ["watch", str(tmp_path), "--port", "9001", *words])
    assert result.exit_code == 0, result.output
    ((root, host, port, token),) = served
    assert (root, host, port) == (tmp_path, words[-1] if words else "127.0.0.1", 9001)
    assert bool(token) == asks == (f"?token={token}" in result.stdout)


def test_a_missing_server_is_said_before_any_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(app, ["watch", str(tmp_path), "--port", str(free_port())])
    assert result.exit_code == 1 and "pip install 'optforge[web]'" in result.stderr
    assert result.stdout == ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_what_is_no_directory_is_not_watched(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["watch", str(tmp_path / "nowhere")])
    assert result.exit_code == 1 and "is not a directory" in result.stderr


def test_an_address_that_cannot_be_served_is_a_sentence(tmp_path: Path) -> None:
    """It was printed, and an error of the server with a traceback of its own came after it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port} of 127.0.0.1 cannot be used" in refusal(
            "watch", str(tmp_path), "--port", port
        )
    for host in ("a..b", "192.0.2.1"):
        assert f"of {host} cannot be used" in refusal("watch", str(tmp_path), "--host", host)
