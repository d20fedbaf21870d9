"""The engine's input files as a pymatgen input set, for workflows built on pymatgen or atomate2."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pymatgen.core import Structure
from pymatgen.io.core import InputFile, InputGenerator, InputSet

from magflow.dft.abinit.datasets import datasets_of, unpacked
from magflow.dft.abinit.inputs import input_text
from magflow.dft.abinit.settings import AbinitSettings
from magflow.errors import InputError
from magflow.io.structure import from_structure
from magflow.settings import load_settings


@dataclass
class CdftSetGenerator(InputGenerator):
    """Input sets for constrained collinear DFT.

    The set holds ``run.abi`` and the PAW datasets beside it, and needs no abipy: start it with
    ``abinit run.abi``. (atomate2's own ABINIT Makers take abipy's input sets and none else; to label with
    magflow inside a jobflow Flow, use :class:`magflow.makers.label.LabelMaker`.)

    Parameters
    ----------
    settings
        Of :class:`~magflow.dft.abinit.settings.AbinitSettings`; plain values, so that a job can carry them.
    """

    settings: dict[str, Any] = field(default_factory=dict)

    def get_input_set(self, structure: Structure) -> InputSet:
        """The input set of `structure`; targets are its site property ``magmom`` (muB).

        Raises
        ------
        InputError
            If a setting or the structure's moments are not acceptable.
        MissingToolError
            If a PAW dataset is absent.
        """
        try:
            settings = AbinitSettings(**self.settings)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(
                first["msg"], where=".".join(map(str, first["loc"])), seen=first.get("input"), hint="see AbinitSettings"
            ) from error
        frame = from_structure(structure)
        if frame.magmoms is None and settings.polarised:
            raise InputError(
                f"a {settings.kind} calculation needs moments",
                where="structure",
                seen="no site property magmom",
                expected="one number per site, muB",
            )
        installation = load_settings()
        datasets = datasets_of(settings, frame.species, installation)
        cache = installation.cache_dir.expanduser()
        files: dict[str | Path, str | InputFile] = {
            f"{e}.xml": unpacked(d, cache).read_text(encoding="utf-8") for e, d in datasets.items()
        }
        changes = {"nstep": settings.nstep, "magcon_lambda": settings.magcon_lambda}
        text = input_text(settings, frame, datasets, changes)
        return InputSet({"run.abi": text, **files})
