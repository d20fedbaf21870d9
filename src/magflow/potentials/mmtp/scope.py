"""What an extrapolation grade is made of, and what the different kinds have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import numpy as np

from magflow.core.types import FloatArray
from magflow.potentials.mmtp.geometry import Geometry
from magflow.potentials.mmtp.model import MmtpModel


class Scope(StrEnum):
    """What a grade compares with the training set."""

    POSTERIOR = "posterior"
    """Predicted numbers and what the labels leave undecided of them (:mod:`magflow.potentials.mmtp.leverage`)."""
    LINEAR = "linear"
    SITES = "sites"
    FRAMES = "frames"
    """MaxVol over rows of environments or frames (:mod:`magflow.potentials.mmtp.grade`)."""


class Graded(Protocol):
    """What grades ask of a potential."""

    @property
    def model(self) -> MmtpModel:
        """Its parameters."""

    def basis_values(self, geometry: Geometry) -> FloatArray:
        """(sum N, n_scalar) basis functions of every atom."""

    def evaluate(self, geometry: Geometry, *, parameters: FloatArray | None = None) -> dict[str, FloatArray]:
        """Energies of atoms, gradients and virials; with other parameters than its own, if any are given."""


class ActiveSet(Protocol):
    """Grades environments; kept with its potential."""

    @property
    def scope(self) -> Scope:
        """What its rows are."""

    def atom_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(sum N,) grade of every atom; InputError if the scope is ``frames``."""

    def frame_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(n,) grade of every frame: the largest of its atoms, or its own."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays of the model file."""
