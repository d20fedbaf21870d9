"""What the members of an ensemble know of their own limits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.limits import grades_of, moment_bounds, shortest_known

FRAME = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]], [2.2, 0.0])


@dataclass
class Silent:
    """A potential that tells nothing of itself."""

    species: tuple[str, ...] = ("Al", "Fe")


@dataclass
class Telling(Silent):
    r_min: float = 0.0
    max_moment: dict[str, float] = field(default_factory=dict)

    def descriptors(self, frames):
        return np.zeros((len(frames), 1))

    def grades(self, frames):
        return np.full(len(frames), self.r_min)


def ensemble(*members) -> PotentialEnsemble:
    return PotentialEnsemble(members, "toy")


def test_a_moment_that_all_members_know():
    some = ensemble(Telling(max_moment={"Fe": 3.0, "Al": 0.2}), Telling(max_moment={"Fe": 2.5}))
    assert moment_bounds(some, FRAME, {}) == {"Al": (0.0, 0.2), "Fe": (0.0, 2.5)}
    assert moment_bounds(some, FRAME, {"Fe": 4.0, "Ni": 1.0}) == {"Al": (0.0, 0.2), "Fe": (0.0, 4.0)}


def test_a_moment_that_nobody_knows_is_not_guessed():
    with pytest.raises(InputError, match=r"how large a moment.*Al.*--max-moment"):
        moment_bounds(ensemble(Silent()), FRAME, {"Fe": 3.0})


def test_the_shortest_distance_is_the_one_all_members_know():
    assert shortest_known(ensemble(Telling(r_min=1.9), Telling(r_min=2.1), Silent())) == 2.1
    assert shortest_known(ensemble(Silent())) == 0.0


def test_grades_of_a_family_that_has_none():
    assert grades_of(ensemble(Silent()), [FRAME]) is None
    assert grades_of(ensemble(Telling(r_min=1.0), Telling(r_min=2.0)), [FRAME]).tolist() == [1.5]
