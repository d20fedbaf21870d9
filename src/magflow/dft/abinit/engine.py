"""The ABINIT label engine: its level of theory, what it needs, and the calculation of one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.moments import is_collinear
from magflow.core.protocols import Doubt, Probe
from magflow.core.units import BOHR
from magflow.dft.abinit import probing
from magflow.dft.abinit.calculation import AbinitCalculation
from magflow.dft.abinit.datasets import datasets_of, sphere_radii
from magflow.dft.abinit.program import executable, version_of
from magflow.dft.abinit.settings import AbinitSettings
from magflow.dft.base import CodeEngine
from magflow.dft.kpoints import kpoint_parameters
from magflow.settings import MagflowSettings, load_settings


class AbinitEngine(AbinitSettings, CodeEngine):
    """Labels from ABINIT.

    ``constrained`` labels hold the moment of each constrained atom, integrated in a sphere, at its target by a
    hard (Lagrange) constraint, collinear along z (Gonze et al., J. Chem. Phys. 156, 2022: constrained DFT in
    ABINIT; input variable ``constraint_kind`` 1). ``spin-polarised`` labels start from the frame's moments and
    let them relax. ``non-magnetic`` labels ignore them (nsppol 1). All three use the same settings.
    """

    name: ClassVar[str] = "abinit"

    def code_version(self, installation: MagflowSettings) -> str:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return version_of(executable(self, installation))

    def checksums(self, elements: Sequence[str], installation: MagflowSettings) -> dict[str, str]:
        """See :class:`magflow.dft.base.CodeEngine`."""
        datasets = datasets_of(self, elements, installation)
        sphere_radii(self, datasets)
        return {element: dataset.md5 for element, dataset in datasets.items()}

    def parameters(self, elements: Sequence[str]) -> dict[str, Any]:
        """See :class:`magflow.dft.base.CodeEngine`; magcon_lambda, nstep and the like stay out."""
        parameters: dict[str, Any] = {
            "ecut_ha": self.ecut_ha,
            "pawecutdg_ha": self.pawecutdg_ha,
            **kpoint_parameters(self.kpoints),
            "kpoint_shift": list(self.shift),
            "smearing": "fermi-dirac",
            "tsmear_ha": self.tsmear_ha,
            "tolvrs": self.tolvrs,
            "bands_per_electron": self.bands_per_electron,
            "nsym": 1,
        }
        if self.ecutsm_ha:
            parameters["ecutsm_ha"] = self.ecutsm_ha
        if self.polarised:
            parameters["ratsph_bohr"] = sphere_radii(self, datasets_of(self, elements, load_settings()))
            parameters["ratsm_bohr"] = self.ratsm_bohr
        return parameters

    def sphere_radii(self, elements: Sequence[str]) -> Mapping[str, float]:
        """See :class:`magflow.dft.base.CodeEngine`."""
        radii = sphere_radii(self, datasets_of(self, elements, load_settings()))
        return {element: radius * BOHR for element, radius in radii.items()}

    def refusal(self, frame: Frame) -> str | None:
        """See :class:`magflow.dft.base.CodeEngine`."""
        if not self.polarised or frame.magmoms is None or is_collinear(frame.magmoms):
            return super().refusal(frame)
        return "moments are not collinear along z; constraints do not converge there"

    def calculation(
        self, frame: Frame, level_of_theory: LevelOfTheory, installation: MagflowSettings
    ) -> AbinitCalculation:
        """See :class:`magflow.dft.base.CodeEngine`."""
        datasets = datasets_of(self, frame.species, installation)
        return AbinitCalculation(self, frame, level_of_theory, installation, datasets)

    def doubts(self, frames: Sequence[Frame]) -> list[Doubt]:
        """See :class:`magflow.core.protocols.HasDoubts`."""
        return [*super().doubts(frames), *probing.smearing_doubts(self, frames)]

    def setting_doubts(self) -> list[Doubt]:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return probing.unit_doubts(self)

    def probe_code(self, installation: MagflowSettings) -> list[Probe]:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return probing.probe_code(self, installation)

    def probe_dataset(self, element: str, installation: MagflowSettings) -> Probe:
        """See :class:`magflow.dft.base.CodeEngine`."""
        return probing.probe_dataset(self, element, installation)
