"""What of a campaign file its status is about: a few sections, read without the plug-ins that the others name."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from magflow.campaign.limits import ExecutionSpec, StopSpec
from magflow.campaign.source import Source
from magflow.campaign.transfer import TransferSpec


class PhononsOutline(BaseModel):
    """What of the section `phonons` the loop leaves to it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    core_hours: float | None = None


class CampaignOutline(BaseModel):
    """The sections of :class:`~magflow.campaign.schema.CampaignSpec` that say what is to be done; others are ignored.

    `labels` only tells whether the section is there: who needs more of it reads the whole file.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    stop: StopSpec
    execution: ExecutionSpec = ExecutionSpec()
    transfer: TransferSpec | None = None
    labels: list[Any] = []
    phonons: PhononsOutline | None = None

    @classmethod
    def of(cls, source: Source) -> CampaignOutline:
        """The outline of a file.

        Raises
        ------
        ValidationError
            If one of these sections is not right; who reads the whole file says so with its line.
        """
        return cls.model_validate_json(json.dumps(source.data), strict=True)
