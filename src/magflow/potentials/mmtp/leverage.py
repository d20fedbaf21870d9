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

from dataclasses import dataclass, replace

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
    noise
        Variance of a weighted row of the fit; NaN in files of older releases, which can grade and no more.
    """

    directions: FloatArray
    weights: FloatArray
    noise: float = np.nan
    scope = Scope.POSTERIOR

    @classmethod
    def of(cls, posterior: Posterior, problem: Problem, weights: MmtpWeights, seed: int) -> PosteriorDraws:
        """From the posterior of a fit to `problem`."""
        n = len(problem.model.parameters)
        held = np.bincount(problem.targets.quantity[problem.targets.weights > 0.0], minlength=len(QUANTITIES)) > 0
        given = np.array([getattr(weights, name) for name in QUANTITIES])
        directions = np.ascontiguousarray(posterior.draw(DRAWS, seed)[:, :n])
        return cls(directions, np.where(held, given, 0.0), posterior.noise)

    def fits(self, model: MmtpModel) -> bool:
        """Whether it can be one of this model."""
        shapes = self.directions.shape[1:] == model.parameters.shape and self.weights.shape == (len(QUANTITIES),)
        real = all(a.dtype == np.float64 and bool(np.isfinite(a).all()) for a in (self.directions, self.weights))
        return shapes and real and len(self.directions) > 0 and not self.noise < 0.0

    @property
    def steps(self) -> FloatArray:
        """(K, n_parameters) the share of each draw that is taken."""
        return STEP * self.directions

    @property
    def factors(self) -> FloatArray:
        """(4,) from the root of the summed squares of what the steps change of each quantity to the grade."""
        factors: FloatArray = self.weights / (REACH * STEP * np.sqrt(len(self.directions)))
        return factors

    @property
    def undecided(self) -> float:
        """From the same root to the standard deviation of the quantity; NaN where the noise is not known."""
        return float(np.sqrt(self.noise / len(self.directions))) / STEP

    def squares(self, potential: Graded, geometry: Geometry) -> tuple[FloatArray, FloatArray]:
        """(N,) squared grades of every atom: its force and its magnetic force; (n,) of every frame: its energy and
        its stress.
        """
        energy, gradient, strain = self.variances(potential, geometry)
        of_energy, of_force, of_stress, of_moment = (self.weights / REACH) ** 2
        atoms = np.stack([of_force * gradient[:, :3].sum(axis=1), of_moment * gradient[:, 3]], axis=1)
        frames = np.concatenate([of_energy * energy[:, None], of_stress * strain], axis=1)
        return atoms.max(axis=1, initial=0.0), frames.max(axis=1, initial=0.0) / geometry.counts**2

    def variances(self, potential: Graded, geometry: Geometry) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Variances over the draws, in units of the noise: of the energies (n,), of dE/dr and dE/dm (N, 4), and of
        dE/d(strain) (n, 6).
        """
        base, n = potential.evaluate(geometry), len(geometry.counts)
        energy, gradient, strain = np.zeros(n), np.zeros((len(geometry.type), 4)), np.zeros((n, 6))
        for step in self.steps:
            there = potential.evaluate(geometry, parameters=potential.model.parameters + step)
            energy += np.bincount(geometry.frame, there["energy"] - base["energy"], minlength=n) ** 2
            gradient += (there["gradient"] - base["gradient"]) ** 2
            strain += (there["virial"] - base["virial"]) ** 2
        draws = len(self.directions) * STEP**2
        return energy / draws, gradient / draws, strain / draws

    def near(self, model: MmtpModel) -> tuple[list[MmtpModel], float]:
        """Models so near to `model` that their mean is its prediction and their sample standard deviation, times the
        number returned, that of the posterior.

        K draws D make K + 1 of them: the corners of a simplex S D, with S^T S = 1 and columns that sum to zero.
        """
        k = len(self.directions)
        corners = np.linalg.qr(np.concatenate([np.ones((k + 1, 1)), np.eye(k + 1)[:, :k]], axis=1))[0][:, 1:]
        steps = STEP * corners @ self.directions
        return [replace(model, parameters=model.parameters + s) for s in steps], float(np.sqrt(self.noise)) / STEP

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
        """``active_directions``, ``active_weights`` and, where it is known, ``active_noise``."""
        known = {} if np.isnan(self.noise) else {"active_noise": np.array(self.noise)}
        return {"active_directions": self.directions, "active_weights": self.weights, **known}
