"""Moments, atoms and cell as one vector whose components are all about equally stiff.

Positions x = y F and cell = cell_0 F follow a symmetric deformation F = exp(W) (rows are vectors), as in the Frechet
cell filter of ASE; y are the positions in the undeformed cell. E. B. Tadmor et al., Phys. Rev. B 59, 235 (1999) give
the strain a natural length so that it can share a vector with positions; here every kind of variable is multiplied by
the square root of a typical curvature of the energy of a metal along it, which also takes in the moments.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import collinear
from magflow.core.prediction import Prediction
from magflow.core.types import BoolArray, FloatArray, IntArray
from magflow.core.units import tensor
from magflow.explore.candidate import MomentRanges, site_moments
from magflow.explore.relaxation.descent import pushed_out
from magflow.explore.relaxation.held import Held

ATOM_STIFFNESS = 12.0
"""eV/A^2, of one atom of a transition metal among its neighbours."""
MOMENT_STIFFNESS = 1.0
"""eV/muB^2, of one moment."""
CELL_STIFFNESS = 1.2
"""eV/A^3 (190 GPa); times the volume it is the curvature of the energy along a strain."""

_LONGEST_MOVE = 0.15
"""A; largest change of a position in one step."""
_LONGEST_STRAIN = 0.03
_LONGEST_TURN = 0.5
"""muB; largest change of a moment in one step."""


@dataclass(frozen=True)
class Residuals:
    """How far a state is from equilibrium; None for what is held.

    Parameters
    ----------
    forces
        Largest force on an atom (norm), eV/A.
    stress
        Largest component of the stress beyond the target pressure, in what the cell is free to do, eV/A^3.
    magnetic_forces
        Largest magnetic force, eV/muB; one that pushes a moment against its bound does not count.
    """

    forces: float | None = None
    stress: float | None = None
    magnetic_forces: float | None = None


@dataclass(frozen=True, eq=False)
class JointCoordinates:
    """The free variables of a frame: strain (k,), atoms (N, 3) or none, moments (n,), scaled, in this order.

    Parameters
    ----------
    reference
        The undeformed frame; what is held comes from it.
    strains
        (k, 3, 3) orthonormal basis of the strains the cell is free to take.
    moving
        Whether the atoms move against the cell.
    sites
        (n,) atoms whose moment is free.
    high
        (n,) largest |m| of these atoms, muB.
    pressure
        Target, eV/A^3.
    """

    reference: Frame
    strains: FloatArray
    moving: bool
    sites: IntArray
    high: FloatArray
    pressure: float = 0.0

    @classmethod
    def free(cls, frame: Frame, held: Set[Held], bounds: MomentRanges | None, pressure: float) -> JointCoordinates:
        """The coordinates of `frame` (collinear) without what is held; moments are free if there are `bounds`.

        An element that `bounds` leaves out carries no moment.
        """
        sites, high = np.zeros(0, dtype=np.int64), np.zeros(0)
        if frame.magmoms is not None and bounds is not None and Held.MOMENTS not in held:
            most = site_moments(frame.species, bounds).high
            sites = np.flatnonzero(most > 0.0)
            high = most[sites]
            frame = frame.replace(magmoms=np.clip(collinear(frame.magmoms), -most, most))
        return cls(frame, _strains(held), Held.ATOMS not in held, sites, high, pressure)

    @property
    def scales(self) -> FloatArray:
        """(size,) the square root of the curvature expected along each variable, eV^(1/2) per its unit."""
        return np.sqrt(self._blocks(CELL_STIFFNESS * self.reference.volume, ATOM_STIFFNESS, MOMENT_STIFFNESS))

    def _blocks(self, strain: float, atom: float, moment: float | FloatArray) -> FloatArray:
        """(size,) one value for each kind of variable."""
        atoms = 3 * len(self.reference) if self.moving else 0
        moments = np.broadcast_to(moment, len(self.sites))
        return np.concatenate([np.full(len(self.strains), strain), np.full(atoms, atom), moments])

    @property
    def start(self) -> FloatArray:
        """(size,) the reference itself."""
        positions = self.reference.positions.ravel() if self.moving else np.zeros(0)
        return np.concatenate([np.zeros(len(self.strains)), positions, self._moments(self.reference)]) * self.scales

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Two (size,): only moments have any."""
        high = self._blocks(np.inf, np.inf, self.high) * self.scales
        return -high, high

    @property
    def longest(self) -> FloatArray:
        """(size,) largest change in one step."""
        return self._blocks(_LONGEST_STRAIN, _LONGEST_MOVE, _LONGEST_TURN) * self.scales

    def frame(self, x: FloatArray) -> Frame:
        """The frame at `x` (size,)."""
        strain, positions, moments = self._split(x)
        deformation = self._deformation(strain)
        magmoms = self.reference.magmoms
        if magmoms is not None and len(self.sites):
            magmoms = magmoms.copy()
            magmoms[self.sites, 2] = moments
        return self.reference.replace(
            cell=self.reference.cell @ deformation, positions=positions @ deformation, magmoms=magmoms
        )

    def objective(self, frame: Frame, prediction: Prediction) -> float:
        """Enthalpy E + p V, eV."""
        return float(prediction.energy[0]) + self.pressure * frame.volume

    def gradient(self, x: FloatArray, prediction: Prediction) -> FloatArray:
        """(size,) of the enthalpy, from the prediction for ``frame(x)``.

        With dE = V sigma : (F^-1 dF) the derivative to W is the Frechet derivative of exp at W, which is its own
        adjoint for a symmetric W, applied to V F^-1 sigma (N. J. Higham, Functions of Matrices, SIAM 2008, chapter 3).
        """
        from scipy.linalg import expm_frechet

        w = self._split(x)[0]
        deformation = self._deformation(w)
        parts = []
        if len(self.strains):
            volume = self.reference.volume * np.linalg.det(deformation)
            stress = tensor(prediction.stress[0]) + self.pressure * np.eye(3)
            pull = volume * np.linalg.solve(deformation, stress)
            parts.append(np.einsum("kab,ab->k", self.strains, expm_frechet(w, pull, compute_expm=False)))
        if self.moving:
            parts.append(-(prediction.forces @ deformation).ravel())
        if len(self.sites) and prediction.magnetic_forces is not None:
            parts.append(-prediction.magnetic_forces[self.sites, 2])
        return np.concatenate([*parts, np.zeros(0)]) / self.scales

    def residuals(self, frame: Frame, prediction: Prediction) -> Residuals:
        """Distance from equilibrium of `frame`."""
        forces = stress = magnetic = None
        if self.moving:
            forces = float(np.linalg.norm(prediction.forces, axis=1).max())
        if len(self.strains):
            excess = tensor(prediction.stress[0]) + self.pressure * np.eye(3)
            left = np.einsum("kab,kcd,cd->ab", self.strains, self.strains, excess)
            stress = float(np.abs(left).max())
        if len(self.sites) and prediction.magnetic_forces is not None:
            push = prediction.magnetic_forces[self.sites, 2]
            magnetic = float(np.abs(np.where(self._kept_in(frame, push), 0.0, push)).max())
        return Residuals(forces, stress, magnetic)

    def at_bound(self, frame: Frame, prediction: Prediction) -> bool:
        """Whether a moment is held by its bound alone."""
        if not len(self.sites) or prediction.magnetic_forces is None:
            return False
        return bool(self._kept_in(frame, prediction.magnetic_forces[self.sites, 2]).any())

    def _kept_in(self, frame: Frame, push: FloatArray) -> BoolArray:
        """(n,) moments that their bound keeps from following the magnetic force `push` (n,), rounding allowed for."""
        edge = (1.0 - 1e-12) * self.high
        return pushed_out(self._moments(frame), -push, -edge, edge)

    def _moments(self, frame: Frame) -> FloatArray:
        return np.zeros(0) if frame.magmoms is None else frame.magmoms[self.sites, 2]

    def _split(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Logarithmic strain (3, 3), positions in the undeformed cell (N, 3) A, moments (n,) muB."""
        plain = x / self.scales
        k, n = len(self.strains), len(self.sites)
        positions = plain[k : len(x) - n].reshape(-1, 3) if self.moving else self.reference.positions
        return np.einsum("k,kab->ab", plain[:k], self.strains), positions, plain[len(x) - n :]

    @staticmethod
    def _deformation(strain: FloatArray) -> FloatArray:
        """(3, 3) exp of a symmetric matrix."""
        values, vectors = np.linalg.eigh(strain)
        stretched: FloatArray = (vectors * np.exp(values)) @ vectors.T
        return stretched


def _strains(held: Set[Held]) -> FloatArray:
    """(k, 3, 3) orthonormal symmetric strains that are free: isotropic one first, then the volume-conserving ones."""
    isotropic: FloatArray = np.eye(3)[None] / np.sqrt(3.0)
    root = np.sqrt(0.5)
    diagonal = [np.diag([root, -root, 0.0]), np.diag([1.0, 1.0, -2.0]) / np.sqrt(6.0)]
    shears = [tensor(root * np.eye(6)[v]) for v in (3, 4, 5)]
    if Held.CELL in held or {Held.SHAPE, Held.VOLUME} <= held:
        return np.zeros((0, 3, 3))
    if Held.SHAPE in held:
        return isotropic
    if Held.VOLUME in held:
        return np.array([*diagonal, *shears])
    return np.concatenate([isotropic, diagonal, shears])
