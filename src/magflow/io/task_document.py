"""Task documents of atomate2 as labels.

What one holds under ``output`` (energy, forces, stress, structure) is the same for VASP, ABINIT and force fields, but
not the unit of the stress. Its sites are those that were sent, sorted; what comes back is in the order of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA, voigt
from magflow.io.structure import site_order


def read_task_document(task: Any, frame: Frame, level: LevelOfTheory, stress_in_gpa: float) -> Label:
    """Energy (eV), forces (eV/A), stress and moments (muB) of `frame`; failed where they are missing.

    Parameters
    ----------
    task
        Object or mapping, its sites in the order of :func:`~magflow.io.structure.site_order`; None: there was none.
    stress_in_gpa
        Factor that takes its stress to GPa, positive in tension.
    """
    if task is None:
        return Label.failed(frame, level, FailureKind.CRASH, "the calculation left no task document")
    output = _get(task, "output")
    forces, stress, structure = (_get(output, name) for name in ("forces", "stress", "structure"))
    energy = _free_energy(task)
    if energy is None or forces is None:
        return Label.failed(frame, level, FailureKind.TRUNCATED_OUTPUT, "no energy or forces in the task document")
    order = site_order(frame)
    found = [] if structure is None else [site.specie.symbol for site in structure]
    if found and found != [frame.species[i] for i in order]:
        return Label.failed(frame, level, FailureKind.INCONSISTENT, f"the Maker gave its sites back as {found}")
    moments = _moments(structure, len(frame))
    return Label(
        frame.frame_id,
        level,
        frame.orientation,
        energy=float(energy),
        forces=_in_frame_order(np.asarray(forces, dtype=float), order),
        stress=None if stress is None else voigt(stress) * stress_in_gpa / EV_PER_A3_IN_GPA,
        magmoms=None if moments is None else _in_frame_order(moments, order),
    )


def _in_frame_order(values: FloatArray, order: list[int]) -> FloatArray:
    """(N, 3) from the order of the sites."""
    ordered = np.empty_like(values)
    ordered[order] = values
    return ordered


def _free_energy(task: Any) -> float | None:
    """The energy that forces derive from, eV: where VASP's task document names it, `output.energy` is another one."""
    calculations = _get(task, "calcs_reversed") or [None]
    steps = _get(_get(calculations[0], "output"), "ionic_steps") or [None]
    free: float | None = _get(steps[-1], "e_fr_energy")
    energy: float | None = _get(_get(task, "output"), "energy") if free is None else free
    return energy


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _moments(structure: Any, n_atoms: int) -> FloatArray | None:
    """Moments of the output structure; ``final_magmom`` is where pymatgen puts those of an ASE calculator."""
    properties = getattr(structure, "site_properties", {})
    for name in ("final_magmom", "magmom"):
        values = properties.get(name)
        if values is not None and None not in list(values):
            moments = np.zeros((n_atoms, 3))
            array = np.asarray([np.asarray(getattr(v, "moment", v), dtype=float) for v in values])
            moments[:, 2 if array.ndim == 1 else slice(None)] = array
            return moments
    return None
