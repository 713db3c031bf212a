"""Compiled CPU kernels called straight, for all parameters of a step in one call.

What `torch.compile` does in Python before each call (guards, checks of every argument) takes longer
than the step of a small parameter. A kernel is therefore compiled for one flat parameter and called
once as usual, while its native functions note what they are given. From then on a short C++ loop
calls the same machine code for a table of addresses, on all threads.

This relies on the inside of torch's compiler. So every kernel must first give bit by bit what the
usual call gives, on made-up parameters; where it does not, or anything else is not as expected,
`sweep_of` says so by None, and callers make the usual calls.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from types import BuiltinFunctionType
from typing import Any

import torch
from torch import Tensor

from optforge.optim.launcher import launcher

ALIGN = 64  # units: chunks begin where vectors and lines of the cache do
GRAIN = 1 << 15  # elements below which a second thread costs more than it saves
SCRATCH_ELEMENTS = 1 << 14  # elements of a chunk whose scratch memory is to stay in the cache
MOST_ELEMENTS = 1 << 30  # of a chunk: element numbers are 32 bits inside the kernel
Recorded = list[tuple[BuiltinFunctionType, tuple[Any, ...]]]


@dataclass(frozen=True)
class Column:
    """One argument of a kernel.

    Args:
        sample: The tensor that the recorded call gets for it.
        stride: Bytes from one unit of a parameter to the next; 0 if all units share the value.
    """

    sample: Tensor
    stride: int


SAMPLE = 16 * ALIGN + 37  # units of made-up parameters: some vectors, and a rest


class Sweep:
    """Native calls, to be made for each parameter of a table; made by `sweep_of`."""

    def __init__(
        self,
        calls: list[tuple[int, list[int]]],
        strides: list[int],
        scratch: list[int],
        elements: int,
        key: tuple[int, int],
    ) -> None:
        self._library = launcher()
        self._columns, self._elements, self._key = len(strides), elements, key
        self._fixed = [
            array("q", [address for address, _ in calls]),
            array("q", [len(roles) for _, roles in calls]),
            array("q", chain.from_iterable(roles for _, roles in calls)),
        ]
        self._strides, self._scratch = array("q", strides), array("q", [*scratch, 0])
        self._calls, self._scratches = len(calls), len(scratch)
        large = SCRATCH_ELEMENTS if any(size > 0 for size in scratch) else MOST_ELEMENTS
        self._chunk = large // elements
        self.kept: list[Tensor] = []  # constants that kernels read

    def __call__(self, table: array[int], units: array[int], chunk: int | None = None) -> None:
        """Run the kernel for all parameters.

        Args:
            table: Addresses, column by column of each parameter after the other; int64.
            units: Number of units of each parameter; int64.
            chunk: Most units of one call, for tests.
        """
        assert len(table) == len(units) * self._columns
        if not units:
            return
        threads = min(torch.get_num_threads(), 1 + sum(units) * self._elements // GRAIN)
        align = ALIGN if self._elements == 1 else 1
        self._library.sweep(
            *(_word(self._calls), *map(_address, self._fixed)),
            *(_word(len(units)), _word(self._columns), _address(table), _address(units)),
            *(_address(self._strides), _word(self._scratches), _address(self._scratch)),
            *map(_word, (*self._key, chunk or self._chunk, align, threads)),
        )


def _word(number: int) -> ctypes.c_int64:
    return ctypes.c_int64(number)


def _address(numbers: array[int]) -> ctypes.c_void_p:
    return ctypes.c_void_p(numbers.buffer_info()[0])


def sweep_of(
    run: Callable[[], Any],
    columns: Sequence[Column],
    units: int,
    *,
    elements: int = 1,
    key: tuple[int, int] = (-1, 0),
) -> Sweep | None:
    """Note the native calls that `run` makes, to make them on other memory.

    Args:
        run: Calls a kernel on the samples of the columns, and nothing else; it must be compiled
            already, for one thread and any number of units.
        columns: All tensors that it gets.
        units: How many units the samples have; no other number in the call may be the same.
        elements: Elements of one unit.
        key: Number of the column that holds a random key (int32), and what to add to it for each
            unit that a chunk begins later.

    Returns:
        The sweep; None if the calls cannot be told from their arguments, or if a sweep does not
        change the samples to the same bits as `run` does.
    """
    try:
        with _recording() as recorded:
            run()
        sweep = _sweep(recorded, columns, units, elements, key)
    except Exception:  # the inside of torch has changed: the usual calls remain
        return None
    return sweep if sweep and _agrees(sweep, run, columns, units) else None


def _agrees(sweep: Sweep, run: Callable[[], Any], columns: Sequence[Column], units: int) -> bool:
    samples = [column.sample for column in columns]
    before = [sample.clone() for sample in samples]
    run()
    usual = [sample.clone() for sample in samples]
    for sample, old in zip(samples, before, strict=True):
        sample.copy_(old)
    addresses = array("q", [sample.data_ptr() for sample in samples])
    sweep(addresses, array("q", [units]), chunk=5 * ALIGN)
    return all(torch.equal(_bits(a), _bits(b)) for a, b in zip(samples, usual, strict=True))


def _bits(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)


def _sweep(
    recorded: Recorded, columns: Sequence[Column], units: int, elements: int, key: tuple[int, int]
) -> Sweep | None:
    known = {column.sample.data_ptr(): number for number, column in enumerate(columns)}
    scratch: dict[int, int] = {}
    calls, kept = [], []
    for function, arguments in recorded:
        roles = []
        for argument in arguments:
            if isinstance(argument, Tensor):
                address = argument.data_ptr()
                if address in known:
                    roles.append(known[address])
                    continue
                size = argument.numel() * argument.element_size()
                if argument.dim() == 0:  # a constant
                    scratch[address] = ~address
                    kept.append(argument)
                elif size % units == 0:
                    scratch[address] = max(scratch.get(address, 0), size // units)
                else:
                    return None
                roles.append(-2 - list(scratch).index(address))
            elif argument == units:
                roles.append(-1)
            else:
                return None
        if len(roles) > launcher().most_arguments():
            return None
        calls.append((_address_of(function), roles))
    strides = [column.stride for column in columns]
    sweep = Sweep(calls, strides, list(scratch.values()), elements, key)
    sweep.kept = kept
    return sweep if calls else None


def _address_of(function: BuiltinFunctionType) -> int:
    library = ctypes.CDLL(function.__self__.__file__)  # type: ignore[union-attr]
    address = ctypes.cast(library.kernel, ctypes.c_void_p).value
    assert address is not None
    return address


@contextmanager
def _recording() -> Iterator[Recorded]:
    """Note all calls of native functions of compiled kernels."""
    from torch._inductor.codecache import PyCodeCache

    recorded: Recorded = []

    def noting(function: BuiltinFunctionType) -> Callable[..., Any]:
        def note(*arguments: Any) -> Any:
            recorded.append((function, arguments))
            return function(*arguments)

        return note

    patched = [
        (module, name, value)
        for module in PyCodeCache.modules
        for name, value in list(vars(module).items())
        if name.startswith("cpp_") and isinstance(value, BuiltinFunctionType)
    ]
    for module, name, value in patched:
        setattr(module, name, noting(value))
    try:
        yield recorded
    finally:
        for module, name, value in patched:
            setattr(module, name, value)
