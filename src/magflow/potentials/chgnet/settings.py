"""Settings of the family ``chgnet``: which network, and how it goes on."""

from __future__ import annotations

from enum import StrEnum

from ase.data import atomic_numbers, chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, field_validator

from magflow.potentials.outside.settings import StartBias, TuningSettings, TuningWeights

LAST_ELEMENT = 94
"""Atomic number of plutonium, the last element that CHGNet has numbers of."""
KNOWN = tuple(chemical_symbols[1 : LAST_ELEMENT + 1])
"""Elements that CHGNet has numbers of."""

ROUGHNESS = 0.03
"""A. The energy of an angle of 180 degrees is a cusp that chgnet rounds off within 0.0014 rad (its cosines are scaled
by 1 - 1e-6): a Hessian at a perfect crystal is that of the rounding. Forces over displacements of this size and more
are those that phonons are made of."""


def known(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """`symbols`, if CHGNet has numbers of all of them.

    Raises
    ------
    ValueError
        Naming those it has none of.
    """
    if strange := sorted(s for s in set(symbols) if not 0 < atomic_numbers.get(s, 0) <= LAST_ELEMENT):
        raise ValueError(f"CHGNet knows the elements H to Pu, not {', '.join(strange)}")
    return symbols


class Pretrained(StrEnum):
    """Weights in the wheel of chgnet."""

    MPTRJ = "0.3.0"
    MPTRJ_OLD = "0.2.0"
    R2SCAN = "r2scan"


class Precision(StrEnum):
    """Numbers of the network, and of positions in it."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"


class ChgnetTuning(TuningSettings):
    """How the network goes on: by turns of a step on one random column of the Hessian of each of some crystals, if
    there are force constants, and of steps on labels. Weights and clipping are those of arXiv:2601.07742.
    """

    turns: int = Field(default=100, ge=0, description="Turns; none leaves the network as it was published.")
    learning_rate: tuple[float, float] = Field(
        default=(1e-3, 1e-6), description="First and last learning rate of AdamW; between them half a cosine."
    )
    average: float = Field(
        default=0.95,
        ge=0.0,
        lt=1.0,
        description="Decay of the moving average of the parameters, which is what is kept; smaller at first.",
    )
    displacement: float = Field(
        default=ROUGHNESS,
        gt=0.0,
        lt=0.2,
        description="Displacement to either side over which a column is learnt, A; within the rounded cusps of angles "
        "of 180 degrees it is no force constant.",
    )
    learn_elements: bool = Field(
        default=True,
        description="Learn the numbers of each element, too. Off, all that is learnt is shared by all elements.",
    )
    weights: TuningWeights = Field(default_factory=TuningWeights, description="Weights of the loss.")


class ChgnetSettings(BaseModel):
    """What a fit needs to know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pretrained: Pretrained = Field(
        default=Pretrained.MPTRJ,
        description="Weights a fit without a start goes on from, by chgnet's names: 0.3.0 and 0.2.0 know PBE(+U) "
        "calculations of the Materials Project, r2scan those with r2SCAN.",
    )
    elements: tuple[str, ...] = Field(
        default=(),
        description="Elements beside those of the labels that the potential may be asked for: the network knows H to "
        "Pu, and says of them what it said before, as far as the fit has not changed it.",
    )
    precision: Precision = Field(default=Precision.FLOAT64, description="Numbers of the network; float32 is faster.")
    batch_frames: int = Field(default=4, ge=1, description="Labels in a step.")
    start_bias: StartBias = Field(
        default=StartBias.REFIT,
        description="Energies of the atoms when a fit begins. refit: shifted by least squares to the labels, which may "
        "come from another level of theory. keep: as they are; a fit on force constants keeps them always.",
    )
    finetuning: ChgnetTuning = Field(default_factory=ChgnetTuning, description="How the network goes on.")

    @field_validator("elements")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known(value)
