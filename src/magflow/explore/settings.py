"""Settings of the exploration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from magflow.explore.domain import DomainSettings
from magflow.explore.md import MdSettings


class ExploreSettings(BaseModel):
    """Where the candidates of an iteration come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidates: int = Field(default=2000, ge=1, le=10_000_000, description="frames of the domain offered per iteration")
    domain: DomainSettings = Field(default_factory=DomainSettings)
    md: MdSettings | None = Field(default=None, description="MD on the ensemble; none: only the domain is sampled")
