"""What the members of an ensemble know of the limits of their own knowledge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from magflow.core.frame import Frame
from magflow.core.protocols import KnowsDistances, has_grades
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble


def moment_bounds(
    ensemble: PotentialEnsemble, frame: Frame, asked: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Range of |m| of each element of the frame, muB: what is asked for, else what all members know.

    Raises
    ------
    InputError
        If neither says it of an element.
    """
    bounds = ensemble.max_moment | dict(asked)
    missing = sorted(set(frame.species) - set(bounds))
    if missing:
        raise InputError(
            "the model does not say how large a moment it knows",
            seen=", ".join(missing),
            hint="give --max-moment EL=MUB for each of them",
        )
    return {element: (0.0, bounds[element]) for element in sorted(set(frame.species))}


def shortest_known(ensemble: PotentialEnsemble) -> float:
    """Shortest distance all members were fitted on, A; 0 if they do not say."""
    return max((member.r_min for member in ensemble.members if isinstance(member, KnowsDistances)), default=0.0)


def grades_of(ensemble: PotentialEnsemble, frames: Sequence[Frame]) -> FloatArray | None:
    """(n,) extrapolation grades; None if the family has none."""
    return ensemble.grades(frames) if has_grades(ensemble) else None
