"""The engine's input files as a pymatgen input set: what the engine runs, and what atomate2's VASP Makers take."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pymatgen.core import Structure
from pymatgen.io.vasp import Incar, Kpoints, VaspInput
from pymatgen.io.vasp.sets import VaspInputSet

from magflow.dft.kpoints import kpoint_mesh
from magflow.dft.vasp.incar import incar_tags
from magflow.dft.vasp.potcars import sphere_radii
from magflow.dft.vasp.settings import VaspSettings
from magflow.errors import InputError
from magflow.io.structure import from_structure, right_handed

_LINE = 200
"""Characters; VASP 5 drops what stands beyond column 255 of INCAR."""


class LongLineIncar(Incar):
    r"""An INCAR whose long lines go on behind a ``\``: 12 vectors of M_CONSTR are longer than VASP 5 reads."""

    def get_str(self, sort_keys: bool = False, pretty: bool = False) -> str:
        """See :meth:`pymatgen.io.vasp.Incar.get_str`."""
        lines = super().get_str(sort_keys, pretty).splitlines()
        folded = [textwrap.wrap(line, _LINE, break_long_words=False, break_on_hyphens=False) or [""] for line in lines]
        return "\n".join(" \\\n".join(parts) for parts in folded) + "\n"


@dataclass
class MagneticSetGenerator(VaspInputSet):
    """Input sets for non-magnetic, free spin-polarised and constrained calculations.

    Moments are the site property ``magmom``, free atoms the site property ``constrained`` (False). Sites come out in
    pymatgen's order of electronegativity; every tag is written for that order. Give it to an atomate2 Maker,
    ``StaticMaker(input_set_generator=MagneticSetGenerator(settings={"version": "6.4.2"}))``, or take the files
    from :meth:`get_input_set`; ``potcar_spec=True`` needs no POTCAR if `settings` has ``rwigs_a``.

    Parameters
    ----------
    settings
        Of :class:`magflow.dft.vasp.settings.VaspSettings`; plain values, so that a job can carry them.
    strength
        LAMBDA of a penalty; None: the last of the ladder.
    restart, keep
        See :func:`magflow.dft.vasp.incar.incar_tags`.
    """

    validate_magmom: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    strength: float | None = None
    restart: bool = False
    keep: bool = False

    def __post_init__(self) -> None:
        try:
            self._vasp = VaspSettings(**self.settings)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(
                first["msg"], where=".".join(map(str, first["loc"])), seen=first.get("input"), hint="see VaspSettings"
            ) from error
        self.config_dict = {"INCAR": {}, "POTCAR": {}, "POTCAR_FUNCTIONAL": self._vasp.potcar_functional}
        super().__post_init__()

    def get_input_set(
        self, structure: Structure | None = None, prev_dir: Any = None, potcar_spec: bool = False
    ) -> VaspInput:
        """The input files of `structure`.

        Raises
        ------
        InputError
            If its moments are not what the kind of label needs.
        MissingToolError
            If a POTCAR is absent.
        """
        structure = None if structure is None else right_handed(structure)
        files = super().get_input_set(structure, prev_dir=prev_dir, potcar_spec=potcar_spec)
        files["INCAR"] = LongLineIncar(dict(files["INCAR"]))  # VaspInput makes a plain Incar of any
        return files

    @property
    def incar_updates(self) -> dict[str, Any]:
        """All tags; the configuration this set starts from is empty."""
        frame = from_structure(self._ordered())
        radii = sphere_radii(self._vasp, frame.species) if self._vasp.constrained else {}
        strength = self._vasp.strengths[-1] if self.strength is None else self.strength
        return incar_tags(self._vasp, frame, radii, strength, restart=self.restart, keep=self.keep)

    @property
    def kpoints(self) -> Kpoints:
        """A Gamma-centred mesh."""
        return Kpoints.gamma_automatic(kpoint_mesh(self._ordered().lattice.matrix, self._vasp.kpoints))

    @property
    def potcar_symbols(self) -> list[str]:
        """One per species, in the order of the POSCAR."""
        return [self._vasp.potcar_symbol(element) for element in self.poscar.site_symbols]

    def _ordered(self) -> Structure:
        if self.structure is None:
            raise InputError("no structure is associated with the input set")
        return self.structure
