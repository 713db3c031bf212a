"""RandAugment's magnitude means what it does in the published code, past 10 too."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest
from PIL import Image

from paper.augmentation import rand_augment
from paper.examples import seeded

OPERATIONS = {
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "solarize", "solarize_add"),
    *("Color", "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY"),
    *("TranslateXRel", "TranslateYRel", "_cut_out"),
}


def named(one: Any) -> str:
    return one.name if hasattr(one, "name") else one.func.__name__


def applied(name: str, magnitude: int, values: Any, size: int = 224) -> Any:
    made: Any = rand_augment(2, magnitude, size)
    one = next(one for one in made.ops if named(one) == name)
    return numpy.asarray(one(Image.fromarray(values)))


def filled(value: int, height: int = 4, width: int = 4) -> Any:
    return numpy.full((height, width, 3), value, numpy.uint8)


def test_there_are_sixteen_operations() -> None:
    made: Any = rand_augment(2, 15, 224)
    assert len(made.ops) == 16 and made.num_layers == 2
    assert {named(one) for one in made.ops} == OPERATIONS


@pytest.mark.parametrize(("magnitude", "degrees"), [(10, 30), (15, 45)])
def test_a_rotation_turns_by_the_magnitude(magnitude: int, degrees: float) -> None:
    values = filled(0, 101, 101)
    values[48:53, 10:91] = 255  # a bar along the middle
    y, x = numpy.nonzero(applied("Rotate", magnitude, values)[:, :, 0] == 255)
    spread = numpy.cov(x, y)
    angle = math.atan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1]) / 2
    assert abs(math.degrees(angle)) == pytest.approx(degrees, abs=1)


def test_the_other_strengths_at_magnitude_15() -> None:
    values = filled(0, 224, 224)
    values[:, :2], values[:, -2:] = 200, 200  # one of them stays within the picture
    moved = applied("TranslateXRel", 15, values)[:, :, 0]
    (columns,) = numpy.nonzero((moved == 200).all(0))
    assert columns.tolist() in ([150, 151], [72, 73])  # 150 pixels
    assert applied("Brightness", 15, filled(50)).max() == 140  # 2.8 times
    assert applied("Posterize", 15, filled(183)).max() == 180  # six bits are left
    assert applied("solarize", 15, filled(127)).max() == 127
    assert applied("solarize", 15, filled(128)).max() == 127
    assert applied("solarize", 10, filled(100)).max() == 155  # 256 is 0 in a byte
    assert applied("solarize_add", 15, filled(20)).max() == 185
    assert applied("solarize_add", 15, filled(128)).max() == 128


def test_a_hole_has_120_pixels_of_224_and_may_leave_the_picture() -> None:
    with seeded(1):
        holes = [applied("_cut_out", 15, filled(0, 224, 224))[:, :, 0] == 128 for _ in range(40)]
    sizes = [(int(hole.any(1).sum()), int(hole.any(0).sum())) for hole in holes]
    assert all(hole.sum() == a * b for hole, (a, b) in zip(holes, sizes, strict=True))
    assert max(sizes) == (120, 120) and 60 <= min(min(size) for size in sizes) < 120


def test_every_operation_is_applied_always() -> None:
    """At a probability of one half a quarter of the pictures would stay as they are."""
    down, along = numpy.mgrid[30:200:32j, 30:200:32j]
    values = numpy.stack([along, down, 230 - along], 2)
    picture = Image.fromarray(values.astype(numpy.uint8))
    with seeded(2):
        made = rand_augment(2, 15, 32)
        same = [made(picture).tobytes() == picture.tobytes() for _ in range(100)]
    assert sum(same) <= 2  # inverted twice, or shifted out and back
