"""Potentials whose answers are known: ASE's calculators and the spin-lattice model as a potential of magflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction, concatenate
from magflow.core.types import FloatArray
from magflow.dft.spin_lattice import SpinLatticeModel, calculator
from magflow.errors import InputError
from magflow.explore.geometry import nearest_distance
from magflow.io.ase_atoms import to_atoms
from magflow.potentials.ensemble import PotentialEnsemble


class AsePotential:
    """Any calculator of ASE, without moments."""

    family = "ase"
    magnetic = False

    def __init__(self, make: Callable[[], Calculator], species: Sequence[str], cutoff: float) -> None:
        self.make, self.species, self.cutoff = make, tuple(species), cutoff

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        calc, parts = self.make(), []
        for f in frames:
            atoms = Atoms(f.species, cell=f.cell, positions=f.positions, pbc=True, calculator=calc)
            stress = atoms.get_stress()
            forces, energy = atoms.get_forces(), atoms.get_potential_energy()
            parts.append(Prediction(np.array([len(f)]), np.array([energy]), forces, stress[None]))
        none = Prediction(np.zeros(0, int), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)))
        return concatenate(parts) if parts else none

    def to_bytes(self) -> bytes:
        return f"{self.family} {self.species} {self.cutoff}".encode()

    def calculator(self) -> Calculator:
        return self.make()


class ModelPotential:
    """The spin-lattice model Hamiltonian (a model, not DFT), which reads moments."""

    family = "spin-lattice"
    magnetic = True
    species = ("Al", "Fe")
    cutoff = 5.0
    max_moment = {"Al": 0.3, "Fe": 3.0}  # noqa: RUF012

    def __init__(self) -> None:
        self.model = SpinLatticeModel()

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        if any(f.magmoms is None for f in frames):
            raise InputError("a frame without moments")
        return self.model.predict(frames)

    def to_bytes(self) -> bytes:
        return b"spin-lattice"

    def calculator(self) -> Calculator:
        return calculator(self.model)


class HarmonicCrystal:
    """Each atom on a spring about its site; springs that soften as the crystal expands, and a volume at rest.

    Per atom E = B (v - v0)^2 / (2 v0) + k u^2 / 2 with k = `spring` (v / v0)^(-2 `gamma`): for classical nuclei the
    mean square distance is 3 k_B T / k, and the volume at zero pressure solves B (v - v0) / v0 = 3 gamma k_B T / v.

    Parameters
    ----------
    crystal
        The sites and their cell at rest, of the one size it can be asked about.
    spring, bulk
        eV/A^2 and eV/A^3.
    stretch
        Of the volume at rest.
    """

    family = "harmonic"
    magnetic = False
    cutoff = 1.0

    def __init__(
        self, crystal: Frame, spring: float = 6.0, bulk: float = 1.0, gamma: float = 2.0, stretch: float = 1.0
    ) -> None:
        self.species = tuple(sorted(set(crystal.species)))
        self.sites = crystal.positions @ np.linalg.inv(crystal.cell)
        self.spring, self.bulk, self.gamma = spring, bulk, gamma
        self.rest = stretch * crystal.volume / len(crystal)

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        none = Prediction(np.zeros(0, int), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)))
        return concatenate([self._one(f) for f in frames]) if frames else none

    def _one(self, frame: Frame) -> Prediction:
        n, away = len(frame), frame.positions - self.sites @ frame.cell
        away = away - away.mean(axis=0)
        volume = frame.volume / n
        spring = self.spring * (volume / self.rest) ** (-2.0 * self.gamma)
        energy = n * 0.5 * self.bulk * (volume - self.rest) ** 2 / self.rest + 0.5 * spring * (away**2).sum()
        virial = spring * away.T @ away - self.gamma * spring * (away**2).sum() * np.eye(3)
        virial += n * self.bulk * (volume - self.rest) * volume / self.rest * np.eye(3)
        six = np.array([virial[a, b] for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
        return Prediction(np.array([n]), np.array([energy]), -spring * away, six[None] / frame.volume)

    def to_bytes(self) -> bytes:
        return repr((self.sites.tolist(), self.spring, self.bulk, self.gamma, self.rest)).encode()


class QuadraticMagnet:
    """A crystal of one element, its energy of second order in displacements u and in the changes x of |m|.

    E = sum over bonds of `spring` (e.(u_j - u_i))^2 / 2 + `bend` (u_j - u_i)^2 / 2, of `coupling` e.(u_j - u_i)
    (x_i + x_j) and of `exchange` x_i x_j, over atoms of `stiffness` x_i^2 / 2, and a bulk modulus of 1 eV/A^3. Central
    differences of it are exact, and so is what moments at rest do.

    Parameters
    ----------
    crystal
        Sites, cell and moments at rest, of the one size it can be asked about.
    """

    family = "quadratic-magnet"
    magnetic = True
    cutoff = 3.0

    def __init__(
        self,
        crystal: Frame,
        spring: float = 3.0,
        bend: float = 0.4,
        coupling: float = 0.3,
        stiffness: float = 0.9,
        exchange: float = -0.05,
    ) -> None:
        self.crystal, self.species = crystal, tuple(sorted(set(crystal.species)))
        self.max_moment = dict.fromkeys(self.species, 4.0)
        n = len(crystal)
        hessian = np.zeros((n, 4, n, 4))
        hessian[np.arange(n), 3, np.arange(n), 3] = stiffness
        atoms = to_atoms(crystal.non_magnetic())
        for i, j, bond in zip(*neighbor_list("ijD", atoms, 1.1 * nearest_distance(crystal)), strict=True):
            if i > j:
                continue
            stretch, both = np.zeros((n, 4)), np.zeros((n, 4))
            stretch[i, :3], stretch[j, :3] = -bond / np.linalg.norm(bond), bond / np.linalg.norm(bond)
            both[[i, j], 3] = 1.0
            hessian += spring * np.multiply.outer(stretch, stretch)
            hessian += coupling * (np.multiply.outer(stretch, both) + np.multiply.outer(both, stretch))
            hessian[i, 3, j, 3] += exchange
            hessian[j, 3, i, 3] += exchange
            for a in range(3):
                shear = np.zeros((n, 4))
                shear[i, a], shear[j, a] = -1.0, 1.0
                hessian += bend * np.multiply.outer(shear, shear)
        self.hessian = hessian

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        none = Prediction(np.zeros(0, int), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)), np.zeros((0, 3)))
        return concatenate([self._one(f) for f in frames]) if frames else none

    def _one(self, frame: Frame) -> Prediction:
        if frame.magmoms is None:
            raise InputError("a frame without moments")
        away, sign = np.zeros((len(frame), 4)), np.sign(frame.magmoms[:, 2])
        away[:, :3] = frame.positions - self.crystal.positions @ np.linalg.inv(self.crystal.cell) @ frame.cell
        away[:, 3] = np.abs(frame.magmoms[:, 2]) - np.abs(self.crystal.magmoms[:, 2])
        slope = np.einsum("iajb,jb->ia", self.hessian, away)
        excess, virial = frame.volume - self.crystal.volume, away[:, :3].T @ slope[:, :3]
        virial = 0.5 * (virial + virial.T) + excess * frame.volume / self.crystal.volume * np.eye(3)
        six = np.array([virial[a, b] for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
        energy = 0.5 * (away * slope).sum() + 0.5 * excess**2 / self.crystal.volume
        magnetic = np.outer(-slope[:, 3] * sign, [0.0, 0.0, 1.0])
        return Prediction(np.array([len(frame)]), np.array([energy]), -slope[:, :3], six[None] / frame.volume, magnetic)

    def hessian_vector_product(self, frame: Frame, vectors: ArrayLike) -> FloatArray:
        assert frame.magmoms is not None
        sign = np.ones((len(frame), 4))
        sign[:, 3] = np.sign(frame.magmoms[:, 2])
        products: FloatArray = sign * np.einsum("iajb,kjb->kia", self.hessian, sign * vectors)
        return products

    def to_bytes(self) -> bytes:
        return self.hessian.tobytes()


class IdealMixture:
    """Two elements whose volumes and moments add up, and a price on each bond between unlike neighbours.

    E = sum_i e_i + B / 2 (V - sum_i v_i)^2 / V0 + k / 2 sum_i (|m_i| - m_i0)^2 + `unlike` n_AB, with n_AB counted among
    the nearest neighbours: atoms feel no force, a crystal of any lattice is at rest at the sum of its volumes.

    Parameters
    ----------
    volumes, moments, energies
        Of Al and Fe by themselves: A^3, muB, eV.
    unlike
        eV per bond.
    """

    family = "ideal-mixture"
    species = ("Al", "Fe")
    cutoff = 4.0
    max_moment = {"Al": 1.0, "Fe": 3.0}  # noqa: RUF012

    def __init__(
        self,
        volumes: tuple[float, float] = (16.5, 11.4),
        moments: tuple[float, float] | None = (0.0, 2.2),
        energies: tuple[float, float] = (-3.7, -8.2),
        unlike: float = 0.0,
        bulk: float = 1.0,
    ) -> None:
        self.volumes, self.moments, self.energies = volumes, moments, energies
        self.unlike, self.bulk, self.magnetic = unlike, bulk, moments is not None

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        none = Prediction(np.zeros(0, int), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)))
        return concatenate([self._one(f) for f in frames]) if frames else none

    def _one(self, frame: Frame) -> Prediction:
        n, kinds = len(frame), [self.species.index(s) for s in frame.species]
        volume = sum(self.volumes[k] for k in kinds)
        excess = frame.volume - volume
        energy = sum(self.energies[k] for k in kinds) + 0.5 * self.bulk * excess**2 / volume
        if self.unlike:
            energy += self.unlike * self._unlike(frame)
        magnetic = None
        if self.moments is not None:
            size = np.linalg.norm(np.asarray(frame.magmoms), axis=1)
            away = size - np.array([self.moments[k] for k in kinds])
            energy += 0.5 * (away**2).sum()
            magnetic = -away[:, None] * np.asarray(frame.magmoms) / np.maximum(size, 1e-9)[:, None]
        stress = self.bulk * excess / volume * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        return Prediction(np.array([n]), np.array([energy]), np.zeros((n, 3)), stress[None], magnetic)

    def _unlike(self, frame: Frame) -> int:
        i, j = neighbor_list("ij", to_atoms(frame.non_magnetic()), 1.1 * nearest_distance(frame))
        species = np.array(frame.species)
        return int((species[i] != species[j]).sum()) // 2

    def to_bytes(self) -> bytes:
        return repr((self.volumes, self.moments, self.energies, self.unlike, self.bulk)).encode()


def alone(potential: Any) -> PotentialEnsemble:
    """It as an ensemble of one."""
    return PotentialEnsemble((potential,), potential.family)


def bcc(a: float, element: str = "Fe", moment: float | None = None) -> Frame:
    """The two atoms of the cubic cell, parallel."""
    moments = None if moment is None else [moment, moment]
    return Frame((element, element), a * np.eye(3), [[0, 0, 0], [a / 2] * 3], moments)  # type: ignore[arg-type]


def fcc(a: float, element: str) -> Frame:
    """The four atoms of the cubic cell."""
    corners = a / 2 * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Frame((element,) * 4, a * np.eye(3), corners)
