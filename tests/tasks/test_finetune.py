"""Fine-tuning: the content of the checkpoints is in the task's hash, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from optforge.tasks.images import FineTuneTask


@pytest.mark.parametrize("folder", ["plain", "run[1]", "what?", "[a-z]"])
def test_the_content_of_checkpoints_is_known_in_any_folder(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    task = FineTuneTask("after", checkpoint=str(place / "c-{seed}.pt"))
    found = []
    for content in (b"one", b"two"):
        for seed in (0, 1):
            (place / f"c-{seed}.pt").write_bytes(content)
        found.append(task.settings()["checkpoint"])
    assert [len(set(digests)) for digests in found] == [1, 1] and found[0] != found[1]
