r"""What a fit leaves undecided: the Gaussian posterior of its unknowns around the minimum (Laplace's approximation).

With the weighted Jacobian J of all label rows and the precision Lambda of the fit's own prior the unknowns scatter
around the minimum with the covariance H^-1 = (J^T J + Lambda)^-1, times the noise: what the residuals leave per row.
Directions that no label decides have the width of the prior. A row j of any other frame, weighted as in the fit, is
uncertain by sqrt(h) levels of noise, h = j^T H^-1 j its leverage. A row of the training set has h < 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.potentials.mmtp.geometry import Geometry, build_geometry
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.objective import LeastSquares, Prior
from magflow.potentials.mmtp.residuals import MmtpWeights, Problem, RowLayout, Targets, pulay_columns

JITTER = 1e-12
"""Of the diagonal, scaled to one, where rounding leaves the normal matrix without a root; grown until it has one."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of one fit.

    Parameters
    ----------
    factor
        (P, P) W with H^-1 = W W^T; P unknowns: the parameters of the model, then the Pulay constants.
    unknowns
        (P,) the minimum.
    effective
        Unknowns that the labels decide: the trace of J^T J H^-1.
    noise
        Variance of a weighted row: the loss over the rows left to tell it.
    """

    factor: FloatArray
    unknowns: FloatArray
    effective: float
    noise: float

    @classmethod
    def of(cls, problem: LeastSquares, prior: Prior, unknowns: FloatArray) -> Posterior:
        """The posterior of `problem` at its minimum `unknowns`."""
        normal, _, loss = problem.normal(unknowns)
        factor = inverse_root(normal + prior.matrix)
        effective = float(np.einsum("ij,ij->", factor, normal @ factor))
        return cls(factor, unknowns, effective, loss / max(problem.known - effective, 1.0))

    def draw(self, n: int, seed: int) -> FloatArray:
        """(n, P) deviations from the minimum with the covariance H^-1."""
        deviations: FloatArray = np.random.default_rng(seed).normal(size=(n, len(self.factor))) @ self.factor.T
        return deviations

    def rows(
        self, model: MmtpModel, frames: Sequence[Frame], weights: MmtpWeights, directions: FloatArray | None = None
    ) -> FloatArray:
        """(R, P) J W of `frames`, in the order of :class:`~magflow.potentials.mmtp.residuals.RowLayout`.

        With `directions` D (P, Q): (R, Q) J W D, which is cheaper for few of them.

        Its rows' squared lengths are the leverages, their products the correlations: rows A of chosen frames turn the
        posterior into that with W (1 + A^T A)^(-1/2), before any of them is labelled.
        """
        geometry = build_geometry(frames, model.species, model.cutoff, magnetic=model.magnetic)
        problem = Problem(model, geometry, _all_rows(geometry, weights), pulay_columns(geometry, len(model.species)))
        onto = self.factor if directions is None else self.factor @ directions
        parts = [problem.rows(self.unknowns, a, b)[1] @ onto for a, b in problem.chunks]
        return np.concatenate(parts) if parts else np.zeros((0, onto.shape[1]))


def _all_rows(geometry: Geometry, weights: MmtpWeights) -> Targets:
    """Rows of frames without labels, weighted as if everything were known, in the order of the quantities."""
    layout, counts = RowLayout.of(geometry), geometry.counts
    n = int(layout.begin[-1])
    kind, weight = np.zeros(n, dtype=np.int64), np.zeros(n)
    blocks: tuple[tuple[IntArray, FloatArray | float], ...] = (
        (layout.begin[:-1], weights.energy / counts),
        (layout.positions, weights.forces),
        (layout.strain, weights.stress / counts[:, None]),
        (layout.moments, weights.magnetic_forces),
    )
    for k, (rows, value) in enumerate(blocks):
        kind[rows] = k
        weight[rows] = value
    return Targets(np.zeros(n), weight, kind, np.ones(n))


def inverse_root(matrix: FloatArray) -> FloatArray:
    """W with W W^T = matrix^-1, of a symmetric matrix that is positive but for rounding."""
    from scipy.linalg import LinAlgError, cholesky, solve_triangular  # late: who reads a campaign needs none of it

    scale = 1.0 / np.sqrt(np.diag(matrix))
    scaled, jitter = matrix * scale[:, None] * scale[None, :], 0.0
    while True:
        try:
            lower = cholesky(scaled + jitter * np.eye(len(matrix)), lower=True, check_finite=False)
            break
        except LinAlgError:
            jitter = max(10.0 * jitter, JITTER)
    root: FloatArray = scale[:, None] * solve_triangular(lower, np.eye(len(matrix)), lower=True, trans="T")
    return root
