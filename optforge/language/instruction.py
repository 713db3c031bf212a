"""The computations of a program between numbered values."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from optforge.language.function import Apply, Function


class Product(NamedTuple):
    """A computation on matrices that can be done for several programs in one call.

    Args:
        key: Key that is equal for the same computation on values of the same kinds.
        apply: The computation; the first dimension of its arguments counts independent rows.
    """

    key: tuple[str, ...]
    apply: Apply


class Instruction(NamedTuple):
    """A computation between numbered values.

    Args:
        apply: The computation.
        target: Number of the value that receives the result.
        arguments: Numbers of the values that it reads.
        product: Its form for common calls, if it is a computation on matrices.
        function: Its row of the table; None if it repeats one number per array over the array's
            elements.
    """

    apply: Apply
    target: int
    arguments: tuple[int, ...]
    product: Product | None = None
    function: Function | None = None


Steps = Generator[tuple[Product, list[Any]], Any, tuple[Any, list[Any]]]
