"""What labels leave undecided of an mMTP, as rows for the choice of the next labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.prediction import QUANTITIES
from magflow.core.types import FloatArray
from magflow.core.undecided import Rows
from magflow.potentials.mmtp.fit import fit_mmtp
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.posterior import Posterior, inverse_root
from magflow.potentials.mmtp.residuals import MmtpWeights, Problem
from magflow.potentials.mmtp.settings import MmtpSettings
from magflow.potentials.mmtp.task import FitTask, Prepared, prepare

ROUGH_ITERATIONS = 8
"""Of a fit to labels that are only alike: the size of its coefficients is asked for, not their values."""


@dataclass(frozen=True, eq=False)
class MmtpUndecided:
    """Rows around one model.

    Parameters
    ----------
    weights
        Those of the fit; zero for a quantity that no label holds, which none will tell anything about.
    """

    model: MmtpModel
    posterior: Posterior
    weights: MmtpWeights

    @property
    def unknowns(self) -> int:
        """Parameters of the model and Pulay constants."""
        return len(self.posterior.factor)

    def rows(self, frames: Sequence[Frame], directions: FloatArray | None = None) -> Rows:
        """See :class:`magflow.core.undecided.Undecided`; per frame energy, forces, stress, magnetic forces."""
        values = self.posterior.rows(self.model, frames, self.weights, directions)
        begin = np.concatenate([[0], np.cumsum([4 * len(f) + 7 for f in frames], dtype=np.int64)])
        return Rows(values, begin)

    @classmethod
    def by(cls, settings: MmtpSettings, task: FitTask) -> MmtpUndecided:
        """By the labels of a task, around the potential it starts from."""
        ready = prepare(settings, task)
        posterior = Posterior.of(ready.problem, ready.prior, ready.starts[0])
        return cls(ready.problem.model, posterior, _held(settings.weights, ready.problem))

    @classmethod
    def before(cls, settings: MmtpSettings, task: FitTask) -> MmtpUndecided:
        """By no label, around the start of a task or a rough fit to its labels, which are only alike."""
        rough = settings.model_copy(update={"max_iterations": ROUGH_ITERATIONS, "starts": 1})
        start = fit_mmtp(rough, task)[0] if task.start is None else task.start
        ready = prepare(settings, FitTask(task.train, (), task.species, task.seed, start))
        return cls(ready.problem.model, _of_prior(ready), _held(settings.weights, ready.problem))


def _of_prior(ready: Prepared) -> Posterior:
    """The prior as a posterior by no labels, in units of their noise."""
    return Posterior(inverse_root(ready.prior.matrix), ready.starts[0], 0.0, 1.0)


def _held(weights: MmtpWeights, problem: Problem) -> MmtpWeights:
    known = np.unique(problem.targets.quantity[problem.targets.weights > 0.0])
    absent = [name for k, name in enumerate(QUANTITIES) if k not in known]
    return weights.model_copy(update=dict.fromkeys(absent, 0.0))
