"""What a fit minimises: a weighted sum of squares and a Gaussian prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from magflow.core.types import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BEND = 0.1
"""Share of a step over which second derivatives along it are taken."""


class LeastSquares(Protocol):
    """What the optimiser needs to know of a problem."""

    @property
    def known(self) -> int:
        """Residuals that there is a target for."""

    def normal(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """J^T J, J^T r, |r|^2."""

    def loss_and_gradient(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """|r|^2 and its gradient."""

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Residuals, not weighted."""

    def pulled_back(self, parameters: FloatArray, residuals: FloatArray) -> FloatArray:
        """J^T r for any residuals r, which come without their weights."""

    def loss(self, residuals: FloatArray) -> float:
        """Weighted sum of squares."""


@dataclass(frozen=True, eq=False)
class Magnified:
    """A sample of labels that stands for `factor` times as many."""

    sample: LeastSquares
    factor: float

    @property
    def known(self) -> int:
        """Residuals of the sample that there is a target for."""
        return self.sample.known

    def normal(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """J^T J, J^T r, |r|^2."""
        jtj, jtr, loss = self.sample.normal(parameters)
        return self.factor * jtj, self.factor * jtr, self.factor * loss

    def loss_and_gradient(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """|r|^2 and its gradient."""
        loss, gradient = self.sample.loss_and_gradient(parameters)
        return self.factor * loss, self.factor * gradient

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Residuals of the sample, not weighted."""
        return self.sample.residuals(parameters)

    def pulled_back(self, parameters: FloatArray, residuals: FloatArray) -> FloatArray:
        """J^T r for any residuals r of the sample, which come without their weights."""
        return self.factor * self.sample.pulled_back(parameters, residuals)

    def loss(self, residuals: FloatArray) -> float:
        """Weighted sum of squares."""
        return self.factor * self.sample.loss(residuals)


@dataclass(frozen=True, eq=False)
class Joint:
    """Two least squares of the same unknowns as one; the residuals of `second` come last.

    Parameters
    ----------
    second
        One whose every residual has a target.
    """

    first: LeastSquares
    second: LeastSquares

    @property
    def known(self) -> int:
        """Residuals of both that there is a target for."""
        return self.first.known + self.second.known

    def normal(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """J^T J, J^T r, |r|^2."""
        a, b = self.first.normal(parameters), self.second.normal(parameters)
        return a[0] + b[0], a[1] + b[1], a[2] + b[2]

    def loss_and_gradient(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """|r|^2 and its gradient."""
        a, b = self.first.loss_and_gradient(parameters), self.second.loss_and_gradient(parameters)
        return a[0] + b[0], a[1] + b[1]

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Residuals of both, not weighted."""
        return np.concatenate([self.first.residuals(parameters), self.second.residuals(parameters)])

    def pulled_back(self, parameters: FloatArray, residuals: FloatArray) -> FloatArray:
        """J^T r for any residuals r of both, which come without their weights."""
        a, b = self._parts(residuals)
        return self.first.pulled_back(parameters, a) + self.second.pulled_back(parameters, b)

    def loss(self, residuals: FloatArray) -> float:
        """Weighted sum of squares."""
        a, b = self._parts(residuals)
        return self.first.loss(a) + self.second.loss(b)

    def _parts(self, residuals: FloatArray) -> tuple[FloatArray, FloatArray]:
        edge = len(residuals) - self.second.known
        return residuals[:edge], residuals[edge:]


@dataclass(frozen=True, eq=False)
class Prior:
    """Gaussian prior: the penalty is sum precision (B p - centre)^2.

    Parameters
    ----------
    precision, centre
        (P,) each.
    basis
        (P, P) B, invertible; None: 1.
    """

    precision: FloatArray
    centre: FloatArray
    basis: csr_array | None = None

    @property
    def matrix(self) -> FloatArray:
        """(P, P) B^T Lambda B, half the Hessian of the penalty."""
        if self.basis is None:
            return np.diag(self.precision)
        weighted = self.basis.multiply(self.precision[:, None])
        return np.asarray((self.basis.T @ weighted).todense())

    def penalty(self, parameters: FloatArray) -> float:
        """Value of the penalty."""
        return float((self.precision * self._off(parameters) ** 2).sum())

    def gradient(self, parameters: FloatArray) -> FloatArray:
        """Gradient of the penalty."""
        pull: FloatArray = 2.0 * self.precision * self._off(parameters)
        return pull if self.basis is None else np.asarray(self.basis.T @ pull)

    def _off(self, parameters: FloatArray) -> FloatArray:
        at: FloatArray = parameters if self.basis is None else self.basis @ parameters
        return at - self.centre


@dataclass(frozen=True, eq=False)
class Objective:
    """|r(p)|^2 + penalty."""

    problem: LeastSquares
    prior: Prior

    def value(self, parameters: FloatArray) -> float:
        """Without derivatives."""
        return self.problem.loss(self.problem.residuals(parameters)) + self.prior.penalty(parameters)

    def value_and_gradient(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient."""
        loss, gradient = self.problem.loss_and_gradient(parameters)
        return loss + self.prior.penalty(parameters), gradient + self.prior.gradient(parameters)

    def normal(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Half the Gauss-Newton Hessian and half the gradient."""
        jtj, jtr, _ = self.problem.normal(parameters)
        return jtj + self.prior.matrix, jtr + 0.5 * self.prior.gradient(parameters)

    def bending(self, parameters: FloatArray, direction: FloatArray) -> FloatArray:
        """J^T r'', r'' the second derivative of the residuals along `direction`, from two differences.

        A difference over a tenth of the direction is exact enough (Transtrum, Sethna, arXiv:1201.5885, section 4.1).
        """
        there, here, back = (self.problem.residuals(parameters + h * direction) for h in (BEND, 0.0, -BEND))
        return self.problem.pulled_back(parameters, (there - 2.0 * here + back) / BEND**2)
