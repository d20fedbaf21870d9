"""What the ABINIT engine needs and whether it is there."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from magflow.core.protocols import Probe
from magflow.dft.abinit.datasets import INSTALL_HINT
from magflow.errors import MagflowError
from magflow.settings import SETTINGS_FILE, MagflowSettings, load_settings

if TYPE_CHECKING:
    from magflow.dft.abinit.engine import AbinitEngine


def probe(engine: AbinitEngine, elements: Sequence[str]) -> list[Probe]:
    """One entry per program, dataset, folder and package; never raises."""
    try:
        settings = load_settings()
    except MagflowError as error:
        return [Probe("settings", False, str(error), error.hint or "")]
    found = [_abinit(engine, settings)]
    if engine.cores > 1:
        path = which(settings.mpirun_command.split()[0])
        found.append(Probe("mpirun", path is not None, path or f"no {settings.mpirun_command}", "install an MPI"))
    found += [_dataset(engine, element, settings) for element in sorted(set(elements))]
    found.append(_folder("dataset cache", settings.cache_dir))
    if settings.scratch_dir is not None:
        found.append(_folder("scratch", settings.scratch_dir))
    there = find_spec("netCDF4") is not None
    found.append(Probe("netCDF4", there, "installed" if there else "absent", "" if there else "pip install netCDF4"))
    return found


def _abinit(engine: AbinitEngine, settings: MagflowSettings) -> Probe:
    launcher = engine.launcher(settings)
    try:
        return Probe("ABINIT", True, f"{launcher.abinit}, version {launcher.version()}")
    except (MagflowError, OSError, ValueError, IndexError) as error:
        hint = error.hint if isinstance(error, MagflowError) else None
        return Probe("ABINIT", False, str(error), hint or INSTALL_HINT)


def _dataset(engine: AbinitEngine, element: str, settings: MagflowSettings) -> Probe:
    name = f"PAW dataset {element}"
    try:
        dataset = engine.find_datasets([element], settings)[element]
        engine.check_radii({element: dataset})
    except (MagflowError, OSError) as error:
        hint = error.hint if isinstance(error, MagflowError) else None
        return Probe(name, False, str(error), hint or INSTALL_HINT)
    return Probe(name, True, f"{dataset.functional}, {dataset.valence:g} electrons, {dataset.source}")


def _folder(name: str, path: Path) -> Probe:
    """Whether `path` can be written, or made in the nearest folder that exists."""
    path = path.expanduser()
    there = next((p for p in (path, *path.parents) if p.exists()), path)
    try:
        with tempfile.TemporaryFile(dir=there):
            return Probe(name, True, str(path))
    except OSError as error:
        return Probe(name, False, f"{path}: {error}", f"name a folder that can be written in {SETTINGS_FILE}")
