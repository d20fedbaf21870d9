"""Settings of the SGP family."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from magflow.potentials.mmtp.settings import MmtpSettings


class SgpSettings(BaseModel):
    """All that decides a fit, but for the labels, the seed and where it starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mmtp: MmtpSettings = Field(
        default_factory=MmtpSettings,
        description="The mMTP whose fit gives the radial functions of the descriptors: mmtp.level, mmtp.cutoff and all "
        "that the family mmtp has.",
    )
    constant: float = Field(
        default=3.0,
        gt=0.0,
        description="Descriptors d, of length about one, are compared by (constant^2 + d.d')^2; the larger, the nearer "
        "to a linear function of d.",
    )
