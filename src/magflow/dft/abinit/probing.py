"""What the ABINIT engine needs and whether it is there."""

from __future__ import annotations

from importlib.util import find_spec

from magflow.core.protocols import Probe
from magflow.dft.abinit.datasets import INSTALL_HINT, check_radii, datasets_of
from magflow.dft.abinit.program import executable, version_of
from magflow.dft.abinit.settings import AbinitSettings
from magflow.dft.probing import looked_at, writable
from magflow.settings import MagflowSettings


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
        check_radii(settings, found)
        one = found[element]
        return f"{one.functional}, {one.valence:g} electrons, {one.source}"

    return looked_at(f"PAW dataset {element}", dataset, INSTALL_HINT)
