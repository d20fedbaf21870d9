"""The section `phonons` of a campaign file: force constants that the finished potential learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from magflow.campaign.base import Section
from magflow.core.label import LabelKind
from magflow.core.protocols import LabelSource, LearnsForceConstants, PotentialFamily
from magflow.errors import InputError
from magflow.potentials.members import learns_force_constants
from magflow.properties.displaced import FURTHEST

Repeats = tuple[
    Annotated[int, Field(ge=1, le=20)], Annotated[int, Field(ge=1, le=20)], Annotated[int, Field(ge=1, le=20)]
]


class PhononsSpec(Section):
    """Crystals at rest that are labelled with an atom displaced, and what their force constants weigh in the fits."""

    supercells: tuple[Repeats, ...] = Field(
        min_length=1,
        description="Repeats of the cell, [[2, 2, 2]]. The waves that fit in are learnt: one that holds all that "
        "count, or several small ones. Each is a crystal of its own.",
    )
    structures: tuple[str, ...] = Field((), description="Prototypes to label; left out: one of each crystal.")
    cell: Literal["relaxed", "kept"] = Field(
        "relaxed",
        description="relaxed: atoms and cell come to rest on the campaign's potential. kept: they are those of the "
        "prototype, at rest at this level of theory. Moments come to rest either way.",
    )
    displacement: float = Field(0.01, gt=0, lt=FURTHEST, description="Of the one atom, A.")
    weight: float | None = Field(
        None,
        gt=0,
        description="Of a component of a force constant, 1/(eV/A^2), beside the weights of train.settings; the first "
        "that is tried. Left out: that of train.settings.",
    )
    stress: float = Field(
        2.0,
        ge=1,
        description="Factor on the weight of the stress meanwhile: stress is what force constants make a potential "
        "forget.",
    )
    forces: float = Field(
        2.0,
        ge=1,
        description="Factor on the weights of forces and magnetic forces meanwhile, for the same reason; energies have "
        "to spare.",
    )
    forgetting: float = Field(
        0.02,
        ge=0,
        description="Most that an error on labels not learnt from may grow by, as a share: the test labels of a "
        "transfer, else those that the bag of each member left out, else those learnt from. Where it grows more, "
        "force constants weigh a fourth, and so on; after four weights the potential stays as it was.",
    )
    core_hours: float | None = Field(
        None, gt=0, description="What the loop leaves of stop.core_hours for these labels; required with that."
    )

    def family(self, family: PotentialFamily) -> LearnsForceConstants:
        """`family` with the weights of the stage.

        Raises
        ------
        InputError
            If it learns from no force constants.
        """
        able = family
        if isinstance(family, LearnsForceConstants):
            weight = family.force_constant_weight if self.weight is None else self.weight
            able = family.weighing(weight, self.stress, self.forces)
        return learns_force_constants(able)

    @staticmethod
    def check_moments(engine: LabelSource, family: PotentialFamily) -> None:
        """Whether force constants from the labels of an engine are of moments that are clamped, or not read.

        Raises
        ------
        InputError
            If they follow the atoms.
        """
        if family.magnetic and engine.kind == LabelKind.SPIN_POLARISED:
            raise InputError(
                "the moments of spin-polarised labels follow the atoms, those of the potential are clamped",
                where="phonons",
                seen=f"label.settings.kind: {engine.kind}",
                expected="constrained labels, or a train.family that reads no moments",
            )
