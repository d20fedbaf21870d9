"""The mMTP family.

Who reads a campaign validates the settings of its family: what fits and predicts is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import LabeledFrame
from magflow.core.prediction import Prediction
from magflow.core.protocols import FitReport, Potential, Probe, Progress
from magflow.errors import InputError, MissingToolError
from magflow.potentials.mmtp.native import kernel
from magflow.potentials.mmtp.scope import Scope
from magflow.potentials.mmtp.settings import MmtpSettings

if TYPE_CHECKING:
    from magflow.potentials.mmtp.potential import MmtpPotential
    from magflow.potentials.mmtp.undecided import MmtpUndecided


class MmtpFamily(MmtpSettings):
    """Magnetic moment tensor potentials. Labels without moments give the non-magnetic potential."""

    name: ClassVar[str] = "mmtp"
    needs_moments: ClassVar[bool] = False

    @property
    def magnetic(self) -> bool:
        """Whether its potentials read moments; with one polynomial of a moment, a constant, they do not."""
        return self.moment_polynomials > 1

    @property
    def learns_force_constants(self) -> bool:
        """Whether force constants weigh anything."""
        return self.weights.force_constants > 0.0

    @property
    def force_constant_weight(self) -> float:
        """``weights.force_constants``."""
        return self.weights.force_constants

    def weighing(self, force_constants: float, stress: float = 1.0, forces: float = 1.0) -> MmtpFamily:
        """The same with other weights; see :class:`~magflow.core.protocols.LearnsForceConstants`."""
        old = self.weights
        changed = {
            "force_constants": force_constants,
            "stress": stress * old.stress,
            "forces": forces * old.forces,
            "magnetic_forces": forces * old.magnetic_forces,
        }
        return self.model_copy(update={"weights": old.model_copy(update=changed)})

    def fit(
        self,
        train: Sequence[LabeledFrame],
        *,
        elements: Sequence[str],
        seed: int,
        validation: Sequence[LabeledFrame] = (),
        start: Potential | None = None,
        progress: Progress | None = None,
        workdir: Path | None = None,
        force_constants: Sequence[ForceConstantLabel] = (),
    ) -> tuple[MmtpPotential, FitReport]:
        """Fit one potential.

        Parameters
        ----------
        train
            Labelled frames; repeats weigh more. A quantity a label lacks (None, or NaN entries) is left out.
        validation
            If given, the parameters with the smallest loss on it are kept, and the fit stops after `patience`
            iterations without a better one.
        start
            A potential of the same form, level, cutoff and elements to go on from; its ranges of distance and moments
            are widened where the labels need it. A non-magnetic one is promoted first if the labels have moments, and
            `promotion` says what is kept of one that learnt from labels of another level of theory
            (:mod:`magflow.potentials.mmtp.promote`).
        workdir
            Where a checkpoint is kept, for a fit that is killed to go on from; created if absent.
        force_constants
            Rows of force constants at clamped moments to be met besides, each component with
            ``weights.force_constants``.

        Raises
        ------
        InputError
            No labels, non-collinear moments, labels with and without moments, unknown elements, a warm start of
            another shape, values that are not finite, a checkpoint of another fit.
        """
        from magflow.potentials.mmtp.fit import fit_mmtp
        from magflow.potentials.mmtp.task import FitTask

        species = tuple(sorted(set(elements)))
        begin = None if start is None else _own(start)
        return fit_mmtp(self, FitTask(train, validation, species, seed, begin, progress, workdir, force_constants))

    def undecided(self, potential: Potential, labels: Sequence[LabeledFrame], *, seed: int) -> MmtpUndecided:
        """See :class:`magflow.core.undecided.TellsUndecided`.

        Raises
        ------
        InputError
            As :meth:`fit` with this start.
        """
        from magflow.potentials.mmtp.task import FitTask
        from magflow.potentials.mmtp.undecided import MmtpUndecided

        start = _own(potential)
        return MmtpUndecided.by(self, FitTask(labels, (), start.species, seed, start))

    def undecided_before(
        self, alike: Sequence[LabeledFrame], *, elements: Sequence[str], seed: int, around: Potential | None = None
    ) -> MmtpUndecided:
        """See :class:`magflow.core.undecided.TellsUndecided`; one rough fit, unless there is a potential.

        Raises
        ------
        InputError
            As :meth:`fit`.
        """
        from magflow.potentials.mmtp.task import FitTask
        from magflow.potentials.mmtp.undecided import MmtpUndecided

        start = None if around is None else _own(around)
        return MmtpUndecided.before(self, FitTask(alike, (), tuple(sorted(set(elements))), seed, start))

    def unseen(self, potential: Potential, labels: Sequence[LabeledFrame], *, seed: int) -> Prediction:
        """See :class:`magflow.core.unseen.TellsUnseen`.

        Raises
        ------
        InputError
            As :meth:`fit` with this start.
        """
        from magflow.potentials.mmtp.left_out import unseen

        return unseen(self, _own(potential), labels, seed)

    @property
    def fits_tell_deviations(self) -> bool:
        """Whether its fits carry their posterior."""
        return self.grade is Scope.POSTERIOR

    def load(self, data: bytes) -> MmtpPotential:
        """Inverse of :meth:`MmtpPotential.to_bytes`."""
        from magflow.potentials.mmtp.potential import MmtpPotential

        return MmtpPotential.from_bytes(data)

    def probe(self) -> list[Probe]:
        """Whether the compiled kernel loads."""
        try:
            found = ", ".join(kernel().instruction_sets())
        except MissingToolError as error:
            return [Probe("mMTP kernel", False, error.message, error.hint or "")]
        return [Probe("mMTP kernel", True, f"instruction sets: {found}")]


def _own(start: Potential) -> MmtpPotential:
    from magflow.potentials.mmtp.potential import MmtpPotential

    if not isinstance(start, MmtpPotential):
        raise InputError("the warm start is of another family", seen=start.family)
    return start
