"""Writing 16-bit weights without losing small steps: stochastic rounding and compensation.

A bfloat16 weight near 1 moves in steps of 2**-7 or not at all, so a learning rate of 1e-4, or a
decay of 1e-4 of the weight, is lost to rounding. Two remedies: round up or down at random, right
on average; or keep the bits that the weight could not hold in a second 16-bit tensor.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from optforge.optim.compiler import cached
from optforge.optim.settings import Number

_WORD = 1 << 32


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which the step of weights of a dtype is computed."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def signed(number: int) -> int:
    """Return the 32-bit integer, with sign, that has the same low 32 bits."""
    return (number + (_WORD >> 1)) % _WORD - (_WORD >> 1)


_GOLDEN = signed(0x9E3779B1)
_FACTOR = signed(0x846CA68B)


def mix(number: int) -> int:
    """Scatter a 64-bit integer, on the host (the finaliser of SplitMix64).

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    mask = (1 << 64) - 1
    number = (number + 0x9E3779B97F4A7C15) & mask
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & mask
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & mask
    return number ^ number >> 31


def random_key(seed: int, step: Number, number: int) -> Number:
    """Return the key of a parameter at a step, a signed 32-bit integer.

    Nothing but the arguments enters: not the rank, the device, the path or the order of calls.

    Args:
        seed: Seed of the optimizer.
        step: Number of the step, from 1; a tensor of one element gives an int32 tensor, with the
            same value, and does not wait for the device.
        number: Number of the parameter in the optimizer.

    Example:
        >>> random_key(0, 1, 0) == random_key(0, torch.tensor(1.0), 0) != random_key(0, 2, 0)
        tensor(True)
    """
    base = _base(seed, number)
    if isinstance(step, Tensor):
        return _scatter(step.to(torch.int32) * _GOLDEN + base)
    return signed(_scatter(int(step) * _GOLDEN + base))


@cached
def _base(seed: int, number: int) -> int:
    """Return what the keys of a parameter share."""
    return signed(mix(mix(seed) + number))


def _scatter(bits: Any) -> Any:
    """Hash int32 numbers, or one integer of any size, of which the low 32 bits count.

    Masks make the shifts logical.
    """
    bits = (bits ^ (bits >> 16 & 0xFFFF)) * 0x7FEB352D
    bits = (bits ^ (bits >> 15 & 0x1FFFF)) * _FACTOR
    return bits ^ (bits >> 16 & 0xFFFF)


def moved(key: Number, offset: int) -> Number:
    """Return the key for the slice of a parameter that begins at element `offset`."""
    if isinstance(key, Tensor):
        return key + signed(offset * _GOLDEN)
    return signed(int(key) + offset * _GOLDEN)


def random_bits(like: Tensor, key: Number) -> Tensor:
    """Return 16 random bits for each of some consecutive elements, as a hash of their numbers.

    One round of a hash does: for keys drawn evenly each element's bits are exactly even, and
    bits of any two elements are as good as independent (the tests look for the contrary).

    Args:
        like: A tensor of the wanted shape and device.
        key: From `random_key`, or `moved` from there.

    Returns:
        int32 tensor of numbers from 0 to 65535. Slices of a parameter get the bits of the whole.

    Source: multiplier and shift are of "lowbias32" of Wellons, "Prospecting for hash functions",
    2018.
    """
    bits = _numbered(like) + key
    bits = (bits ^ (bits >> 16 & 0xFFFF)) * _FACTOR
    return (bits >> 16 & 0xFFFF).view(like.shape)


def _numbered(like: Tensor) -> Tensor:
    """Return the multiples of the golden ratio; from a table, unless compiled or fake."""
    count, device = like.numel(), like.device
    if torch.compiler.is_compiling() or type(like) is not Tensor or count > _TABLE:
        return torch.arange(count, dtype=torch.int32, device=device) * _GOLDEN
    return _table(device, 1 << 17 if count <= 1 << 17 else _TABLE)[:count]


_TABLE = 1 << 20  # elements: at least as long as pieces of the foreach path are


@lru_cache(8)
def _table(device: torch.device, count: int) -> Tensor:
    return torch.arange(count, dtype=torch.int32, device=device) * _GOLDEN


class Scratch:
    """Memory that one piece of work after the other uses again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, torch.dtype], Tensor] = {}

    def of(self, name: str, count: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return a flat tensor with any values, the only one of its name at a time."""
        dtype = dtype or like.dtype
        kept = self._kept.get((name, dtype))
        if kept is None or kept.numel() < count:
            kept = torch.empty(count, dtype=dtype, device=like.device)
            self._kept[name, dtype] = kept
        return kept if kept.numel() == count else kept[:count]

    def wide(self, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a flat tensor in a dtype: itself, or a copy."""
        if tensor.dtype is dtype:
            return tensor
        return self.of(name, tensor.numel(), tensor, dtype).copy_(tensor)


def round_down_(values: Tensor, key: Number, scratch: Scratch) -> None:
    """Round float32 to bfloat16's values in place, with the same bits as `stochastic_round`.

    Infinities stay, and NaN of which the low 16 bits are 0: all that arithmetic makes.

    Args:
        values: float32, flat; none fake.
        key: From `random_key`, or `moved` from there; for packs one for each element.
        scratch: For what is in between.
    """
    count = values.numel()
    bits = scratch.of("bits", count, values, torch.int32)
    shifted = scratch.of("shifted", count, values, torch.int32)
    half, low, high = _constants()
    torch.add(_numbered(values), key, out=bits)
    torch.bitwise_right_shift(bits, half, out=shifted).bitwise_and_(low)
    bits.bitwise_xor_(shifted).mul_(_FACTOR)
    bits.bitwise_right_shift_(half).bitwise_and_(low)
    values.view(torch.int32).add_(bits).bitwise_and_(high)


@cache
def _constants() -> tuple[Tensor, Tensor, Tensor]:
    """Return 16 and two masks as tensors: each number would be converted in each call."""
    high, low, half = torch.tensor([-0x10000, 0xFFFF, 16], dtype=torch.int32, device="cpu")
    return half, low, high


def stochastic_round(values: Tensor, dtype: torch.dtype, key: Number) -> Tensor:
    """Round float32 to one of the two neighbours in a 16-bit dtype, right on average.

    P(up) = (x - below) / (above - below), to 16 bits for bfloat16 and 13 for float16. What the
    dtype holds exactly stays, and so do infinities and NaN.

    Args:
        values: float32, flat.
        dtype: `torch.bfloat16` or `torch.float16`.
        key: From `random_key`, or `moved` from there.

    Example:
        >>> x = torch.full((10_000,), 1 + 2**-9)
        >>> y = stochastic_round(x, torch.bfloat16, random_key(0, 1, 0))
        >>> y.unique().tolist(), abs(y.double().mean() - x[0]).item() < 1e-4
        ([1.0, 1.0078125], True)
    """
    noise = random_bits(values, key)
    if dtype == torch.bfloat16:
        raised = values.view(torch.int32) + noise
        rounded = (raised & -0x10000).view(torch.float32)
    else:
        unit = half_unit(values)
        steps = values.abs() / unit + (noise & 0x1FFF).to(torch.float32) * 2.0**-13
        rounded = torch.copysign(torch.floor(steps) * unit, values)
    return torch.where(values.isfinite(), rounded, values).to(dtype)


def half_unit(values: Tensor) -> Tensor:
    """Return the distance of neighbouring float16 numbers around float32 values."""
    power = (values.view(torch.int32) & 0x7F800000).view(torch.float32)
    return (power * 2.0**-10).clamp(2.0**-24, 2.0**5)


def split(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Split float32 into a 16-bit weight, the nearest, and 16 bits that it could not hold.

    For bfloat16 the second part is the difference of the bit patterns, so nothing is lost. For
    float16 it counts 2**-16 of the distance of neighbouring weights; what is lost is under
    2**-41, or nothing for weights of at least 2**-14.

    Returns:
        The weight in `dtype` and the compensation as int16.

    Source: Kahan's compensation, kept as an integer in place of a rounded difference.
    """
    if dtype == torch.bfloat16:
        bits = values.view(torch.int32)
        high = (bits + 0x8000) & -0x10000
        weight = torch.where(values.isfinite(), high.view(torch.float32), values).to(dtype)
        return weight, (bits - high).to(torch.int16)
    # Rounded in float32: a compiler may leave out a cast to float16 and back.
    unit = half_unit(values)
    nearest = torch.where(values.isfinite(), torch.round(values / unit) * unit, values)
    rest = (values - nearest) / half_unit(nearest)
    count = torch.round(rest * 2.0**16).clamp(-32768, 32767)
    return nearest.to(dtype), torch.where(rest.isfinite(), count, 0.0).to(torch.int16)


def join(weight: Tensor, compensation: Tensor) -> Tensor:
    """Return the float32 values that `split` took apart.

    Returns:
        float32.

    Example:
        >>> x = torch.tensor([0.1, -3.0, 1e-8])
        >>> bool((join(*split(x, torch.bfloat16)) == x).all())
        True
    """
    whole = weight.to(torch.float32)
    if weight.dtype == torch.bfloat16:
        bits = whole.view(torch.int32) + compensation.to(torch.int32)
        return torch.where(whole.isfinite(), bits.view(torch.float32), whole)
    return whole + compensation.to(torch.float32) * 2.0**-16 * half_unit(whole)
