r"""What a fit would have said of each of its labels, had it not learnt from that label.

Around its minimum a fit is linear in its unknowns. With A = J W the rows of one label (:mod:`magflow.potentials.mmtp.
posterior`) and e their weighted residuals, a fit to all other labels leaves

    e' = (1 - A A^T)^-1 e,

exactly so for a linear model with a Gaussian prior; all rows of a label go at once (R. D. Cook, S. Weisberg, Residuals
and Influence in Regression (1982), section 3.4). No fit has to be made for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.core.prediction import Prediction
from magflow.core.types import FloatArray
from magflow.potentials.mmtp.posterior import Posterior
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.residuals import Problem
from magflow.potentials.mmtp.settings import MmtpSettings
from magflow.potentials.mmtp.task import FitTask, prepare

LARGEST = 0.97
"""Leverage of a direction.

Nearer to 1 the label alone decides it, and without it a fit goes farther than the linear form holds: dE/dm of chosen
ABINIT labels would be off by 0.71 eV/muB; with this bound it is by 0.05, as before they were learnt from. Random labels
do not feel it.
"""


def unseen(settings: MmtpSettings, potential: MmtpPotential, labels: Sequence[LabeledFrame], seed: int) -> Prediction:
    """See :class:`magflow.core.unseen.TellsUnseen`."""
    ready = prepare(settings, FitTask(labels, (), potential.species, seed, potential))
    problem, unknowns = ready.problem, ready.starts[0]
    off = left_out(problem, Posterior.of(problem, ready.prior, unknowns)) - problem.residuals(unknowns)
    energy, atom, strain = problem.layout.split(off)
    frames = [item.configuration for item in labels]
    seen = potential.predict(frames)
    volume = np.array([frame.volume for frame in frames])[:, None]
    moved = seen.magnetic_forces
    if moved is not None:
        moved = moved - atom[:, 3:] * np.array([0.0, 0.0, 1.0])
    return replace(
        seen,
        energy=seen.energy + energy,
        forces=seen.forces - atom[:, :3],
        stress=seen.stress + potential.label_stress_offset(frames) + strain / volume,
        magnetic_forces=moved,
    )


def left_out(problem: Problem, posterior: Posterior) -> FloatArray:
    """(rows,) residuals of each label by a fit to all others, not weighted; zero where there is no target."""
    out = np.zeros(len(problem.targets.values))
    begin, weights = problem.layout.begin, problem.targets.weights
    for first, last in problem.chunks:
        values, jacobian = problem.rows(posterior.unknowns, first, last)
        rows, start = jacobian @ posterior.factor, begin[first]
        for f in range(first, last):
            known = begin[f] + np.flatnonzero(weights[begin[f] : begin[f + 1]])
            residual = (values[known - start] - problem.targets.values[known]) * weights[known]
            out[known] = _by_the_others(rows[known - start], residual) / weights[known]
    return out


def _by_the_others(rows: FloatArray, residual: FloatArray) -> FloatArray:
    """The residuals e' of one label."""
    leverage, directions = np.linalg.eigh(rows @ rows.T)
    left: FloatArray = directions @ ((directions.T @ residual) / (1.0 - np.minimum(leverage, LARGEST)))
    return left
