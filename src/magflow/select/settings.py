"""Settings of the selection: the ``select`` section of a campaign file."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.prediction import QUANTITIES

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]

UNITS = {"energy": "eV/atom", "forces": "eV/A", "stress": "eV/A^3", "magnetic_forces": "eV/muB"}
"""Unit of targets, trust levels and frame deviations."""


class Strategy(StrEnum):
    """How frames are chosen among those that pass the sanity filters and are no duplicates."""

    ACTIVE = "active"
    """What teaches most about the domain; by deviation where the family cannot tell."""
    DEVIATION = "deviation"
    """Where the members disagree most, diversely."""
    RANDOM = "random"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Level(_Model):
    """Trust levels of one quantity, in its house unit."""

    low: Positive = Field(description="deviation at or below which a frame counts as accurate")
    high: Positive = Field(description="deviation above which a frame counts as failed")

    @model_validator(mode="after")
    def _ordered(self) -> Level:
        if self.high <= self.low:
            raise ValueError(f"high ({self.high}) must lie above low ({self.low})")
        return self


class TrustLevels(_Model):
    """Explicit trust levels of the calibrated frame deviation; a quantity left out is not looked at."""

    energy: Level | None = Field(None, description="per-atom energy, eV/atom")
    forces: Level | None = Field(None, description="largest force deviation in the frame, eV/A")
    stress: Level | None = Field(None, description="largest stress component, eV/A^3")
    magnetic_forces: Level | None = Field(None, description="largest magnetic-force deviation in the frame, eV/muB")

    @model_validator(mode="after")
    def _some(self) -> TrustLevels:
        if all(getattr(self, q) is None for q in QUANTITIES):
            raise ValueError("give low and high for at least one of " + ", ".join(QUANTITIES))
        return self


class AutoTrust(_Model):
    """Trust levels as multiples of the targets, on calibrated deviations."""

    low: Positive = Field(1.0, description="accurate at or below this multiple of the target")
    high: Positive = Field(30.0, description="failed above this multiple of the target")

    @model_validator(mode="after")
    def _ordered(self) -> AutoTrust:
        if self.high <= self.low:
            raise ValueError(f"high ({self.high}) must lie above low ({self.low})")
        return self


class Tolerance(_Model):
    """Two frames that agree this closely, up to symmetry and time reversal, are one frame."""

    distance: Positive = Field(1e-3, description="largest displacement of an atom or lattice vector, A")
    moment: Positive = Field(1e-3, description="largest change of a moment, muB")


class SanitySettings(_Model):
    """Limits outside which a frame is not worth a calculation."""

    min_distance: NotNegative = Field(1.5, description="shortest distance between any two atoms, A; 0 switches it off")
    min_distance_pairs: dict[str, Positive] = Field(
        default_factory=dict,
        description="shortest distance per pair such as Al-Fe, A; overrides the global",
    )
    volume_per_atom: tuple[Positive, Positive] | None = Field(None, description="allowed range, A^3/atom")
    max_moment: dict[str, Positive] = Field(
        default_factory=dict, description="largest |moment| per element, muB; an element left out is not limited"
    )
    max_force: Positive | None = Field(None, description="largest predicted force on an atom, eV/A")

    @model_validator(mode="after")
    def _valid(self) -> SanitySettings:
        if self.volume_per_atom is not None and self.volume_per_atom[1] <= self.volume_per_atom[0]:
            raise ValueError(f"volume_per_atom: {self.volume_per_atom} is not (smallest, largest)")
        for pair in self.min_distance_pairs:
            if len(pair.split("-")) != 2:
                raise ValueError(f"min_distance_pairs: {pair!r} is not a pair of elements such as Al-Fe")
        return self


class DiversitySettings(_Model):
    """Farthest-point sampling of the batch.

    Defaults from the spin-lattice model Hamiltonian (2-atom Fe-Al cells, 40 to 100 labels, five seeds): at 80 labels
    different frames among the most uncertain (shortlist 2 to 6) beat a random batch clearly and the other mixes by
    about the scatter of the seeds. A first batch of farthest points made a worse ensemble at 40 labels, a better one at
    60 and no difference later.
    """

    enabled: bool = Field(True, description="pick by distance in descriptor space; off: by score alone")
    fraction: Fraction = Field(
        0.0,
        description="share of the batch picked for space filling; the rest comes from the top scores",
    )
    initial_fraction: Fraction = Field(
        0.0,
        description="share of the first batch picked for space filling; the rest is drawn at random",
    )
    shortlist: int = Field(
        4, ge=1, description="the uncertain share is picked from this many times its number of top-scoring frames"
    )
    max_frames: int = Field(2000, ge=10, description="most candidates of one stratum that the sampling looks at")


class QuotaSettings(_Model):
    """How a batch is shared over strata (composition x magnetic ordering)."""

    enabled: bool = Field(True, description="off: one stratum")
    minimum_share: Fraction = Field(0.05, description="share of the batch every stratum gets, while it has candidates")
    shares: dict[str, NotNegative] = Field(
        default_factory=dict,
        description="weight per stratum such as 'Al1Fe1 FM'; one left out weighs as much per candidate as these do",
    )


class SelectSettings(_Model):
    """Which frames to label, and how many."""

    strategy: Strategy = Field(
        Strategy.ACTIVE,
        description="active: what lowers the expected error over the domain most per core-second, or, of a family that "
        "cannot tell that, what is most uncertain and different, as `deviation` does; random for control experiments",
    )
    batch: int = Field(20, ge=1, description="frames labelled per iteration")
    initial: int = Field(40, ge=1, description="frames of the first iteration, before there is an ensemble")
    random_share: Fraction = Field(
        0.25,
        description="share of a batch that is drawn from the domain at random: what the error "
        "over the domain is known by, whether frames are accurate or not",
    )
    trust: Literal["auto"] | TrustLevels = Field(
        "auto", description="auto: multiples of the targets (auto_trust); or low and high per quantity"
    )
    auto_trust: AutoTrust = Field(AutoTrust(), description="multiples of the targets used by trust: auto")
    failed_needs_accurate: Fraction = Field(
        0.5, description="frames above the high level are failed only once this share of the pool is accurate"
    )
    grade_save: Positive = Field(2.0, description="extrapolation grade above which a frame is a candidate")
    grade_break: Positive = Field(10.0, description="extrapolation grade above which a frame is failed")
    diversity: DiversitySettings = Field(DiversitySettings(), description="farthest-point sampling")
    quotas: QuotaSettings = Field(QuotaSettings(), description="shares over composition x magnetic ordering")
    sanity: SanitySettings = Field(SanitySettings(), description="limits outside which a frame is left out")
    duplicates: Tolerance = Field(Tolerance(), description="when two frames are one")
    stratum_weights: dict[str, NotNegative] = Field(
        default_factory=dict,
        description="how much the squared error of a stratum such as 'Fe2 AFM' counts, where a batch is to lower that "
        "of the domain; one left out: 1",
    )
    fill: bool = Field(
        False,
        description="accurate frames may be chosen, too: whenever they teach more, or, by deviation, the most diverse "
        "ones where a batch lacks candidates",
    )

    @model_validator(mode="after")
    def _grades(self) -> SelectSettings:
        if not math.isfinite(self.grade_break) or self.grade_break <= self.grade_save:
            raise ValueError(f"grade_break ({self.grade_break}) must lie above grade_save ({self.grade_save})")
        return self
