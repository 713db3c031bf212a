"""Images under noise, bent and smaller: what is done to them, and what is scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from optforge.tasks import initial_model
from optforge.tasks.contrastive import TrainedImageText, shifts
from optforge.tasks.contrastive.shifts import SHIFTS, distorted, noisy, smaller

pytest.importorskip("timm", reason="needs the package timm: optforge[vision]")


def picture(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(3, 1, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(rough, (16, 16), mode="bilinear").squeeze(1)


def test_a_smaller_image_is_scipy_s_affine_one() -> None:
    for image, shrunk in zip(picture(), smaller(picture()), strict=True):
        offset = 7.5 - 7.5 / 0.65
        wanted = ndimage.affine_transform(
            np.pad(image.numpy(), 16), [1 / 0.65] * 2, offset + 16, (16, 16), order=1
        )
        np.testing.assert_allclose(shrunk.numpy(), wanted, atol=1e-5)


def test_noise_has_its_deviation_and_is_clipped() -> None:
    grey = torch.full((4, 64, 64), 0.5)
    assert abs(float((noisy(grey) - 0.5).mean())) < 0.01
    assert float((noisy(grey) - 0.5).std()) == pytest.approx(0.25, abs=0.015)
    assert noisy(torch.ones(1, 64, 64)).max() == 1 and noisy(torch.zeros(1, 64, 64)).min() == 0


def test_a_bent_image_is_read_where_the_field_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_to_the_right(shape: tuple[int, ...]) -> Tensor:
        field = torch.zeros(shape)
        field[:, 0] = 2 * (2 / 16) / 0.2  # two pixels of sixteen
        return field

    image = picture()
    assert not torch.allclose(distorted(image), image, atol=0.05)
    monkeypatch.setattr(shifts, "_normal", two_to_the_right)
    torch.testing.assert_close(distorted(image)[:, :, :13], image[:, :, 2:15], atol=1e-4, rtol=0)


def test_shifts_are_the_same_at_every_call_and_other_for_each_image() -> None:
    twins = picture()[:1].repeat(2, 1, 1)
    for name, change in SHIFTS.items():
        assert torch.equal(change(twins), change(twins)), name
        assert torch.equal(*change(twins)) == (name == "scale")


def test_scores_of_shifted_images_are_those_of_images_so_changed() -> None:
    sizes: Any = {"image_tower": "vit_tiny", "copies": (1, 1, 1), "width": 16, "layers": 1}
    task = TrainedImageText("small_both", **sizes)
    model = initial_model(task, 0).eval()
    with torch.no_grad():
        scores = task.scores(model, 0)
        assert set(scores) >= {
            f"{name}_{shift}"
            for name in ("missed_at_1_image_to_text", "zero_shot_error_script")
            for shift in ("noise", "distortion", "scale")
        }
        for shift, change in SHIFTS.items():
            other = TrainedImageText("small_both", **sizes)
            images = change(task.splits.test.inputs[:, :256].view(-1, 16, 16)).flatten(1)
            other.splits.test.inputs[:, :256] = images
            changed = other.scores(model, 0)
            for name in ("missed_at_1_image_to_text", "zero_shot_error_category"):
                assert scores[f"{name}_{shift}"] == pytest.approx(changed[name], abs=1e-6)
