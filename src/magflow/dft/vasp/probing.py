"""What the VASP engine needs and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from shutil import which
from typing import TYPE_CHECKING

from magflow.core.protocols import Probe
from magflow.dft.vasp.potcars import POTCAR_HINT, find_potcars, sphere_radii
from magflow.errors import MagflowError
from magflow.settings import SETTINGS_FILE, load_settings

if TYPE_CHECKING:
    from magflow.dft.vasp.engine import VaspEngine

COMMAND_HINT = (
    f"VASP is licensed software: name your executables as vasp_command and vasp_ncl_command in {SETTINGS_FILE}"
)


def probe(engine: VaspEngine, elements: Sequence[str]) -> list[Probe]:
    """One entry per program and per POTCAR; never raises."""
    try:
        settings = load_settings()
    except MagflowError as error:
        return [Probe("settings", False, str(error), error.hint or "")]
    found = [_program("VASP", program, COMMAND_HINT) for program in engine.programs(settings)]
    if engine.cores > 1:
        found.append(_program("mpirun", settings.mpirun_command, "install an MPI"))
    return found + [_potcar(engine, element) for element in sorted(set(elements))]


def _program(name: str, command: str, hint: str) -> Probe:
    path = which(command.split()[0])
    return Probe(name, path is not None, path or f"no {command}", "" if path else hint)


def _potcar(engine: VaspEngine, element: str) -> Probe:
    name = f"POTCAR {element}"
    try:
        potcar = find_potcars(engine, [element])[element]
        sphere = f", sphere {sphere_radii(engine, [element])[element]:g} A" if engine.constrained else ""
    except MagflowError as error:
        return Probe(name, False, error.message, error.hint or POTCAR_HINT)
    except OSError as error:
        return Probe(name, False, str(error), POTCAR_HINT)
    return Probe(name, True, f"{potcar.title}{sphere}")
