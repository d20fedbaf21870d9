"""Settings of the difference family."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core import plugins
from magflow.core.protocols import PotentialFamily


class DifferenceSettings(BaseModel):
    """What is fitted to the difference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = Field(
        default="mmtp", description="Family of the potential that is fitted to what the one it starts from leaves."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Its settings; a difference is smaller than the whole: so may its level be."
    )

    @property
    def correction(self) -> PotentialFamily:
        """The family of the part that is fitted."""
        family: PotentialFamily = plugins.load(plugins.POTENTIAL_FAMILIES, self.family)(**self.settings)
        return family

    @model_validator(mode="after")
    def _fitted_by_another(self) -> Self:
        if self.family == "difference":
            raise ValueError("family must be another one than difference")
        _ = self.correction
        return self
