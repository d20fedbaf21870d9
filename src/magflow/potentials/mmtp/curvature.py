"""Force constants as rows of a fit: columns of the Hessian, and their derivatives by all parameters.

A column H v is exact (:mod:`magflow.core.hessian`). Its derivative by the parameters is that of the gradient g along
the displacement v. The kernel differentiates one component of g by all parameters exactly, in one sweep forward and one
back; along v a central difference is taken of that: d(H v)/dp = [dg/dp (r + h v) - dg/dp (r - h v)] / 2h. At
h = 3e-5 A it is right to some 1e-8 of its largest entry. Parameters that the energy is linear in come out as exactly
as the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from magflow.core.force_constants import ForceConstantLabel, check_clamped
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.mmtp.geometry import Geometry, build_geometry
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.native import kernel

STEP = 3e-5
"""A, of the central differences."""


@dataclass(frozen=True, eq=False)
class Crystal:
    """Columns of one supercell for one model.

    Parameters
    ----------
    directions
        (k, N, 4) displacements v.
    columns
        (k, 3N) eV/A^2, labelled H v.
    """

    model: MmtpModel
    geometry: Geometry
    directions: FloatArray
    columns: FloatArray

    @classmethod
    def of(cls, model: MmtpModel, label: ForceConstantLabel) -> Crystal:
        """The columns of `label`, without its moments for a non-magnetic model."""
        frame = label.frame if model.magnetic else label.frame.non_magnetic()
        try:
            geometry = build_geometry([frame], model.species, model.cutoff, magnetic=model.magnetic)
        except InputError as error:
            error.where = label.source or repr(label)
            raise
        columns = label.columns.reshape(len(label.columns), -1)
        return cls(model, geometry, label.directions, columns)

    @property
    def signs(self) -> tuple[float, ...]:
        """Of the moments the energy is the mean over."""
        return (1.0, -1.0) if self.model.symmetrise and self.model.magnetic else (1.0,)

    @cached_property
    def _sides(self) -> list[tuple[FloatArray, FloatArray]]:
        """Vectors to the neighbours, displaced by +h v and by -h v, for each v; the neighbours stay the same."""
        centre = np.repeat(np.arange(len(self.geometry.type)), np.diff(self.geometry.first))
        sides = []
        for v in self.directions[..., :3]:
            bend = STEP * (v[self.geometry.neighbour] - v[centre])
            sides.append((self.geometry.vector + bend, self.geometry.vector - bend))
        return sides

    def values(self, parameters: FloatArray) -> FloatArray:
        """(k, 3N) eV/A^2, the columns of the model."""
        g, packing = self.geometry, self.geometry.packing(len(self.model.species))
        total = np.zeros_like(self.directions)
        for sign in self.signs:
            total += kernel().hessian_products(
                self.model.spec, parameters, packing, g.moment, g.vector, sign, self.directions
            )
        return (total[..., :3] / len(self.signs)).reshape(self.columns.shape)

    def slope(self, parameters: FloatArray, column: int, tangent: FloatArray) -> FloatArray:
        """(P,) derivative by the parameters of `tangent` (3N,) times one column."""
        g, packing, model = self.geometry, self.geometry.packing(len(self.model.species)), self.model
        atom = np.zeros((len(g.type), 4))
        atom[:, :3] = tangent.reshape(-1, 3) / (2.0 * STEP * len(self.signs))
        energy, strain = np.zeros(1), np.zeros((1, 6))
        total = np.zeros(len(parameters))
        for vector, side in zip(self._sides[column], (1.0, -1.0), strict=True):
            for sign in self.signs:
                total += side * kernel().parameter_gradient(
                    model.spec, parameters, packing, g.moment, vector, sign, energy, atom, strain
                )
        return total

    def jacobian(self, parameters: FloatArray, column: int) -> FloatArray:
        """(3N, P) derivatives of one column by the parameters."""
        units = np.eye(self.columns.shape[1])
        return np.array([self.slope(parameters, column, unit) for unit in units])


@dataclass(frozen=True, eq=False)
class Curvature:
    """The least squares of force constants: its residuals are columns of the model minus labelled ones.

    Parameters
    ----------
    crystals
        One or more.
    weight
        1/(eV/A^2), of each component of a column.
    """

    crystals: tuple[Crystal, ...]
    weight: float

    @classmethod
    def of(cls, model: MmtpModel, labels: Sequence[ForceConstantLabel], weight: float) -> Curvature:
        """The problem of fitting `model` to `labels`.

        Raises
        ------
        InputError
            Force constants whose moments follow the atoms, elements that the model does not know, moments that are
            missing or not collinear.
        """
        for label in labels if model.magnetic else ():
            check_clamped(label)
        return cls(tuple(Crystal.of(model, label) for label in labels), weight)

    @cached_property
    def known(self) -> int:
        """Number of residuals."""
        return sum(crystal.columns.size for crystal in self.crystals)

    @property
    def arrays(self) -> list[np.ndarray]:
        """What decides the residuals besides the parameters."""
        found: list[np.ndarray] = [np.array(self.weight)]
        for c in self.crystals:
            found += [c.geometry.type, c.geometry.moment, c.geometry.vector, c.directions, c.columns]
        return found

    def residuals(self, unknowns: FloatArray) -> FloatArray:
        """(rows,) eV/A^2, not weighted."""
        return np.concatenate([(c.values(self._of(unknowns)) - c.columns).ravel() for c in self.crystals])

    def loss(self, residuals: FloatArray) -> float:
        """Weighted sum of squares."""
        return float(self.weight**2 * (residuals @ residuals))

    def normal(self, unknowns: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """J^T J, J^T r, |r|^2, weighted."""
        parameters, n = self._of(unknowns), len(unknowns)
        jtj, jtr, loss = np.zeros((n, n)), np.zeros(n), 0.0
        own = slice(0, len(parameters))
        for crystal in self.crystals:
            residuals = crystal.values(parameters) - crystal.columns
            for k, residual in enumerate(residuals):
                jacobian = crystal.jacobian(parameters, k)
                jtj[own, own] += self.weight**2 * (jacobian.T @ jacobian)
                jtr[own] += self.weight**2 * (jacobian.T @ residual)
            loss += self.loss(residuals.ravel())
        return jtj, jtr, loss

    def loss_and_gradient(self, unknowns: FloatArray) -> tuple[float, FloatArray]:
        """|r|^2, weighted, and its gradient, without a Jacobian."""
        residuals = self.residuals(unknowns)
        return self.loss(residuals), 2.0 * self.pulled_back(unknowns, residuals)

    def pulled_back(self, unknowns: FloatArray, residuals: FloatArray) -> FloatArray:
        """J^T r, both weighted; `residuals` come without their weights."""
        parameters, out, begin = self._of(unknowns), np.zeros(len(unknowns)), 0
        for crystal in self.crystals:
            for k in range(len(crystal.columns)):
                end = begin + crystal.columns.shape[1]
                out[: len(parameters)] += crystal.slope(parameters, k, self.weight**2 * residuals[begin:end])
                begin = end
        return out

    def rmse(self, unknowns: FloatArray) -> float:
        """eV/A^2, over all components."""
        return float(np.sqrt(np.mean(self.residuals(unknowns) ** 2)))

    def _of(self, unknowns: FloatArray) -> FloatArray:
        """The parameters of the model among the unknowns of a fit, which end with the Pulay constants."""
        return np.ascontiguousarray(unknowns[: self.crystals[0].model.spec.n_parameters])
