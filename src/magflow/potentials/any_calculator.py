"""Any calculator of ASE as a potential: what others have trained, measured as the house's own are.

A calculator is named by where it is imported from, ``MODULE:CALLABLE``, and is made by a call with the settings given.
Nothing is imported that was not named, and nothing is unpickled here; what that package does when it is called is its
own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.data import chemical_symbols

from magflow.core.frame import Frame
from magflow.core.moments import GivenMoments, is_collinear
from magflow.core.prediction import Prediction, concatenate
from magflow.errors import InputError, MissingToolError

FAMILY = "ase"


class CalculatorPotential:
    """A calculator of ASE as a :class:`~magflow.core.protocols.Potential` that reads no moments of its own.

    Moments of a frame are handed on as initial moments. It cannot be saved, and nobody knows how far it sees.

    Parameters
    ----------
    calculator
        Energy and forces; stress where it has some, else what is predicted is not finite.
    name
        How errors name it.
    """

    family: ClassVar[str] = FAMILY
    magnetic = False
    species = tuple(chemical_symbols[1:])
    cutoff = 0.0

    def __init__(self, calculator: Calculator, name: str = "") -> None:
        self._calculator = calculator
        self.name = name or type(calculator).__name__

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """Energy, forces and stress, one frame after another.

        Raises
        ------
        InputError
            If the calculator raises, or gives an energy or a force that is not finite.
        """
        none = Prediction(np.zeros(0, int), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)))
        return concatenate([self._one(frame) for frame in frames]) if len(frames) else none

    def _one(self, frame: Frame) -> Prediction:
        atoms = Atoms(frame.species, cell=frame.cell, positions=frame.positions, pbc=True)
        if frame.magmoms is not None:
            moments = frame.magmoms
            atoms.set_initial_magnetic_moments(moments[:, 2] if is_collinear(moments) else moments)
        atoms.calc = self._calculator
        try:
            forces = np.asarray(atoms.get_forces(), dtype=float)
            energy, stress = float(atoms.get_potential_energy()), _stress(atoms)
        except Exception as error:  # a calculator of others raises what it likes
            raise InputError(
                "the calculator fails", where=self.name, seen=f"{type(error).__name__}: {error} ({frame!r})"
            ) from error
        if forces.shape != (len(frame), 3) or not (np.isfinite(forces).all() and np.isfinite(energy)):
            raise InputError("the calculator gives no finite energy and forces", where=self.name, seen=repr(frame))
        return Prediction(np.array([len(frame)]), np.array([energy]), forces, stress[None])

    def to_bytes(self) -> bytes:
        """There are none.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("a calculator of ASE cannot be saved as a model", where=self.name)

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """The calculator itself; `moments` are set on atoms, not here."""
        return self._calculator


def _stress(atoms: Atoms) -> np.ndarray:
    """(6,) eV/A^3; not finite where the calculator has none."""
    try:
        return np.asarray(atoms.get_stress(), dtype=float)
    except (PropertyNotImplementedError, NotImplementedError):
        return np.full(6, np.nan)


def make_calculator(spec: str, settings: Mapping[str, Any]) -> Calculator:
    """The calculator that ``MODULE:CALLABLE`` makes of `settings`.

    Raises
    ------
    InputError
        Another spelling, nothing callable of that name, settings that it refuses, something that is no calculator.
    MissingToolError
        If the module does not import.
    """
    module, sign, name = spec.partition(":")
    if not sign or not module or not name:
        raise InputError(
            "not the name of a calculator", seen=spec, expected="MODULE:CALLABLE, as ase.calculators.emt:EMT"
        )
    try:
        place: Any = import_module(module)
    except ImportError as error:
        hint = "install magflow and the package of the calculator into one environment"
        raise MissingToolError(f"the calculator does not import: {error}", where=spec, hint=hint) from error
    for part in name.split("."):
        place = getattr(place, part, None)
    if not callable(place):
        raise InputError("the module holds nothing callable of that name", where=spec, seen=name)
    try:
        made = place(**settings)
    except Exception as error:  # a package of others raises what it likes
        raise InputError(
            "the calculator is not made of these settings", where=spec, seen=f"{type(error).__name__}: {error}"
        ) from error
    if not hasattr(made, "get_potential_energy") or not hasattr(made, "get_forces"):
        raise InputError("not a calculator of ASE", where=spec, seen=type(made).__name__)
    return made  # type: ignore[no-any-return]
