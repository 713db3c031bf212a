"""One Triton kernel that interprets runs of elementwise operations of many rules.

Programs are rows of numbers. A block of threads processes one tile of the elements of one row of
one candidate, and a switch selects each operation. Compiling a kernel for each program would take
longer than training it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import triton
import triton.language as tl
from triton import knobs

if knobs.runtime.interpret:  # on the CPU, for tests
    from optforge.training import interpreted as libdevice
else:
    from triton.language.extra.cuda import libdevice

_NAMES = (
    *("move", "square", "sqrt", "abs", "sign", "negative", "reciprocal", "cube"),
    *("exp", "log", "cos", "sin", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"),
    *("arcsinh", "arccosh", "arctanh", "exp2", "exp10", "expm1", "log10", "log2", "log1p", "cbrt"),
    *("add", "subtract", "multiply", "divide", "quotient", "maximum", "minimum", "where_matrix"),
    *("power", "where", "interp"),
)
OPCODES: Mapping[str, int] = MappingProxyType({name: n for n, name in enumerate(_NAMES)})
FIELDS = 16  # opcode, then (offset, stride of a row, mode) of the target and of four arguments
SCALAR, ARRAY, TREE, SCRATCH, TO_WEIGHT = range(5)  # modes: how an operand is addressed

_ARRAY: tl.constexpr = tl.constexpr(ARRAY)
_TREE: tl.constexpr = tl.constexpr(TREE)
_TO_WEIGHT: tl.constexpr = tl.constexpr(TO_WEIGHT)
_FIELDS: tl.constexpr = tl.constexpr(FIELDS)
# What an operation needs follows from the range of its number: they are in this order.
_LIBRARY: tl.constexpr = tl.constexpr(OPCODES["exp"])
_BINARY: tl.constexpr = tl.constexpr(OPCODES["add"])
_WHERE_MATRIX: tl.constexpr = tl.constexpr(OPCODES["where_matrix"])
_POWER: tl.constexpr = tl.constexpr(OPCODES["power"])
_WHERE: tl.constexpr = tl.constexpr(OPCODES["where"])


@triton.jit
def _base(code, row, first, scratch):
    """Return where the values of an operand for a tile begin: an offset into the heap."""
    offset, stride, mode = tl.load(code), tl.load(code + 1), tl.load(code + 2)
    inside = tl.where(mode == _TREE, first, tl.where(mode > _TREE, scratch, 0))
    return offset + row * stride + inside


@triton.jit
def _read(start, mode, lane, segment, mask):
    """Return an operand for each element of a tile, given where its values begin."""
    if mode >= _TREE:
        value = tl.load(start + lane, mask, other=0.0)
    elif mode == _ARRAY:
        value = tl.load(start + segment, mask, other=0.0)
    else:
        value = tl.broadcast_to(tl.load(start), mask.shape)
    return value


@triton.jit
def _unary(opcode, x):
    """Compute operations of one argument that need no library function."""
    result = x
    if opcode == 1:
        result = x * x
    elif opcode == 2:
        result = tl.sqrt_rn(tl.abs(x))
    elif opcode == 3:
        result = tl.abs(x)
    elif opcode == 4:
        signs = tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0))
        result = tl.where(x != x, x, signs)
    elif opcode == 5:
        result = -x
    elif opcode == 6:
        result = tl.div_rn(tl.full(x.shape, 1.0, tl.float32), x)
    elif opcode == 7:
        result = x * x * x
    return result


@triton.jit
def _library(opcode, x):
    """Compute operations of one argument with functions of CUDA's library."""
    result = x
    if opcode == 8:
        result = libdevice.exp(x)
    elif opcode == 9:
        result = libdevice.log(tl.abs(x))
    elif opcode == 10:
        result = libdevice.cos(x)
    elif opcode == 11:
        result = libdevice.sin(x)
    elif opcode == 12:
        result = libdevice.tan(x)
    elif opcode == 13:
        result = libdevice.asin(x)
    elif opcode == 14:
        result = libdevice.acos(x)
    elif opcode == 15:
        result = libdevice.atan(x)
    elif opcode == 16:
        result = libdevice.sinh(x)
    elif opcode == 17:
        result = libdevice.cosh(x)
    elif opcode == 18:
        result = libdevice.tanh(x)
    elif opcode == 19:
        result = libdevice.asinh(x)
    elif opcode == 20:
        result = libdevice.acosh(x)
    elif opcode == 21:
        result = libdevice.atanh(x)
    elif opcode == 22:
        result = libdevice.exp2(x)
    elif opcode == 23:
        result = libdevice.exp10(x)
    elif opcode == 24:
        result = libdevice.expm1(x)
    elif opcode == 25:
        result = libdevice.log10(tl.abs(x))
    elif opcode == 26:
        result = libdevice.log2(tl.abs(x))
    elif opcode == 27:
        result = libdevice.log1p(tl.where(x < -1, -2 - x, x))
    elif opcode == 28:
        result = libdevice.cbrt(x)
    return result


@triton.jit
def _binary(opcode, x, y):
    """Compute operations of two arguments."""
    result = x
    if opcode == 29:
        result = x + y
    elif opcode == 30:
        result = x - y
    elif opcode == 31:
        result = x * y
    elif opcode == 32:
        result = tl.div_rn(x, y + 1e-8)
    elif opcode == 33:
        result = tl.div_rn(x, y)
    elif opcode == 34:
        result = tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL) + 0.0
    elif opcode == 35:
        result = tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL) + 0.0
    return result


@triton.jit
def interpret(
    heap,  # float32: scratch, slots and static values
    weights,  # float32 [candidates, seeds, elements]
    gradients,  # alike
    programs,  # int64 [operations, FIELDS]
    entries,  # int64 [entries, 3]: place of the candidate, first operation, last + 1
    segments,  # int32 [elements]: for each element the number of its array
    roles,  # int32 [arrays]: whether it is a hidden matrix
    count,
    seeds,
    elements,
    scratch_size,
    reads_weight: tl.constexpr,  # whether scratch 0 and 1 are weight and gradient
    tile_size: tl.constexpr,
):
    """Process the tiles of all entries with as many blocks as were launched."""
    block = tl.program_id(0).to(tl.int64)
    tiles = (elements + tile_size - 1) // tile_size
    lane = tl.arange(0, tile_size)
    scratch = block * scratch_size
    for item in range(block, count * seeds * tiles, tl.num_programs(0)):
        row = (item // tiles) % seeds
        entry = entries + (item // tiles // seeds) * 3
        place, begin, end = tl.load(entry), tl.load(entry + 1), tl.load(entry + 2)
        first = (item % tiles) * tile_size  # element of the tile
        mask = first + lane < elements
        segment = tl.load(segments + first + lane, mask, other=0)
        start_of_tile = (place * seeds + row) * elements + first
        if reads_weight:
            kept = heap + scratch + lane
            tl.store(kept, tl.load(weights + start_of_tile + lane, mask, other=0.0))
            tl.store(kept + tile_size, tl.load(gradients + start_of_tile + lane, mask, other=0.0))
            tl.debug_barrier()
        for operation in range(begin, end):
            code = programs + operation * _FIELDS
            opcode = tl.load(code)
            start = heap + _base(code + 4, row, first, scratch)
            x = _read(start, tl.load(code + 6), lane, segment, mask)
            if opcode < _LIBRARY:
                result = _unary(opcode, x)
            elif opcode < _BINARY:
                result = _library(opcode, x)
            else:
                start = heap + _base(code + 7, row, first, scratch)
                y = _read(start, tl.load(code + 9), lane, segment, mask)
                if opcode < _WHERE_MATRIX:
                    result = _binary(opcode, x, y)
                elif opcode == _WHERE_MATRIX:
                    result = tl.where(tl.load(roles + segment, mask, other=0) != 0, x, y)
                elif opcode == _POWER:
                    result = libdevice.pow(x, y)
                else:
                    start = heap + _base(code + 10, row, first, scratch)
                    z = _read(start, tl.load(code + 12), lane, segment, mask)
                    if opcode == _WHERE:
                        result = tl.where(x >= 0, y, z)
                    else:  # interp, with the share that is left as the fourth argument
                        start = heap + _base(code + 13, row, first, scratch)
                        rest = _read(start, tl.load(code + 15), lane, segment, mask)
                        result = x * rest + y * z
            mode = tl.load(code + 3)
            if mode == _TO_WEIGHT:
                tl.store(weights + start_of_tile + lane, result, mask)
            else:
                target = heap + _base(code + 1, row, first, scratch)
                if mode >= _TREE:
                    tl.store(target + lane, result, mask)
                elif mode == _ARRAY:  # the first element of each array stores its number
                    inner = mask & (first + lane > 0)
                    before = tl.load(segments + first + lane - 1, inner, other=-1)
                    tl.store(target + segment, result, mask & (segment != before))
                else:
                    tl.store(target + 0 * lane, result, first + lane == 0)
            tl.debug_barrier()
