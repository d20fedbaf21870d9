"""Which of two questions a transfer answers, and whether its labels let it be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from magflow.core.label import LabeledFrame
from magflow.core.protocols import PotentialFamily
from magflow.core.versions import known_fields
from magflow.io.importing.magnetic_states import FEWEST, MagneticStates, magnetic_states


class Question(StrEnum):
    """What is asked of non-magnetic labels."""

    MOMENTS_READ = "moments read"
    """What they save a potential that reads moments."""
    MOMENTS_FREE = "moments not read"
    """What they save a potential that reads none, on labels whose moments are what they came to be."""


MEANING = {
    Question.MOMENTS_READ: "what non-magnetic labels save a potential that reads moments. They can teach the part of "
    "it that is left without moments: the ceiling says how much that saves at most. Of magnetic forces they say "
    "nothing by themselves, and no saving is claimed there.",
    Question.MOMENTS_FREE: "what non-magnetic labels save a potential that reads no moments. All that it learns is "
    "shared between the non-magnetic energy surface and that of the magnetic labels, as far as the two are alike, and "
    "as long as the magnetic labels lie on one surface.",
}


def question_of(family: PotentialFamily) -> Question:
    """The question that a family is asked."""
    return Question.MOMENTS_READ if family.magnetic else Question.MOMENTS_FREE


def states_of(family: PotentialFamily, magnetic: Sequence[LabeledFrame]) -> dict[str, Any] | None:
    """Whether geometry decides the energies of the magnetic labels, JSON-ready.

    None where labels are too few to tell, or the family reads the moments.
    """
    found = None if family.magnetic else magnetic_states(magnetic)
    return None if found is None else found.as_dict()


def remarks(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The question that was asked and, of a family that reads no moments, what its labels are; by what it is about.

    Empty for results that do not say.
    """
    if "question" not in about:
        return []
    question = Question(about["question"])
    out = [("question", MEANING[question])]
    if question is Question.MOMENTS_FREE:
        out.append(_branches(about.get("magnetic_states")))
    return out


def _branches(states: Mapping[str, Any] | None) -> tuple[str, str]:
    if states is None:
        return "magnetic labels", f"fewer than {FEWEST}: too few to tell whether they lie on one magnetic branch"
    found = MagneticStates(**known_fields(MagneticStates, states))
    if not found.mixed:
        return "magnetic labels", found.meaning
    return (
        "warning",
        f"the magnetic labels do not lie on one surface; {found.meaning}. Label again from one magnetic start, or with "
        "constrained moments and a family that reads them.",
    )
