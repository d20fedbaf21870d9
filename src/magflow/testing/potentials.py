"""The contract of a trained potential (:class:`magflow.core.protocols.Potential`)."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any
from unittest import SkipTest

import numpy as np

from magflow.core.frame import Frame
from magflow.core.hessian import GivesHessian, hessian
from magflow.core.prediction import Prediction
from magflow.core.protocols import Potential, SupportsGrades
from magflow.core.types import FloatArray
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.io.ase_atoms import to_atoms
from magflow.testing.contract import Contract, ContractError, agree, clause, demand, given, refused
from magflow.testing.springs import two_atoms


@dataclass(frozen=True, eq=False)
class PotentialContract(Contract):
    """What every trained potential keeps, fitted by a family or imported.

    Parameters
    ----------
    potential
        The potential.
    load
        Inverse of its ``to_bytes``.
    magnetic
        Whether it reads moments.
    frames
        What it predicts: four or more frames of two atoms, with moments.
    """

    potential: Any
    load: Callable[[bytes], Potential]
    magnetic: bool = True
    frames: Sequence[Frame] = field(default_factory=lambda: two_atoms(20, seed=1))

    @clause
    def is_a_potential(self) -> None:
        """It has everything the protocol names, and knows the elements of the frames."""
        demand(isinstance(self.potential, Potential), "it lacks something of magflow.core.protocols.Potential")
        wanted = {s for f in self.frames for s in f.species}
        demand(wanted <= set(self.potential.species), f"species {self.potential.species}, the frames hold {wanted}")
        demand(self.potential.cutoff > 0, f"cutoff: {self.potential.cutoff}")

    @clause
    def shapes(self) -> None:
        """Energies per frame, forces and magnetic forces per atom, one after another, stress in Voigt's order."""
        found = self.potential.predict(self.frames[:3])
        agree(found.counts, [2, 2, 2], "atoms per frame")
        agree(found.energy.shape, [3], "shape of the energies")
        agree(found.forces.shape, [6, 3], "shape of the forces")
        agree(found.stress.shape, [3, 6], "shape of the stresses")
        if self.magnetic:
            agree(np.shape(found.magnetic_forces), [6, 3], "shape of the magnetic forces")
        else:
            demand(found.magnetic_forces is None, "magnetic forces of a potential that reads no moments")

    @clause
    def frames_do_not_depend_on_each_other(self) -> None:
        """A frame is predicted alike in any company and any order."""
        together = self.potential.predict(self.frames[:3])
        for i in (2, 0):
            alone = self.potential.predict([self.frames[i]])
            agree(alone.energy[0], together.energy[i], f"energy of frame {i}, eV", atol=1e-8)
            agree(alone.forces, together.forces[2 * i : 2 * i + 2], f"forces of frame {i}, eV/A", atol=1e-7)

    @clause
    def no_frames(self) -> None:
        """No frames are predicted as no numbers."""
        found = self.potential.predict([])
        agree(found.forces.shape, [0, 3], "shape of the forces")
        agree(found.stress.shape, [0, 6], "shape of the stresses")

    @cached_property
    def _here(self) -> tuple[Frame, Prediction]:
        frame = self.frames[3]
        return frame, self.potential.predict([frame])

    def _slope(self, make: Callable[[float], Frame], step: float = 1e-4) -> float:
        up, down = self.potential.predict([make(step), make(-step)]).energy
        return float(up - down) / (2 * step)

    @clause
    def forces_are_minus_the_gradient(self) -> None:
        """Forces are -dE/dr, by finite differences."""
        frame, found = self._here
        for atom, axis in ((0, 0), (1, 2)):
            unit = _unit(atom, axis)
            slope = self._slope(partial(_displaced, frame, unit))
            agree(found.forces[atom, axis], -slope, f"force {'xyz'[axis]} on atom {atom}, eV/A", atol=1e-5, rtol=1e-4)

    @clause
    def magnetic_forces_are_minus_the_derivative_by_the_moments(self) -> None:
        """Magnetic forces are -dE/dm along z, by finite differences."""
        if not self.magnetic:
            raise SkipTest("reads no moments")
        frame, found = self._here
        forces = given(found.magnetic_forces, "magnetic forces")
        for atom in (0, 1):
            unit = _unit(atom, 2)
            slope = self._slope(partial(_magnetised, frame, unit))
            agree(forces[atom, 2], -slope, f"magnetic force on atom {atom}, eV/muB", atol=1e-5, rtol=1e-4)

    @clause
    def stress_is_the_derivative_by_the_strain(self) -> None:
        """Stress is (1/V) dE/d(strain), positive in tension, Voigt xx yy zz yz xz xy, by finite differences."""
        frame, found = self._here
        for k, name in ((0, "xx"), (5, "xy")):
            strain = tensor(np.eye(6)[k]) * (1.0 if k < 3 else 0.5)

            def strained(h: float, strain: np.ndarray = strain) -> Frame:
                deform = np.eye(3) + h * strain
                return frame.replace(cell=frame.cell @ deform, positions=frame.positions @ deform)

            slope = self._slope(strained)
            agree(found.stress[0, k] * frame.volume, slope, f"stress {name} times volume, eV", atol=1e-4, rtol=1e-4)

    @clause
    def time_reversal(self) -> None:
        """M and -M have the same energy and forces, and magnetic forces of the other sign."""
        frame = self.frames[-1]
        both = self.potential.predict([frame, frame.time_reversed()])
        agree(both.energy[1], both.energy[0], "energy of -M, eV", atol=1e-8)
        agree(both.forces[2:], both.forces[:2], "forces of -M, eV/A", atol=1e-7)
        if self.magnetic:
            reverse = given(both.magnetic_forces, "magnetic forces")
            agree(reverse[2:], -reverse[:2], "magnetic forces of -M, eV/muB", atol=1e-7)

    @clause
    def second_derivatives(self) -> None:
        """If it gives products with the Hessian: the derivatives of forces and magnetic forces, symmetric, zero for a
        shift of all atoms, and for -M the same but for the sign of the coupling.
        """
        if not isinstance(self.potential, GivesHessian):
            raise SkipTest("no second derivatives")
        frame, h = self._here[0], 1e-4
        along = np.random.default_rng(0).normal(size=(2, 4))
        if not self.magnetic:
            along[:, 3] = 0.0
        found = hessian(self.potential, frame).array
        size = max(float(np.abs(found).max()), 1.0)
        agree(found, found.transpose(2, 3, 0, 1), "Hessian and its transpose, eV/A^2", atol=1e-8 * size)
        agree(found[..., :3].sum(axis=2), np.zeros((2, 4, 3)), "sum rule, eV/A^2", atol=1e-8 * size)
        up, down = (self._gradient(_moved(frame, s * h * along)) for s in (1.0, -1.0))
        product = self.potential.hessian_vector_product(frame, along[None])[0]
        agree(product, (up - down) / (2 * h), "product with the Hessian, eV/A", atol=1e-5 * size)
        agree(product, np.einsum("iajb,jb->ia", found, along), "Hessian times the vector, eV/A", atol=1e-8 * size)
        sign = np.array([1.0, 1.0, 1.0, -1.0])
        turned = hessian(self.potential, frame.time_reversed()).array
        agree(turned, found * sign[:, None, None] * sign, "Hessian of -M, eV/A^2", atol=1e-7 * size)

    def _gradient(self, frame: Frame) -> FloatArray:
        said = self.potential.predict([frame])
        magnetic = np.zeros(2) if said.magnetic_forces is None else said.magnetic_forces[:, 2]
        return -np.column_stack([said.forces, magnetic])

    @clause
    def goes_through_bytes(self) -> None:
        """The bytes hold the whole model: loaded again it predicts the same numbers."""
        data = self.potential.to_bytes()
        demand(isinstance(data, bytes), f"to_bytes gives {type(data).__name__}")
        loaded, frames = self.load(data), self.frames
        agree(loaded.predict(frames).forces, self.potential.predict(frames).forces, "forces of the loaded model")
        demand(loaded.species == self.potential.species, f"species {loaded.species} after loading")
        agree(loaded.cutoff, self.potential.cutoff, "cutoff after loading, A")

    @clause
    def a_damaged_model_is_an_input_error(self) -> None:
        """Bytes that are no model are refused with InputError."""
        data = self.potential.to_bytes()
        damaged = {"nothing": b"", "text": b"nothing", "half": data[: len(data) // 2]}
        for name, content in (damaged | {"every bit turned": bytes(255 - b for b in data)}).items():
            with refused(InputError, f"loading {name}"):
                self.load(content)

    @clause
    def an_unknown_species_is_an_input_error(self) -> None:
        """An element that it does not know is refused with InputError."""
        frame = self.frames[0]
        with refused(InputError, "an atom of Xe"):
            self.potential.predict([Frame(("Xe", frame.species[1]), frame.cell, frame.positions, frame.magmoms)])

    @clause
    def missing_moments_are_an_input_error(self) -> None:
        """A frame without moments is refused with InputError, not read as one with moments of zero."""
        if not self.magnetic:
            raise SkipTest("reads no moments")
        with refused(InputError, "a frame without moments"):
            self.potential.predict([self.frames[0].non_magnetic()])

    @clause
    def calculator(self) -> None:
        """The ASE calculator gives the numbers of `predict`, also after atoms have moved."""
        from ase import Atoms

        frame = self.frames[1]
        magmoms = None if frame.magmoms is None else frame.magmoms[:, 2]
        atoms = Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True, magmoms=magmoms)
        atoms.calc = self.potential.calculator()
        expected = self.potential.predict([frame])
        agree(atoms.get_potential_energy(), expected.energy[0], "energy, eV", rtol=1e-6)
        agree(atoms.get_forces(), expected.forces, "forces, eV/A", rtol=1e-7, atol=1e-12)
        agree(atoms.get_stress(), expected.stress[0], "stress, eV/A^3", rtol=1e-7, atol=1e-12)
        atoms.positions += np.array([[0.0, 0, 0], [0.05, 0, 0]])
        moved = self.potential.predict([frame.replace(positions=atoms.positions.copy())])
        agree(atoms.get_forces(), moved.forces, "forces after a move, eV/A", rtol=1e-7, atol=1e-12)

    @clause
    def calculator_takes_moments_and_invents_none(self) -> None:
        """Atoms without moments are refused with InputError; ``moments=``, of atoms or elements, goes before theirs."""
        if not self.magnetic:
            raise SkipTest("reads no moments")
        from ase import Atoms

        frame = self.frames[0]
        mine = dict(zip(frame.species, (0.3, -0.2), strict=True))  # of one element, the second counts for both
        by_atom = np.array([mine[s] for s in frame.species])
        expected = self.potential.predict([frame.replace(magmoms=by_atom)])
        for given_moments in (by_atom, mine):
            atoms = Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True, magmoms=[1.0, 1.0])
            atoms.calc = self.potential.calculator(moments=given_moments)
            agree(atoms.get_potential_energy(), expected.energy[0], "energy at moments=, eV", rtol=1e-6)
            agree(atoms.get_magnetic_moments(), by_atom, "moments of the results, muB", atol=1e-12)
        bare = Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True)
        bare.calc = self.potential.calculator()
        with refused(InputError, "atoms without moments"):
            bare.get_potential_energy()

    @clause
    def can_be_pickled_and_copied(self) -> None:
        """Potential and calculator, once used, give the same numbers after pickle and ``copy.deepcopy``."""
        frame = self.frames[0]
        expected = self.potential.predict([frame]).forces
        calculator = self.potential.calculator()
        calculator.calculate(to_atoms(frame), ["forces"])
        for how in (pickled, copy.deepcopy):
            potential, other = twin(self.potential, how), twin(calculator, how)
            agree(potential.predict([frame]).forces, expected, f"forces after {how.__name__}", atol=1e-12)
            other.calculate(to_atoms(frame), ["forces"])
            agree(other.results["forces"], expected, f"forces of the calculator after {how.__name__}", atol=1e-12)

    @clause
    def descriptors_and_grades(self) -> None:
        """One finite descriptor per frame, the same for M and -M, and one positive grade."""
        if not isinstance(self.potential, SupportsGrades):
            raise SkipTest("no descriptors")
        frames, n = self.frames, len(self.frames)
        descriptors, grades = self.potential.descriptors(frames), self.potential.grades(frames)
        agree(grades.shape, [n], "shape of the grades")
        demand(descriptors.ndim == 2 and len(descriptors) == n, f"shape of the descriptors: {descriptors.shape}")
        demand(np.isfinite(descriptors).all() and (grades > 0).all(), "a descriptor or grade that is not usable")
        turned = self.potential.descriptors([f.time_reversed() for f in frames])
        agree(turned, descriptors, "descriptors of -M", atol=1e-8, rtol=1e-7)


def pickled(thing: Any) -> Any:
    """`thing`, through pickle."""
    return pickle.loads(pickle.dumps(thing))  # noqa: S301  # what this process has written a moment before


def twin(thing: Any, how: Callable[[Any], Any]) -> Any:
    """A copy of `thing`; :class:`ContractError` if it cannot be made."""
    try:
        return how(thing)
    except Exception as error:
        raise ContractError(f"{type(thing).__name__} does not survive {how.__name__}: {error}") from error


def _displaced(frame: Frame, along: FloatArray, h: float) -> Frame:
    return frame.replace(positions=frame.positions + h * along)


def _magnetised(frame: Frame, along: FloatArray, h: float) -> Frame:
    return frame.replace(magmoms=given(frame.magmoms, "moments") + h * along)


def _moved(frame: Frame, by: FloatArray) -> Frame:
    moved = frame.replace(positions=frame.positions + by[:, :3])
    return moved if frame.magmoms is None else moved.replace(magmoms=frame.magmoms + by[:, 3:] * [0.0, 0.0, 1.0])


def _unit(atom: int, axis: int) -> np.ndarray:
    out = np.zeros((2, 3))
    out[atom, axis] = 1.0
    return out
