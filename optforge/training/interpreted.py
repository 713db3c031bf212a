"""CUDA functions in NumPy for Triton's interpreter, which cannot call a GPU library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
from triton import language
from triton.runtime.interpreter import TensorHandle


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*arguments: Any) -> Any:
        with numpy.errstate(all="ignore"):
            data = function(*(argument.handle.data for argument in arguments))
        data = data.astype(numpy.float32)
        return language.tensor(TensorHandle(data, language.float32), arguments[0].type)

    return apply


pow = _function(numpy.power)
exp, exp2, expm1 = map(_function, (numpy.exp, numpy.exp2, numpy.expm1))
exp10 = _function(lambda x: numpy.power(numpy.float32(10), x))
log, log2, log10, log1p = map(_function, (numpy.log, numpy.log2, numpy.log10, numpy.log1p))
cos, sin, tan = map(_function, (numpy.cos, numpy.sin, numpy.tan))
asin, acos, atan = map(_function, (numpy.arcsin, numpy.arccos, numpy.arctan))
sinh, cosh, tanh = map(_function, (numpy.sinh, numpy.cosh, numpy.tanh))
asinh, acosh, atanh = map(_function, (numpy.arcsinh, numpy.arccosh, numpy.arctanh))
cbrt = _function(numpy.cbrt)
