"""The section of a campaign file that makes the campaign start from non-magnetic labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from magflow.campaign.base import Section
from magflow.core.terms import LabelKind

if TYPE_CHECKING:
    from magflow.core.protocols import LabelSource, PotentialFamily


class TransferSpec(Section):
    """Pre-training on non-magnetic labels, and the control beside it."""

    non_magnetic: int = Field(
        ge=2,
        description="Non-magnetic labels, drawn at random from the domain. Neither they nor the test labels count "
        "against a budget.",
    )
    test: int = Field(
        ge=1,
        description="Magnetic labels, drawn at random from the domain and never learnt from, that the ensembles are "
        "held against.",
    )
    replay: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Share of the non-magnetic labels learnt from again, at zero moments, with the magnetic ones; left "
        "out: all for constrained labels and a family that reads moments, none otherwise.",
    )

    def share(self, engine: LabelSource, family: PotentialFamily) -> float:
        """`replay`, or the default for an engine and a family."""
        if self.replay is not None:
            return self.replay
        return 1.0 if family.magnetic and engine.kind == LabelKind.CONSTRAINED else 0.0
