"""What the ABINIT engine needs and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from magflow.core.frame import Frame
from magflow.core.protocols import Doubt, Probe
from magflow.core.units import HARTREE, KB
from magflow.dft.abinit.datasets import INSTALL_HINT, datasets_of, lighter, sphere_radii
from magflow.dft.abinit.program import executable, version_of
from magflow.dft.abinit.settings import AbinitSettings
from magflow.dft.probing import looked_at, writable
from magflow.settings import MagflowSettings

_LARGEST_CUTOFF_HA = 100.0
_LARGEST_SMEARING_HA = 0.05  # 16000 K
_LARGEST_SMEARING_OF_NICKEL_HA = 0.005
"""At 0.01 ABINIT finds 0.11 muB in fcc nickel (PBE, 3x3x3 in the cubic cell, off Gamma)."""


def unit_doubts(settings: AbinitSettings) -> list[Doubt]:
    """Cutoffs that were meant in eV, a smearing that was meant in eV or K."""
    found = [
        Doubt(name, f"{value:g} hartree is {value * HARTREE:.0f} eV", f"in eV? then {value / HARTREE:.3g}")
        for name, value in (("ecut_ha", settings.ecut_ha), ("pawecutdg_ha", settings.pawecutdg_ha))
        if value > _LARGEST_CUTOFF_HA
    ]
    width = settings.tsmear_ha
    if width > _LARGEST_SMEARING_HA:
        meant = f"in K? then {width * KB / HARTREE:.2g}" if width > 10 else f"in eV? then {width / HARTREE:.2g}"
        found.append(Doubt("tsmear_ha", f"{width:g} hartree is {width * HARTREE / KB:.0f} K", meant))
    if settings.pawecutdg_ha < settings.ecut_ha:
        found.append(Doubt("pawecutdg_ha", "the PAW double grid is coarser than the plane waves", "twice ecut_ha"))
    return found


def smearing_doubts(settings: AbinitSettings, frames: Sequence[Frame]) -> list[Doubt]:
    """A smearing at which electrons alone unmake the moment that is to be learnt."""
    width = settings.tsmear_ha
    if not settings.polarised or width <= _LARGEST_SMEARING_OF_NICKEL_HA:
        return []
    if not any("Ni" in frame.species for frame in frames):
        return []
    detail = f"{width:g} hartree is {width * HARTREE / KB:.0f} K, at which nickel has lost most of its moment"
    return [Doubt("tsmear_ha", detail, "0.003, and more k-points")]


def probe_code(settings: AbinitSettings, installation: MagflowSettings) -> list[Probe]:
    """The program, the folders it writes to and the package that reads its files; never raises."""

    def program() -> str:
        command = executable(settings, installation)
        return f"{command}, version {version_of(command)}"

    found = [looked_at("ABINIT", program, INSTALL_HINT), writable("dataset cache", installation.cache_dir)]
    if installation.scratch_dir is not None:
        found.append(writable("scratch", installation.scratch_dir))
    there = find_spec("netCDF4") is not None
    found.append(Probe("netCDF4", there, "installed" if there else "absent", "" if there else "pip install netCDF4"))
    return found


def probe_dataset(settings: AbinitSettings, element: str, installation: MagflowSettings) -> Probe:
    """The PAW dataset of one element; never raises."""

    def dataset() -> str:
        found = datasets_of(settings, [element], installation)
        one, radii = found[element], sphere_radii(settings, found)
        sphere = f"moments in a sphere of {radii[element]:g} bohr, " if radii else ""
        fewer = lighter(one)
        cheaper = "" if fewer is None else f"; {fewer.source.name} beside it holds {fewer.valence:g}, which costs less"
        return f"{one.functional}, {one.valence:g} electrons, {sphere}{one.source}{cheaper}"

    return looked_at(f"PAW dataset {element}", dataset, INSTALL_HINT)
