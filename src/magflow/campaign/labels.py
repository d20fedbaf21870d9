"""The section of a campaign file that names labels others have computed, to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from magflow.campaign.base import Section
from magflow.io.importing.content import content_digest
from magflow.makers.imports import LabelFile


class LabelsSpec(Section):
    """Labels in a file or a folder, and what is to be said about it."""

    path: Path = Field(description="File or folder, of any format that `magflow import` reads.")
    mixed: bool = Field(
        False,
        description="The labels are of another level of theory than the campaign's, and are to be started from all the "
        "same: an ensemble fitted to them alone chooses the first batch, and every fit starts from it.",
    )
    level_of_theory: str | None = Field(
        None,
        min_length=1,
        description="Level of theory of labels whose file names none. own: exactly the engine, the settings and the "
        "datasets of this campaign; anything else is a name.",
    )
    keys: tuple[str, ...] = Field(
        (),
        description="Names in the file that stand for quantities: energy=REF_energy, as `--keys` of magflow import.",
    )
    virial_sign: Literal[-1, 1] | None = Field(
        None, description="What `virial` in the file means: -1: -stress x volume; 1: +stress x volume."
    )
    elements: tuple[str, ...] = Field((), description="Elements of types 0, 1, .. where the file numbers them.")
    en_der_sign: Literal[-1, 1] | None = Field(
        None, description="What en_der_m* of a .cfg means: 1: dE/dm; -1: -dE/dm."
    )

    def file(self) -> LabelFile:
        """What a job needs to know.

        Raises
        ------
        InputError
            If there is no such file or folder.
        """
        path = self.path.absolute()
        return LabelFile(
            path=str(path),
            digest=content_digest(path),
            keys=list(self.keys),
            virial_sign=self.virial_sign,
            elements=list(self.elements),
            en_der_sign=self.en_der_sign,
            level=self.level_of_theory,
        )

    def identity(self) -> dict[str, Any]:
        """What of it decides the science: the content in place of the path, and all that is said about it."""
        return {**self.model_dump(mode="json", exclude={"path"}), "content": content_digest(self.path)}
