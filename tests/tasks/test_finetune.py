"""Fine-tuning: the content of the checkpoints is in the task's hash, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from optforge.tasks import initial_model
from optforge.tasks.contrastive import TrainedImageText
from optforge.tasks.images import FineTuneTask
from optforge.training import pretrain


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


def test_of_an_image_text_model_the_image_tower_is_fine_tuned(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="needs the package timm: optforge[vision]")
    sizes = {"image_tower": "vit_tiny", "copies": (1, 1, 1), "width": 16, "layers": 1, "steps": 2}
    file = str(tmp_path / "{seed}.pt")
    pretrain(TrainedImageText("both", **sizes), torch.optim.Adam, 3, file)
    weights = torch.load(tmp_path / "3.pt", weights_only=True)["model"]
    task = FineTuneTask("after", architecture="vit_tiny", checkpoint=file, side=16)
    model = initial_model(task, 3).state_dict()
    assert torch.equal(model["blocks.1.mlp.fc1.weight"], weights["image.blocks.1.mlp.fc1.weight"])
    assert model["head.weight"].shape == (26, 16)
    assert model.keys() == {
        key.removeprefix("image.") for key in weights if key.startswith("image.")
    }
