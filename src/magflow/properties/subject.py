"""A potential and a structure: what a property is measured of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from magflow.core.frame import Frame
from magflow.core.types import BoolArray
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.joint import Relaxation, relax_many
from magflow.explore.relaxation.moments import relax_moments_many
from magflow.explore.relaxation.settings import TOLERANCE, RelaxSettings
from magflow.explore.symmetry import reduced_formula, space_group
from magflow.io.predictions import check_predictable, outside
from magflow.io.records import Record
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.limits import grades_of, moment_bounds
from magflow.properties.measurement import Moments


@dataclass(frozen=True, eq=False)
class Subject:
    """One structure on one potential.

    Parameters
    ----------
    ensemble
        The potential.
    name
        Of the structure, e.g. ``bcc-Fe``.
    frame
        The crystal, with the moments it starts from where the potential reads them.
    moments
        What is to become of them.
    max_moment
        Largest |m| by element, muB, where it is not the range of the fit.

    Raises
    ------
    InputError
        Unknown element, moments missing, no bound for an element.
    """

    ensemble: PotentialEnsemble
    name: str
    frame: Frame
    moments: Moments = Moments.RELAXED
    max_moment: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        magnetic = self.ensemble.magnetic
        check_predictable([Record(self.frame)], self.ensemble.species, magnetic=magnetic, where=self.name)
        if not magnetic:
            object.__setattr__(self, "moments", Moments.NOT_READ)
        elif self.moments is Moments.NOT_READ:
            raise InputError("the potential reads moments", where=self.name, hint="say what is to become of them")

    @cached_property
    def bounds(self) -> MomentRanges | None:
        """Range of |m| by element, muB; None if the moments are not free."""
        free = self.moments in (Moments.RELAXED, Moments.RELAXED_ONCE)
        return moment_bounds(self.ensemble, self.frame, self.max_moment) if free else None

    @property
    def state(self) -> str:
        """Magnetic ordering of the structure."""
        return str(self.frame.ordering)

    @cached_property
    def formula(self) -> str:
        """Reduced: ``Fe``, ``AlFe3``."""
        return reduced_formula(self.frame)

    @cached_property
    def space_group(self) -> int:
        """Number of the space group of the atoms, their moments left aside."""
        return space_group(self.frame)

    def with_moments_at_rest(self, frames: Sequence[Frame], *, tolerance: float = TOLERANCE) -> list[Frame]:
        """`frames` as the potential is to be asked about them.

        Their moments are brought to rest at fixed atoms where that is wanted in every configuration; else the frames
        come back as they are.

        Parameters
        ----------
        tolerance
            Largest magnetic force left, eV/muB.

        Raises
        ------
        UnmeasurableError
            If the moments of one do not come to rest.
        """
        if self.moments is not Moments.RELAXED or self.bounds is None or not frames:
            return list(frames)
        relaxed = relax_moments_many(frames, self.ensemble, self.bounds, tolerance=tolerance)
        stuck = [i for i, r in enumerate(relaxed) if not r.converged]
        if stuck:
            raise UnmeasurableError(
                "moments do not come to rest", where=self.name, seen=f"{len(stuck)} of {len(frames)} configurations"
            )
        return [r.frame for r in relaxed]

    def at_rest(self, *held: Held, frame: Frame | None = None, pressure_gpa: float = 0.0, finer: float = 1.0) -> Frame:
        """The crystal, or `frame`, with atoms, cell and moments at rest; what is `held` stays as it is.

        Parameters
        ----------
        finer
            Divides the tolerances: what is differentiated numerically has to lie closer to its rest than the
            differences that are taken.

        Raises
        ------
        UnmeasurableError
            If something does not come to rest.
        """
        return self.all_at_rest(
            [self.frame if frame is None else frame], *held, pressure_gpa=pressure_gpa, finer=finer
        )[0]

    def all_at_rest(
        self, frames: Sequence[Frame], *held: Held, pressure_gpa: float = 0.0, finer: float = 1.0
    ) -> list[Frame]:
        """:meth:`at_rest` of some frames side by side."""
        found = self._relaxed(frames, *held, pressure_gpa=pressure_gpa, finer=finer)
        for one in found:
            if not one.converged:
                left = "; ".join(str(u) for u in one.unmet) or ", ".join(str(h) for h in one.health)
                raise UnmeasurableError("the structure does not come to rest", where=self.name, seen=left)
        return [one.frame for one in found]

    def those_at_rest(self, frames: Sequence[Frame], *held: Held) -> list[Frame]:
        """Those of `frames` that come to rest, there."""
        return [one.frame for one in self._relaxed(frames, *held) if one.converged]

    def _relaxed(
        self, frames: Sequence[Frame], *held: Held, pressure_gpa: float = 0.0, finer: float = 1.0
    ) -> list[Relaxation]:
        fixed = set(held) | (set() if self.bounds is not None else {Held.MOMENTS})
        usual = RelaxSettings(held=frozenset(fixed), pressure_gpa=pressure_gpa)
        settings = replace(
            usual,
            forces_tolerance=usual.forces_tolerance / finer,
            magnetic_forces_tolerance=usual.magnetic_forces_tolerance / finer,
            stress_tolerance_gpa=usual.stress_tolerance_gpa / finer,
        )
        return relax_many(frames, self.ensemble, self.bounds, settings)

    def outside(self, frames: Sequence[Frame]) -> BoolArray | None:
        """(n,) whether each of `frames` lies outside the training domain; None if the ensemble does not tell."""
        grades = grades_of(self.ensemble, frames) if frames else None
        if not frames or (grades is None and len(self.ensemble.members) < 2):
            return None
        return outside(self.ensemble.predict(frames), grades)


class UnmeasurableError(InputError):
    """A property has no answer on this potential: a result, not an accident."""
