"""Orthogonalization of matrices by Newton-Schulz steps, many at once."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor

# Five steps of this odd polynomial take singular values from 0.005 to 1 into about 0.7 to 1.2.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
_WIDE = 1.6  # from this ratio of the sides on, steps on the Gram matrix are the cheaper form


def orthogonalized(matrices: Tensor) -> Tensor:
    r"""Return matrices with singular values near 1, scaled to elements with a mean square near 1.

    .. math::
        X \leftarrow a X + (b A + c A^2) X, \quad A = X X^T, \quad
        \text{result} = \sqrt{\max(\text{rows}, \text{columns})} \, X

    from :math:`X = M / \lVert M \rVert_F`, transposed where there are more rows than columns. A
    matrix of zeros stays unchanged.

    Args:
        matrices: ``[..., rows, columns]``, float32 or float64; a NumPy array is also accepted.

    Returns:
        Matrices of the same shape and type; positive factors of the input have no effect.

    Example:
        >>> from torch import eye
        >>> bool((orthogonalized(3 * eye(4)) - 2 * eye(4)).abs().max() < 0.5)
        True

    Source: Jordan et al., Muon, 2024; the steps on the Gram matrix are the same polynomial.
    """
    if isinstance(matrices, numpy.ndarray):
        return orthogonalized(torch.from_numpy(matrices)).numpy()  # type: ignore[return-value]
    rows, columns = matrices.shape[-2:]
    wide = matrices.mT if rows > columns else matrices
    length = torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True)
    unit = wide / torch.where(length == 0, 1.0, length)
    short, long = unit.shape[-2:]
    turned = _by_gram_matrix(unit) if long > _WIDE * short else _step_by_step(unit)
    scaled = turned * float(max(rows, columns)) ** 0.5
    return scaled.mT if rows > columns else scaled


def _step_by_step(x: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def _by_gram_matrix(x: Tensor) -> Tensor:
    """Compute polynomials of the Gram matrix, so that only the last product is wide."""
    a, b, c = COEFFICIENTS
    gram = x @ x.mT
    unit = torch.eye(gram.shape[-1], dtype=x.dtype, device=x.device)
    product = unit
    for step in range(STEPS):
        factor = a * unit + b * gram + c * gram @ gram
        product = factor if step == 0 else factor @ product
        if step < STEPS - 1:
            gram = factor @ gram @ factor
    return product @ x
