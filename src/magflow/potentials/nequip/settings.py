"""Settings of the families that nequip trains: what is fitted, and how."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.potentials.outside.settings import StartBias, TuningSettings, TuningWeights, with_falling_rate


class Architecture(StrEnum):
    """Kinds of networks."""

    NEQUIP = "nequip"
    ALLEGRO = "allegro"


class Precision(StrEnum):
    """Numbers of the network; positions and energies are always of double precision."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"


class NequipWeights(BaseModel):
    """Weights of squared errors in the loss; only their ratios count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    energy: float = Field(default=1.0, gt=0.0, description="Energy per atom, eV.")
    forces: float = Field(default=1.0, ge=0.0, description="Forces, eV/A.")
    stress: float = Field(
        default=0.0,
        ge=0.0,
        description="Stress times volume per atom, eV. Off: stresses at a fixed plane-wave cutoff hold a Pulay term "
        "that the energy has not, and one network gives both.",
    )
    magnetic_forces: float = Field(default=1.0, ge=0.0, description="Magnetic forces, eV/muB; only for nequip-spin.")


class FinetuningWeights(TuningWeights):
    """What one unit of mean absolute error weighs while force constants are learnt."""

    stress: float = Field(
        default=50.0,
        ge=0.0,
        description="Stress, 1/(eV/A^3); counts where weights.stress does, else the network knows none.",
    )
    magnetic_forces: float = Field(default=200.0, ge=0.0, description="Magnetic forces, 1/(eV/muB).")


class FinetuningSettings(TuningSettings):
    """How force constants are learnt: by turns of a step on one random column of each of some crystals, and of steps
    on labels, so that these are not forgotten. Weights and clipping are those of arXiv:2601.07742.
    """

    weights: FinetuningWeights = Field(default_factory=FinetuningWeights, description="Weights of the loss.")


class NequipSettings(BaseModel):
    """What the families share; each adds the sizes that its network alone has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: ClassVar[Architecture] = Architecture.NEQUIP
    name: ClassVar[str]
    magnetic: ClassVar[bool]
    needs_moments: ClassVar[bool]

    cutoff: float = Field(default=5.0, gt=1.0, le=12.0, description="Neighbour cutoff, A.")
    l_max: int = Field(default=1, ge=0, le=4, description="Largest rotation order of the features.")
    radial_functions: int = Field(default=8, ge=1, le=32, description="Bessel functions of the distance.")
    precision: Precision = Field(
        default=Precision.FLOAT64,
        description="Numbers of the network.",
    )
    epochs: int = Field(default=300, ge=1, description="Passes over all labels.")
    batch_frames: int = Field(default=4, ge=1, description="Frames in a batch.")
    learning_rate: tuple[float, float] = Field(
        default=(1e-2, 1e-5), description="First and last learning rate; between them half a cosine."
    )
    weights: NequipWeights = Field(default_factory=NequipWeights, description="Weights of the loss.")
    interval: int = Field(default=10, ge=1, description="Epochs between checkpoints.")
    patience: int = Field(
        default=100, ge=1, description="Validations, one each epoch, without a better one that end a fit."
    )
    finetuning: FinetuningSettings = Field(
        default_factory=FinetuningSettings, description="How a trained network learns force constants."
    )
    start_bias: StartBias = Field(
        default=StartBias.REFIT,
        description="Energies of the atoms when a fit starts from another potential. refit: shifted by least squares "
        "to the new labels, which may come from another level of theory. keep: as they are.",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        return with_falling_rate(self, self.learning_rate)
