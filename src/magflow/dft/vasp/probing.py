"""What the VASP engine needs and whether it is there."""

from __future__ import annotations

from magflow.core.protocols import Probe
from magflow.dft.probing import looked_at, on_path
from magflow.dft.vasp.potcars import POTCAR_HINT, find_potcars, sphere_radii
from magflow.dft.vasp.program import COMMAND_HINT, executable
from magflow.dft.vasp.settings import VaspSettings
from magflow.settings import MagflowSettings


def probe_code(settings: VaspSettings, installation: MagflowSettings) -> list[Probe]:
    """The program; never raises."""
    return [on_path("VASP", executable(settings, installation, vectors=settings.constrained), COMMAND_HINT)]


def probe_dataset(settings: VaspSettings, element: str) -> Probe:
    """The POTCAR of one element; never raises."""

    def potcar() -> str:
        found = find_potcars(settings, [element])[element]
        sphere = f", sphere {sphere_radii(settings, [element])[element]:g} A" if settings.constrained else ""
        return f"{found.title}{sphere}"

    return looked_at(f"POTCAR {element}", potcar, POTCAR_HINT)
