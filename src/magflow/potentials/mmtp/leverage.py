r"""The extrapolation grade of scope ``posterior``: how far predictions are left undecided by the labels.

The D-optimal grades of :mod:`magflow.potentials.mmtp.grade` ask whether the rows of an atom are new. ``linear`` takes
the radial functions for known and asks for its few basis functions only, which forces of a few labels decide many
times over; but it is the radial functions that small symmetric cells leave open: in fits to 80 two-atom labels 130 of
480 radial coefficients. ``sites`` asks for them, but by energies, and gives what no label reached the size 1e-6, so
that every frame is new. Here every predicted number is looked at with its own row, by all parameters: energy of the
frame, forces, stress, magnetic forces. Its leverage h = j^T (J^T J + Lambda)^-1 j
(:mod:`magflow.potentials.mmtp.posterior`) is the variance that the labels leave it, in units of the fit's noise; what
they do not reach is as wide as the prior. Forces show it ten times as clearly as energies. The grade is the largest

    sqrt(h) / 2.5   of a force, its three components together, and
    sqrt(h) / 5     of the energy, a stress or a magnetic force, of which labels hold fewer numbers:

up to 0.4 on the training set, mostly below 1 in its domain, above 2 where a force is uncertain by more than five times
the noise of the fit.

The leverages are not computed from rows, whose product with the covariance costs P^2 each, but from draws of the
posterior, made once: the derivative of a prediction along a draw, by one evaluation of the kernel, has the variance h.
The draws are few: sqrt(h) of one fit is good to a quarter, that of an ensemble of five to a tenth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magflow.core.prediction import QUANTITIES
from magflow.core.types import FloatArray
from magflow.potentials.mmtp.geometry import Geometry
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.posterior import Posterior
from magflow.potentials.mmtp.residuals import MmtpWeights, Problem
from magflow.potentials.mmtp.scope import Graded, Scope

REACH = np.array([5.0, 2.5, 5.0, 5.0])
"""sqrt(h) of grade 1, by quantity.

From 12 ensembles (levels 8, 10, 12; 20 to 160 two-atom labels of a model Hamiltonian) to 960 frames of 2 to 16 atoms
at displacements of 0.01 to 0.15 A: 98.7 % of those with a force wrong by more than 300 meV/A are above grade 2, and
3.3 % of those right to 60 meV/A (benchmarks/extrapolation.py).
"""
DRAWS = 8
STEP = 1e-5
"""Share of a draw that is taken: small enough for the curvature, large enough for rounding."""


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    """Draws of the posterior of one fit.

    Parameters
    ----------
    directions
        (K, n_parameters) of the model alone: the Pulay constants are no part of its energy.
    weights
        (4,) weights of the fit, of energy per atom, forces, stress times volume per atom and magnetic forces; zero for
        what no label held.
    """

    directions: FloatArray
    weights: FloatArray
    scope = Scope.POSTERIOR

    @classmethod
    def of(cls, posterior: Posterior, problem: Problem, weights: MmtpWeights, seed: int) -> PosteriorDraws:
        """From the posterior of a fit to `problem`."""
        n = len(problem.model.parameters)
        held = np.bincount(problem.targets.quantity[problem.targets.weights > 0.0], minlength=len(QUANTITIES)) > 0
        given = np.array([getattr(weights, name) for name in QUANTITIES])
        return cls(np.ascontiguousarray(posterior.draw(DRAWS, seed)[:, :n]), np.where(held, given, 0.0))

    def fits(self, model: MmtpModel) -> bool:
        """Whether it can be one of this model."""
        shapes = self.directions.shape[1:] == model.parameters.shape and self.weights.shape == (len(QUANTITIES),)
        real = all(a.dtype == np.float64 and bool(np.isfinite(a).all()) for a in (self.directions, self.weights))
        return shapes and real and len(self.directions) > 0

    def squares(self, potential: Graded, geometry: Geometry) -> tuple[FloatArray, FloatArray]:
        """(N,) squared grades of every atom: its force and its magnetic force; (n,) of every frame: its energy and
        its stress.
        """
        base = potential.evaluate(geometry)
        atoms, frames = np.zeros((len(geometry.type), 2)), np.zeros((len(geometry.counts), 7))
        of_energy, of_force, of_stress, of_moment = self.weights / (REACH * STEP)
        for direction in self.directions:
            there = potential.evaluate(geometry, parameters=potential.model.parameters + STEP * direction)
            slope = (there["gradient"] - base["gradient"]) ** 2
            atoms[:, 0] += of_force**2 * slope[:, :3].sum(axis=1)
            atoms[:, 1] += of_moment**2 * slope[:, 3]
            energy = np.bincount(geometry.frame, there["energy"] - base["energy"], minlength=len(geometry.counts))
            frames[:, 0] += (of_energy * energy) ** 2
            frames[:, 1:] += of_stress**2 * (there["virial"] - base["virial"]) ** 2
        draws = len(self.directions)
        return atoms.max(axis=1, initial=0.0) / draws, frames.max(axis=1, initial=0.0) / (draws * geometry.counts**2)

    def atom_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(sum N,) grade of every atom: of its force and its magnetic force."""
        grades: FloatArray = np.sqrt(self.squares(potential, geometry)[0])
        return grades

    def frame_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(n,) grade of every frame: the largest of its atoms, its energy and its stress."""
        atoms, frames = self.squares(potential, geometry)
        largest = np.maximum.reduceat(atoms, geometry.offsets[:-1]) if len(frames) else frames
        grades: FloatArray = np.sqrt(np.maximum(largest, frames))
        return grades

    def arrays(self) -> dict[str, np.ndarray]:
        """``active_directions`` and ``active_weights``."""
        return {"active_directions": self.directions, "active_weights": self.weights}
