r"""How much of some values no smooth function of given features explains: the noise of a Gaussian process.

y = H b + f(x) + e with fixed effects H, f a Gaussian process of covariance s^2 exp(-|x - x'|^2 / 2 l^2) and e
independent of variance s^2 g: two frames with the same x may differ by e alone, and a difference of nearest neighbours
or a local regression estimates the same e with far more labels. s, g and l maximise the restricted likelihood, that of
the part of y that H cannot reach (Patterson and Thompson, Biometrika 58, 545 (1971); Rasmussen and Williams, Gaussian
Processes for Machine Learning (2006), section 2.7). In the eigenbasis of P K P, P the projector off H, it costs one
decomposition per l. The values need not be normal for the variance of e to be estimated without bias for many labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.types import FloatArray

LENGTHS = (10.0, 3.0, 1.0)
"""Length scales tried, in units of the rms distance of x from its mean: nearly linear, bent, local."""
_SMALLEST, _LARGEST, _STEPS = 1e-8, 1e2, 41
"""Range of g over the largest eigenvalue of the covariance, and points of it looked at first."""


@dataclass(frozen=True)
class Unexplained:
    """What is left.

    Parameters
    ----------
    spread
        Standard deviation of the values beyond the fixed effects.
    noise
        Of e, in the unit of the values.
    evidence
        Logarithm of the restricted likelihood; compares with those of other features for the same values.
    """

    spread: float
    noise: float
    evidence: float


def unexplained(blocks: Sequence[FloatArray], fixed: FloatArray, values: FloatArray) -> Unexplained:
    """The noise of `values` as a function of features, at the length scale of the largest likelihood.

    Parameters
    ----------
    blocks
        (n, D) features; each block weighs the same, and within it each feature by its spread.
    fixed
        (n, H) H.
    values
        (n,) y.
    """
    directions, rank = _range(fixed)
    left = values - directions @ (directions.T @ values)
    square = _square_distances(np.concatenate([_scaled(block) for block in blocks], axis=1))
    found = [_at_length(square, length, directions, left, len(values) - rank) for length in LENGTHS]
    return max(found, key=lambda one: one.evidence)


def _range(fixed: FloatArray) -> tuple[FloatArray, int]:
    """Orthonormal directions that span the columns of `fixed`, and how many they are."""
    left, singular, _ = np.linalg.svd(fixed, full_matrices=False)
    rank = int((singular > 1e-10 * singular.max(initial=1e-300)).sum())
    return left[:, :rank], rank


def _scaled(block: FloatArray) -> FloatArray:
    """Each feature less its mean, over its spread; features that do not change are zero. Rows have length one (rms)."""
    centred = block - block.mean(axis=0)
    spread = centred.std(axis=0)
    moves = spread > 1e-9 * np.abs(block).max(axis=0, initial=0.0)
    scaled = np.where(moves, centred / np.where(moves, spread, 1.0), 0.0)
    return np.asarray(scaled / np.sqrt(max(int(moves.sum()), 1)))


def _square_distances(points: FloatArray) -> FloatArray:
    products = points @ points.T
    lengths = np.diag(products)
    return np.maximum(lengths[:, None] + lengths - 2.0 * products, 0.0)


def _at_length(
    square: FloatArray, length: float, directions: FloatArray, left: FloatArray, freedom: int
) -> Unexplained:
    from scipy.linalg import eigh  # late: the results of a campaign name what this finds, and status reads them
    from scipy.optimize import minimize_scalar

    covariance = np.exp(-0.5 / length**2 * square)
    covariance -= directions @ (directions.T @ covariance)
    covariance -= (covariance @ directions) @ directions.T
    strength, basis = eigh(covariance, overwrite_a=True, check_finite=False)
    strength, squares = np.maximum(strength, 0.0), (basis.T @ left) ** 2
    reached = np.sort(strength)[len(strength) - freedom :]  # the fixed effects are directions of strength zero

    def cost(logarithm: float) -> float:
        """- log likelihood at the best s, but for a constant."""
        g = float(np.exp(logarithm))
        scale = float((squares / (strength + g)).sum()) / freedom
        return 0.5 * float(freedom * np.log(scale) + np.log(reached + g).sum())

    largest = max(float(strength.max(initial=0.0)), 1e-12)
    grid = np.linspace(np.log(_SMALLEST * largest), np.log(_LARGEST * largest), _STEPS)
    best = int(np.argmin([cost(x) for x in grid]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, _STEPS - 1)])
    found = minimize_scalar(cost, bounds=around, method="bounded")
    g = float(np.exp(found.x))
    scale = float((squares / (strength + g)).sum()) / freedom
    return Unexplained(float(np.sqrt(squares.sum() / freedom)), float(np.sqrt(scale * g)), -float(found.fun))
