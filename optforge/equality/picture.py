"""The plot of the card: the update against gradient and momentum."""

from __future__ import annotations

import io

import numpy
from numpy import ndarray

from optforge.equality.reference import ReferenceRule
from optforge.language import Program

_POINTS, _REACH = 61, 2.0


def surface(program: Program) -> tuple[ndarray, ndarray]:
    """Compute the update at weight zero and lr = 1 for gradients and values of the first state.

    Other states hold the square of the gradient, as a second moment does in equilibrium.

    Returns:
        The axis ``[points]``, and the update ``[states, gradients]``; one row without states.
    """
    rule, axis = ReferenceRule(program), numpy.linspace(-_REACH, _REACH, _POINTS)
    zeros = numpy.zeros(rule.layout.elements)
    rows = axis if rule.kinds else axis[:1]
    values = numpy.empty((len(rows), _POINTS))
    for i, state in enumerate(rows):
        for j, gradient in enumerate(axis):
            states = tuple(
                numpy.full_like(zero, gradient**2 if number else state)
                for number, zero in enumerate(rule.zeros())
            )
            # Only the first element carries a gradient, so that norms are those of one number.
            gradients = numpy.where(numpy.arange(rule.layout.elements) == 0, gradient, 0.0)
            values[i, j] = rule.step(zeros, gradients, states, 1.0).update[0]
    return axis, values


def update_picture(program: Program) -> bytes:
    """Draw the surface (or, without states, the curve) of a simple rule; return it as a PNG."""
    # Here, because matplotlib is slow to import and this is all that needs it.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axis, values = surface(program)
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(4.8, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.set_xlabel("gradient")
        if len(values) == 1:
            axes.plot(axis, values[0])
            axes.set_ylabel("update")
        else:
            finite = numpy.abs(values[numpy.isfinite(values)])
            limit = float(numpy.quantile(finite, 0.98)) if finite.size else 1.0
            mesh = axes.pcolormesh(axis, axis, values, cmap="RdBu", vmin=-limit, vmax=limit)
            axes.set_ylabel(program.states[0])
            figure.colorbar(mesh, label="update")
        picture = io.BytesIO()
        figure.savefig(picture, dpi=150, format="png")
    return picture.getvalue()
