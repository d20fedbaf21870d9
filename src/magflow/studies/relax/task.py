"""A structure to be relaxed on an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from magflow.core.frame import Frame
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.joint import relax
from magflow.explore.relaxation.settings import RelaxSettings
from magflow.explore.relaxation.starts import relax_from_starts
from magflow.io.predictions import check_predictable
from magflow.io.records import Record
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.limits import moment_bounds
from magflow.studies.relax.result import RelaxResult
from magflow.studies.relax.state import states


@dataclass(frozen=True, eq=False)
class RelaxTask:
    """A structure and all that is needed to relax it.

    Parameters
    ----------
    bounds
        Range of |m| by element, muB; None if the moments are held or the model knows none.
    multi_start
        Try several starts of the moments and keep the lowest end.
    """

    ensemble: PotentialEnsemble
    frame: Frame
    settings: RelaxSettings
    bounds: MomentRanges | None
    multi_start: bool

    @classmethod
    def prepared(
        cls,
        ensemble: PotentialEnsemble,
        frame: Frame,
        settings: RelaxSettings,
        *,
        max_moment: Mapping[str, float],
        multi_start: bool,
        where: str,
    ) -> RelaxTask:
        """Check that model and structure fit together and find the bounds of the moments.

        Parameters
        ----------
        max_moment
            Largest |m| by element, muB, where it is not the range of the fit.
        where
            Where the structure comes from, for errors.

        Raises
        ------
        InputError
            Unknown element, moments missing, no bound for an element, options that exclude each other.
        """
        if multi_start and (not ensemble.magnetic or Held.MOMENTS in settings.held):
            raise InputError("--moments multi-start needs moments that are free", where=where)
        if frame.magmoms is None and ensemble.magnetic and not multi_start:
            raise InputError(
                "the structure has no moments",
                where=where,
                expected="a column magmoms, muB (extended XYZ)",
                hint="nothing is guessed: --magmoms EL=MUB,.. gives them, --moments multi-start searches",
            )
        check_predictable([Record(frame)], ensemble.species, magnetic=False, where=where)
        free = ensemble.magnetic and Held.MOMENTS not in settings.held
        return cls(ensemble, frame, settings, moment_bounds(ensemble, frame, max_moment) if free else None, multi_start)

    def run(self, progress: WorkProgress = silent) -> RelaxResult:
        """Relax, and look at both ends."""
        starts, given = None, self.frame
        if self.multi_start and self.bounds is not None:
            starts = relax_from_starts(self.frame, self.ensemble, self.bounds, self.settings, progress)
            relaxation = starts.best
            if given.magmoms is None and relaxation.steps:
                given = relaxation.steps[0].frame
        else:
            relaxation = relax(self.frame, self.ensemble, self.bounds, self.settings, progress)
        before, after = states(self.ensemble, [given, relaxation.frame])
        return RelaxResult(self.ensemble, relaxation, starts, before, after)
