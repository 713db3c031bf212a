"""What is printed never fails for the encoding of the output."""

from __future__ import annotations

import io
import sys

import pytest

from optforge.cli.console import fail, print_anything, screen


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_any_sign_can_be_printed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, stream in raw.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding=encoding))
    print_anything()
    screen().print("0.5 ± 0.1 größer −1 ≤ β │ ▁▂▃")
    fail("größe ± is not there")
    for name, stream in raw.items():
        getattr(sys, name).flush()
        text = stream.getvalue().decode(encoding)
        assert ("0.5 " if name == "stdout" else "error: gr") in text
        assert ("±" in text) == (encoding != "ascii")
