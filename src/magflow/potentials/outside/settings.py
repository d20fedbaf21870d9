"""Settings that families with a program of their own have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator


class StartBias(StrEnum):
    """What happens to the energies of the atoms when a fit starts from another potential."""

    REFIT = "refit"
    KEEP = "keep"


Settings = TypeVar("Settings", bound=BaseModel)


def with_falling_rate(settings: Settings, rate: tuple[float, float]) -> Settings:
    """`settings`, if their first and last learning rate are what they can be.

    Raises
    ------
    ValueError
        If they are not positive, or rise.
    """
    if not 0.0 < rate[1] <= rate[0]:
        raise ValueError("learning_rate must be positive and not rise")
    return settings


class TuningWeights(BaseModel):
    """What one unit of mean absolute error weighs while a network is tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    energy: float = Field(default=500.0, ge=0.0, description="Energy per atom, 1/(eV/atom).")
    forces: float = Field(default=200.0, ge=0.0, description="Length of a force's error, 1/(eV/A).")
    stress: float = Field(default=50.0, ge=0.0, description="Stress, 1/(eV/A^3).")
    at_rest: float = Field(default=20.0, ge=0.0, description="Forces on the crystals, which are at rest, 1/(eV/A).")
    force_constants: float = Field(default=100.0, ge=0.0, description="Force constants, 1/(eV/A^2).")


class TuningSettings(BaseModel):
    """How a trained network goes on: turns, steps of AdamW, the moving average that is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turns: int = Field(default=400, ge=1, description="Turns: a step on force constants and those on labels.")
    crystals: int = Field(default=4, ge=1, description="Crystals in a step, each with one random column.")
    label_steps: int = Field(default=4, ge=0, description="Steps of a turn on labels, batch_frames of them in each.")
    learning_rate: tuple[float, float] = Field(
        default=(5e-3, 1e-6), description="First and last learning rate of AdamW; between them half a cosine."
    )
    weight_decay: float = Field(default=1e-3, ge=0.0, description="Of AdamW.")
    clip: float = Field(default=100.0, gt=0.0, description="Largest norm of a gradient; a larger one is scaled down.")
    average: float = Field(
        default=0.99,
        ge=0.0,
        lt=1.0,
        description="Decay of the moving average of the parameters, which is what is kept; smaller at first.",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        return with_falling_rate(self, self.learning_rate)


Tuned = TypeVar("Tuned", bound=TuningSettings)


def weighed(tuning: Tuned, weights: TuningWeights, force_constants: float, stress: float, forces: float) -> Tuned:
    """`tuning` with other `weights`: that of force constants, and factors of those of stresses and of all forces."""
    changed = {"force_constants": force_constants, "stress": stress * weights.stress}
    changed |= {
        name: forces * getattr(weights, name) for name in ("forces", "magnetic_forces") if hasattr(weights, name)
    }
    return tuning.model_copy(update={"weights": weights.model_copy(update=changed)})
