"""What moments do while atoms are displaced, and the second derivatives it takes when they follow by algebra."""

from __future__ import annotations

import numpy as np

from magflow.core.frame import Frame
from magflow.core.hessian import STEP, Hessian, hessian, hessian_by_differences
from magflow.core.types import BoolArray
from magflow.explore.relaxation.settings import TOLERANCE
from magflow.properties.subject import Subject, UnmeasurableError

ROUGH = 0.01
"""Share of its largest entry that halving the step of a numerical Hessian may change."""


def hessians(subject: Subject, perfect: Frame) -> tuple[list[Hessian], tuple[str, ...]]:
    """Of the energy of each member, and how they were found where the family does not give them.

    Raises
    ------
    UnmeasurableError
        If numerical ones depend on their step.
    """
    ensemble = subject.ensemble
    if ensemble.gives_hessian:
        return [hessian(m, perfect) for m in ensemble.twice_differentiable()], ()
    found = [hessian_by_differences(m.predict, perfect) for m in ensemble.members]
    worst = max(change for _, change in found)
    if worst > ROUGH:
        raise UnmeasurableError(
            "second derivatives depend on the step they are taken with",
            where=subject.name,
            seen=f"half of it changes an entry by {worst:.2g} of the largest",
        )
    how = f"E_rr, E_rm, E_mm by central differences, {STEP:g} A or muB and half of it, extrapolated; half the step"
    return [one for one, _ in found], (f"{how} changes them by {worst:.1g} of the largest before that",)


def movable(subject: Subject, frame: Frame) -> BoolArray:
    """(N,) whether an atom may carry a moment."""
    bounds = subject.bounds or {}
    return np.array([bounds.get(element, (0.0, 1.0))[1] > 0.0 for element in frame.species])


def check_free(subject: Subject, frame: Frame) -> None:
    """Whether nothing but the energy holds the moments.

    Raises
    ------
    UnmeasurableError
        If a moment lies at the bound of its range, where it cannot follow.
    """
    left = subject.ensemble.predict([frame]).mean.magnetic_forces
    moving = movable(subject, frame)
    worst = 0.0 if left is None else float(np.abs(left[moving]).max(initial=0.0))
    if worst > TOLERANCE:
        raise UnmeasurableError(
            "a moment is held by the bound of its range", where=subject.name, seen=f"{worst:.2g} eV/muB left"
        )
