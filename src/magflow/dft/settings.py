"""What every DFT code is told, whichever it is; the settings of one code add its own."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from magflow.core.label import LabelKind


class CodeSettings(BaseModel):
    """Settings that the skeleton of an engine reads (:mod:`magflow.dft.base`); nothing that runs.

    Equal settings have equal hashes, mappings among them included, so that an engine can be the key of a cache.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: LabelKind = Field(LabelKind.CONSTRAINED, description="constrained, spin-polarised or non-magnetic.")
    functional: str = Field("PBE", description="Exchange-correlation functional.")
    moment_tolerance_mub: PositiveFloat = Field(
        1e-3, description="A label whose moment misses its target by more (muB) has failed."
    )
    overlap_limit: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.1, description="Largest share of a constraint sphere's volume that another may cover."
    )
    time_limit_s: PositiveFloat | None = Field(3600.0, description="Wall seconds for one label, all runs together.")
    cores: PositiveInt = Field(1, description="MPI ranks of one label.")
    command: str | None = Field(None, min_length=1, description="The executable; None: that of ~/.magflow.yaml.")
    keep_files: bool = Field(False, description="Keep every file of a run instead of input and main output only.")

    @property
    def constrained(self) -> bool:
        """Whether moments are held."""
        return self.kind == LabelKind.CONSTRAINED

    @property
    def polarised(self) -> bool:
        """Whether there are moments at all."""
        return self.kind != LabelKind.NON_MAGNETIC

    def __hash__(self) -> int:
        return hash((type(self), json.dumps(self.model_dump(mode="json"), sort_keys=True)))
