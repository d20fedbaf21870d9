"""Labels that any family can learn: site springs, site Landau terms and one exchange; no pair search, exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory

ELEMENTS = ("Al", "Fe")
LEVEL = LevelOfTheory("springs", "1", LabelKind.CONSTRAINED, "model Hamiltonian")

_IDEAL = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
_CELL = 2.87 * np.eye(3)
_SPRING, _EXCHANGE = 6.0, 0.05  # eV/A^2, eV/muB^2
_STIFF = {"Fe": 0.3, "Al": 2.0}  # eV/muB^2
_SHIFT = {"Fe": -4.0, "Al": -2.0}  # eV


def springs(frame: Frame) -> LabeledFrame:
    """The label of a frame of :func:`two_atoms`."""
    bond = frame.positions[1] - frame.positions[0] - (_IDEAL[1] - _IDEAL[0]) @ frame.cell
    m = np.zeros(2) if frame.magmoms is None else frame.magmoms[:, 2]
    stiff = np.array([_STIFF[s] for s in frame.species])
    magnetic = np.zeros((2, 3))
    magnetic[:, 2] = _EXCHANGE * m[::-1] - 2 * stiff * m
    energy = 0.5 * _SPRING * bond @ bond + (stiff * m**2).sum() - _EXCHANGE * m[0] * m[1]
    return LabeledFrame(
        frame,
        Label(
            frame.frame_id,
            LEVEL,
            frame.orientation,
            energy=float(energy + sum(_SHIFT[s] for s in frame.species)),
            forces=np.array([_SPRING * bond, -_SPRING * bond]),
            magmoms=frame.magmoms,
            magnetic_forces=None if frame.magmoms is None else magnetic,
        ),
    )


def two_atoms(n: int, seed: int) -> list[Frame]:
    """`n` cells of Fe2 and FeAl, displaced, with moments along z."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(n):
        positions = _IDEAL @ _CELL + rng.normal(0, 0.06, (2, 3))
        largest = np.array([2.5, 0.2 if k % 2 else 2.5])
        species = ("Fe", "Al" if k % 2 else "Fe")
        out.append(Frame(species, _CELL, positions, rng.uniform(-1, 1, 2) * largest))
    return out


def spring_constants(*, magnetic: bool) -> ForceConstantLabel:
    """Of the perfect Fe2 cell; its atoms pull each other alike in all directions."""
    frame = Frame(("Fe", "Fe"), _CELL, _IDEAL @ _CELL, np.full(2, 1.5) if magnetic else None)
    own, other = _SPRING * np.eye(3), -_SPRING * np.eye(3)
    return ForceConstantLabel(frame, LEVEL, np.arange(2), np.array([[own, other], [other, own]]))


def without_moments(items: Sequence[LabeledFrame]) -> list[LabeledFrame]:
    """The same springs for a family that reads no moments."""
    return [springs(item.frame.non_magnetic()) for item in items]
