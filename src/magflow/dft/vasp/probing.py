"""What the VASP engine needs and whether it is there."""

from __future__ import annotations

from magflow.core.protocols import Doubt, Probe
from magflow.core.units import HARTREE, KB
from magflow.dft.probing import looked_at, on_path
from magflow.dft.vasp.potcars import POTCAR_HINT, find_potcars, sphere_radii
from magflow.dft.vasp.program import COMMAND_HINT, executable
from magflow.dft.vasp.settings import VaspSettings
from magflow.settings import MagflowSettings

_SMALLEST_CUTOFF_EV = 100.0
_LARGEST_SMEARING_EV = 1.4  # 16000 K


def unit_doubts(settings: VaspSettings) -> list[Doubt]:
    """A cutoff that was meant in hartree, a smearing that was meant in K."""
    found = []
    cutoff, width = settings.encut_ev, settings.sigma_ev
    if cutoff < _SMALLEST_CUTOFF_EV:
        hint = f"in hartree? then {cutoff * HARTREE:.4g}"
        found.append(Doubt("encut_ev", f"{cutoff:g} eV is below what any POTCAR takes", hint))
    if width > _LARGEST_SMEARING_EV:
        found.append(Doubt("sigma_ev", f"{width:g} eV is {width / KB:.0f} K", f"in K? then {width * KB:.2g}"))
    return found


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
