"""Momentum in 8 bits: int8 codes, and one bfloat16 scale for each block.

The format is plain: `momentum` has the parameter's shape and dtype int8, `momentum_scale` has one
bfloat16 number for each block of consecutive elements:

    m = scale * (code / 127)**3, where the scale is the largest |m| of the block, rounded up.

The cube makes steps small near zero, where they decide signs, and where one block holds momenta
of very different size. About 1.03 bytes per parameter.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from optforge.optim.compiler import cached

BLOCK = 64
LARGEST = 127
TINY = 2.0**-126  # smaller scales have no inverse: such momenta become 0


@cached
def block_size(shape: torch.Size | tuple[int, ...]) -> int:
    """Return the number of consecutive elements that share a scale.

    64 where blocks of 64 fill each row (all dimensions but the first) or where there are no rows;
    else the divisor of the row nearest below, or above up to 128; else 64, across rows.

    Example:
        >>> block_size((1000, 640)), block_size((8, 3, 7, 7)), block_size((10_007,))
        (64, 49, 64)
    """
    row = 1
    for size in shape[1:]:
        row *= size
    candidates = (BLOCK, *range(BLOCK - 1, 31, -1), *range(BLOCK + 1, 129))
    return next((block for block in candidates if row % block == 0), BLOCK)


def is_row_aligned(shape: torch.Size | tuple[int, ...]) -> bool:
    """Return whether no block crosses rows, so that sharding by rows changes nothing."""
    row = 1
    for size in shape[1:]:
        row *= size
    return len(shape) > 1 and row % block_size(shape) == 0


@cached
def scale_shape(shape: torch.Size | tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of `momentum_scale` for a parameter: by rows where blocks allow it."""
    block, count = block_size(shape), 1
    for size in shape:
        count *= size
    if is_row_aligned(shape):
        return (shape[0], count // max(shape[0], 1) // block)
    return (-(-count // block),)


def encode(values: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Round float32 values to 8 bits, block by block.

    Args:
        values: Flat, or one row for each block; taken as float32.
        block: Elements for each scale.

    Returns:
        int8 codes of the same shape, of the nearest values that codes stand for, and bfloat16
        scales, one for each block.

    Example:
        >>> values = torch.linspace(-1, 1, 64)
        >>> error = decode(*encode(values, 64), 64) - values
        >>> bool((error.abs() <= 1.5 / 127 + 1e-6).all())
        True
    """
    blocks = _blocks(values.to(torch.float32), block)
    # As integers, of which NaN's are the largest: vector code may drop NaN from a maximum.
    scale = round_up((blocks.view(torch.int32) & 0x7FFFFFFF).amax(dim=1))
    inverse = torch.where(scale >= TINY, 1 / scale.to(torch.float32), 0.0)
    size = (blocks * inverse[:, None]).abs() * LARGEST**3
    # Near a whole number either neighbour will do.
    below = torch.floor(_cube_root(size)).clamp(max=LARGEST - 1)
    above = below + 1
    nearest = torch.where(size - below**3 > above**3 - size, above, below)
    codes = torch.copysign(nearest, blocks)
    return _unblocked(codes.to(torch.int8), values), scale


def _cube_root(size: Tensor) -> Tensor:
    """Return cube roots of float32 numbers from 2**-10 to 1e-3: faster than logarithms.

    A third of the bits, and so of the exponent, is a root to 5 %; one step of Halley follows, for
    it takes one division, where two steps of Newton take two.

    Source: Kahan, "Computing a real cube root", 1991.
    """
    size = size.clamp(min=2.0**-10)  # smaller ones have no root near 1/2, where codes change
    bits = size.view(torch.int32).to(torch.float32) * (1 / 3) + 709921077.0
    root = bits.to(torch.int32).view(torch.float32)
    cube = root * root * root
    return root * ((cube + 2 * size) / (2 * cube + size))


def decode(codes: Tensor, scale: Tensor, block: int) -> Tensor:
    """Return the float32 values that codes and their scales stand for, in their shape."""
    blocks = _blocks(codes, block).to(torch.float32) / LARGEST
    return _unblocked(blocks**3 * scale.to(torch.float32)[:, None], codes)


def round_up(bits: Tensor) -> Tensor:
    """Round float32 numbers that are not negative, given as int32 bits, to bfloat16, never down.

    Infinity becomes the largest finite number; NaN stays.
    """
    raised = (bits.clamp(max=0x7F7F0000) + 0xFFFF) & -0x10000
    return torch.where(bits > 0x7F800000, 0x7FC00000, raised).view(torch.float32).to(torch.bfloat16)


def _blocks(values: Tensor, block: int) -> Tensor:
    if values.dim() == 2:
        return values
    return pad(values, (0, -values.numel() % block)).view(-1, block)


def _unblocked(blocks: Tensor, like: Tensor) -> Tensor:
    return blocks if like.dim() == 2 else blocks.view(-1)[: like.numel()]
