r"""Signal and noises of a Gaussian process of finite rank, by the largest evidence.

y = X theta + e: theta normal with precision D, 1/s^2 for features and almost none for constants, e normal with variance
v_q for a row of quantity q. With A = D + sum_q W_q / v_q, W_q = X_q^T X_q, and b = sum_q X_q^T y_q / v_q,

    -2 log p(y) = sum_q (y_q.y_q / v_q + n_q log v_q) - b.A^-1 b + log |A| - log |D| + const.

Only P x P matrices are needed, however many the rows (Rasmussen and Williams, Gaussian Processes for Machine Learning
(2006), section 5.4). s and the v_q are bounded: without bounds they run away where a quantity says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.optimize import OptimizeResult, minimize

from magflow.core.prediction import QUANTITIES
from magflow.core.types import BoolArray, FloatArray
from magflow.errors import InputError

SIGNAL = (1e-4, 1e5)
"""Bounds of s, eV."""
NOISE = (1e-6, 10.0)
"""Bounds of the noises, eV/atom, eV/A, eV/atom and eV/muB."""
FLAT = 1e-8
"""Precision of a coefficient that the labels alone decide, 1/eV^2."""
FLAT_ENOUGH = 1e-3
"""Slope of the evidence per row, by the logarithms of signal and noises, at which a search is at its end."""
_NOWHERE = 1e30
"""Cost where the precision is not positive definite."""
FIRST_SIGNAL, FIRST_NOISE = 1.0, (0.005, 0.02, 0.02, 0.02)
"""Where the search begins."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What the evidence needs of the rows of each quantity q.

    Parameters
    ----------
    normal, pull
        (4, P, P) X^T X and (4, P) X^T y.
    squares, rows
        (4,) y.y and the number of rows.
    """

    normal: FloatArray
    pull: FloatArray
    squares: FloatArray
    rows: FloatArray

    @classmethod
    def none(cls, size: int) -> Moments:
        """Of no rows, for P = `size`."""
        kinds = len(QUANTITIES)
        return cls(np.zeros((kinds, size, size)), np.zeros((kinds, size)), np.zeros(kinds), np.zeros(kinds))

    def add(self, kind: int, features: FloatArray, values: FloatArray) -> None:
        """Take in rows of one quantity: `features` (R, P) and `values` (R,)."""
        self.normal[kind] += features.T @ features
        self.pull[kind] += features.T @ values
        self.squares[kind] += values @ values
        self.rows[kind] += len(values)


@dataclass(frozen=True, eq=False)
class Fitted:
    """The process at the largest evidence.

    Parameters
    ----------
    mean
        (P,) of theta.
    root
        (P, P) lower triangular L with A = L L^T, the precision of theta.
    signal
        s, eV.
    noise
        (4,) standard deviations, NaN of a quantity without rows.
    evidence
        log p(y), but for a constant.
    iterations
        Of the search.
    """

    mean: FloatArray
    root: FloatArray
    signal: float
    noise: FloatArray
    evidence: float
    iterations: int


def most_evident(moments: Moments, flat: BoolArray, begin: tuple[float, FloatArray] | None = None) -> Fitted:
    """Signal and noises of the largest evidence, and the process there.

    Parameters
    ----------
    flat
        (P,) coefficients that have no prior.
    begin
        Signal and (4,) noises that the search begins with, NaN where unknown.

    Raises
    ------
    InputError
        If what comes out is not finite.
    """
    held = np.flatnonzero(moments.rows)
    signal, noise = begin or (FIRST_SIGNAL, np.array(FIRST_NOISE))
    noise = np.where(np.isfinite(noise), noise, FIRST_NOISE)
    first = np.log(np.array([signal, *noise[held]]))
    bounds = [tuple(np.log(SIGNAL)), *[tuple(np.log(NOISE))] * len(held)]

    found = _search(moments, flat, held, first, np.array(bounds))
    signal, noise = float(np.exp(found.x[0])), np.full(len(QUANTITIES), np.nan)
    noise[held] = np.exp(found.x[1:])
    try:
        root = _root(moments, flat, held, found.x)
    except (LinAlgError, ValueError) as error:
        raise _not_usable(signal, noise) from error
    pull = np.einsum("q,qi->i", noise[held] ** -2.0, moments.pull[held])
    mean = solve_triangular(root, solve_triangular(root, pull, lower=True), lower=True, trans="T")
    if not (np.isfinite(found.fun) and np.isfinite(mean).all()):
        raise _not_usable(signal, noise)
    return Fitted(mean, root, signal, noise, -float(found.fun * moments.rows.sum()), int(found.nit))


def _search(
    moments: Moments, flat: BoolArray, held: np.ndarray, first: FloatArray, bounds: FloatArray
) -> OptimizeResult:
    """The largest evidence; from larger noises where the search from `first` ends on a slope.

    The cost is taken per row: the first step of L-BFGS is as long as the gradient, which grows with the rows, and leads
    from a few thousand on to where no precision is positive definite. The search takes the way back for convergence.
    """
    rows = float(moments.rows.sum())

    def cost(logarithms: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = _cost(moments, flat, held, logarithms)
        return value / rows, gradient / rows

    for more in (0.0, np.log(10.0), np.log(100.0)):
        begin = np.clip(first + np.array([0.0, *[more] * len(held)]), *bounds.T)
        found = minimize(cost, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100})
        downhill = np.clip(found.x - found.jac, *bounds.T) - found.x
        if found.fun < _NOWHERE / rows and np.abs(downhill).max() < FLAT_ENOUGH:
            break
    return found


def _not_usable(signal: float, noise: FloatArray) -> InputError:
    return InputError(
        "the Gaussian process is not finite at its largest evidence",
        seen=f"signal {signal:.3g} eV, noises {noise.tolist()}",
        expected="labels that decide its coefficients",
        hint="look at the labels with `magflow import`, or choose a smaller basis",
    )


def _precision(moments: Moments, flat: BoolArray, held: np.ndarray, logarithms: FloatArray) -> FloatArray:
    """A."""
    total: FloatArray = np.einsum("q,qij->ij", np.exp(-2.0 * logarithms[1:]), moments.normal[held])
    total[np.diag_indices(len(flat))] += np.where(flat, FLAT, np.exp(-2.0 * logarithms[0]))
    return total


def _root(moments: Moments, flat: BoolArray, held: np.ndarray, logarithms: FloatArray) -> FloatArray:
    root: FloatArray = cholesky(_precision(moments, flat, held, logarithms), lower=True)
    return root


def _cost(moments: Moments, flat: BoolArray, held: np.ndarray, logarithms: FloatArray) -> tuple[float, FloatArray]:
    """- log p(y) and its gradient by the logarithms of s and of the noises."""
    weights, free = np.exp(-2.0 * logarithms[1:]), int((~flat).sum())
    try:
        root = _root(moments, flat, held, logarithms)
    except (LinAlgError, ValueError):
        return _NOWHERE, np.zeros(len(logarithms))
    half = solve_triangular(root, np.eye(len(flat)), lower=True)
    pull = np.einsum("q,qi->i", weights, moments.pull[held])
    mean = half.T @ (half @ pull)
    squares, rows = moments.squares[held], moments.rows[held]
    fit = float(weights @ squares - pull @ mean)
    volume = 2.0 * float(np.log(np.diag(root)).sum()) + 2.0 * free * logarithms[0]
    cost = 0.5 * (fit + volume + 2.0 * float(rows @ logarithms[1:]))
    covariance, gradient = half.T @ half, np.empty(len(logarithms))
    inner = np.diag(covariance)[~flat].sum() + mean[~flat] @ mean[~flat]
    gradient[0] = free - np.exp(-2.0 * logarithms[0]) * inner
    for k, q in enumerate(held):
        spread = float(np.einsum("ij,ij->", covariance, moments.normal[q]))
        off = squares[k] - 2.0 * mean @ moments.pull[q] + mean @ moments.normal[q] @ mean
        gradient[1 + k] = rows[k] - weights[k] * (off + spread)
    return cost, gradient
