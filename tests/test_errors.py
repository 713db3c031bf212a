"""Settings are made plain when they are given, and refused in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch

from optforge.api.explanation import ExplainOptions
from optforge.api.export import ExportOptions
from optforge.api.funnel_options import FunnelOptions
from optforge.api.search_options import SearchOptions
from optforge.api.simplification import SimplifyOptions
from optforge.comparison import ComparisonSettings
from optforge.errors import CompareError, OptforgeError, SearchError, real_number, whole_number
from optforge.evolution.settings import Settings
from optforge.options import with_plain_fields


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_whole_numbers_of_all_kinds_become_ints(value: object) -> None:
    assert type(whole_number("trials", value, 1)) is int
    assert whole_number("trials", value, 1) == 3


@pytest.mark.parametrize("value", [3.0, np.float64(3), "3", None, True, Decimal(3), 0, -1])
def test_what_is_no_whole_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(SearchError, match="trials is .*; it must be a whole number of at least 1"):
        whole_number("trials", value, 1, SearchError)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float16(0.5), Fraction(1, 2)])
def test_real_numbers_of_all_kinds_become_floats(value: object) -> None:
    assert type(real_number("minutes", value, above=0)) is float
    assert real_number("minutes", value, above=0) == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0, -1, 10**400, "1", None, True])
def test_what_is_no_number_in_range_is_refused_by_name(value: object) -> None:
    with pytest.raises(SearchError, match="minutes is .*; it must be a number above 0"):
        real_number("minutes", value, above=0, wrong=SearchError)


def test_infinity_is_no_limit_where_a_limit_can_be_absent() -> None:
    for value in (math.inf, np.float32(math.inf), 10**400):
        assert real_number("minutes", value, above=0, infinite=True) == math.inf
    with pytest.raises(OptforgeError, match="or inf for no limit"):
        real_number("minutes", math.nan, above=0, infinite=True)


def test_fields_of_a_dataclass_become_plain() -> None:
    @dataclass(frozen=True)
    class Some:
        count: int
        share: float
        most: int | None
        names: tuple[str, ...]

        def __post_init__(self) -> None:
            with_plain_fields(self, SearchError)

    some = Some(np.int32(2), np.float32(0.5), None, ["a"])  # type: ignore[arg-type]
    assert some == Some(2, 0.5, None, ("a",))
    assert [type(value) for value in vars(some).values()] == [int, float, type(None), tuple]
    with pytest.raises(SearchError, match="count is 2.5"):
        Some(2.5, 0.5, None, ())  # type: ignore[arg-type]


def test_settings_of_verbs_take_numbers_of_numpy() -> None:
    search = Settings("", (), (), seed=np.int64(4), rescale=np.float32(0.5))  # type: ignore[arg-type]
    assert type(search.seed) is int and type(search.rescale) is float
    given = {"trials": np.int64(5), "heat_map": [np.int64(2), 3]}
    found = ComparisonSettings.read(given)
    assert (found.trials, found.heat_map) == (5, (2, 3))
    assert [type(x) for x in (found.trials, *found.heat_map)] == [int] * 3
    assert ComparisonSettings(heat_map=np.array([2, 3])).heat_map == (2, 3)  # type: ignore[arg-type]
    with pytest.raises(CompareError, match="trials is 2.5; it must be a whole number"):
        ComparisonSettings.read({"trials": 2.5})


def test_counts_have_an_upper_end() -> None:
    """A million of anything that is held fits into memory; 10**12 settings ended with no word."""
    assert whole_number("trials", 10**6, 1, most=10**6) == 10**6
    for options in (SearchOptions, partial(ExplainOptions, "run"), partial(FunnelOptions, "run")):
        with pytest.raises(OptforgeError, match="trials is 10000000; .* at most 1,000,000"):
            options(trials=10**7)
    for wrong in ({"repeats": 0}, {"repeats": 1}, {"repeats": 10**7}, {"looks": (2, 10**7)}):
        with pytest.raises(OptforgeError, match="of at least 2 and at most 1,000,000"):
            SimplifyOptions("lion", **wrong)  # type: ignore[arg-type]


def test_a_switch_that_compares_with_nothing_is_refused() -> None:
    class Missing:
        """As pandas.NA."""

        def __eq__(self, other: object) -> bool:
            raise TypeError("boolean value of NA is ambiguous")

        __hash__ = object.__hash__

    with pytest.raises(OptforgeError, match="force is .*; it must be True or False"):
        ExportOptions("lion", force=Missing())  # type: ignore[arg-type]


def test_a_number_that_cannot_be_printed_is_refused_all_the_same() -> None:
    """Python raised that it exceeds the limit of digits."""
    for check in (partial(whole_number, least=1), partial(real_number, above=0)):
        with pytest.raises(OptforgeError, match="trials is a number of thousands of digits; it"):
            check("trials", 10**5000)
    assert real_number("minutes", 10**5000, infinite=True) == math.inf
