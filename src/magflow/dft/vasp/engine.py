"""The VASP label engine: its level of theory, what it needs, and the calculation of one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shutil import which
from typing import Any, ClassVar

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.protocols import Doubt, Probe
from magflow.dft.base import CodeEngine
from magflow.dft.frames import held_atoms
from magflow.dft.kpoints import kpoint_parameters
from magflow.dft.vasp import probing
from magflow.dft.vasp.calculation import VaspCalculation
from magflow.dft.vasp.potcars import find_potcars, sphere_radii
from magflow.dft.vasp.program import COMMAND_HINT, executable
from magflow.dft.vasp.settings import Penalty, VaspSettings, constraint_parameters
from magflow.errors import MissingToolError
from magflow.settings import MagflowSettings

_ZERO = 1e-8
"""muB; VASP takes a target of zero for no target."""


class VaspEngine(VaspSettings, CodeEngine):
    """Labels from VASP.

    ``constrained`` labels hold the moments of the weighted spheres (MW_int), by a penalty or, in VASP with the
    DeltaSpin patch, by Lagrange multipliers, without spin-orbit coupling. ``spin-polarised`` labels start from the
    frame's moments and let them relax. ``non-magnetic`` labels ignore them. All three use the same settings.
    """

    name: ClassVar[str] = "vasp"
    dataset_noun: ClassVar[str] = "POTCAR"

    def code_version(self, installation: MagflowSettings) -> str:
        """See :class:`magflow.dft.base.CodeEngine`; VASP states it in its output alone, so that it is a setting."""
        program = executable(self, installation, vectors=self.constrained)
        if which(program.split()[0]) is None:
            raise MissingToolError("VASP is not installed", seen=program, hint=COMMAND_HINT)
        return self.version

    def checksums(self, elements: Sequence[str], installation: MagflowSettings) -> dict[str, str]:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return {element: potcar.md5 for element, potcar in find_potcars(self, elements).items()}

    def parameters(self, elements: Sequence[str]) -> dict[str, Any]:
        """See :class:`magflow.dft.base.CodeEngine`; `nelm`, `incar_running` and the like stay out."""
        parameters: dict[str, Any] = {
            "potcars": {e: f"{self.potcar_functional}/{self.potcar_symbol(e)}" for e in elements},
            "encut_ev": self.encut_ev,
            **kpoint_parameters(self.kpoints),
            "smearing": self.smearing,
            "sigma_ev": self.sigma_ev,
            "ediff_ev": self.ediff_ev,
            "hubbard": {e: self.hubbard[e].model_dump() for e in elements if e in self.hubbard},
            "incar": dict(sorted(self.incar.items())),
        }
        if self.constrained:
            parameters["rwigs_a"] = sphere_radii(self, elements)
            parameters["constraint"] = dict(constraint_parameters(self))
        if self.polarised:
            parameters["moments"] = "MW_int" if self.constrained else "LORBIT 11"
        return parameters

    def sphere_radii(self, elements: Sequence[str]) -> Mapping[str, float]:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return sphere_radii(self, elements)

    def refusal(self, frame: Frame) -> str | None:
        """See :class:`magflow.dft.base.CodeEngine`."""
        if frame.magmoms is None or not self.constrained or not isinstance(self.constraint, Penalty):
            return super().refusal(frame)
        zero = np.flatnonzero(held_atoms(frame) & (np.linalg.norm(frame.magmoms, axis=1) < _ZERO))
        if not len(zero):
            return super().refusal(frame)
        return (
            f"atom {zero[0] + 1} is held at zero, and to VASP M_CONSTR = 0 0 0 is no constraint; leave it free or "
            "use constraint: {method: deltaspin}"
        )

    def calculation(
        self, frame: Frame, level_of_theory: LevelOfTheory, installation: MagflowSettings
    ) -> VaspCalculation:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return VaspCalculation(self, frame, level_of_theory, installation, find_potcars(self, frame.species))

    def setting_doubts(self) -> list[Doubt]:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return probing.unit_doubts(self)

    def probe_code(self, installation: MagflowSettings) -> list[Probe]:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return probing.probe_code(self, installation)

    def probe_dataset(self, element: str, installation: MagflowSettings) -> Probe:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return probing.probe_dataset(self, element)
