"""Any atomate2 static Maker as a label engine.

The Maker's job runs as it is; a second job turns its task document into a label. What a task document of atomate2
holds under ``output`` (energy, forces, stress, structure) is the same for VASP, ABINIT and force fields, but not
the unit of the stress: it is a field here. Input sets of pymatgen sort the sites; they get them sorted, and what comes
back is put into the order of the frame here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from jobflow import Flow, Maker, OnMissing, job
from monty.json import MSONable, jsanitize

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LabelKind, LevelOfTheory
from magflow.core.units import EV_PER_A3_IN_GPA, voigt
from magflow.errors import InputError
from magflow.io.structure import right_handed, site_order, to_structure
from magflow.makers import roles
from magflow.makers.base import Campaign, adopt, prepare
from magflow.makers.documents import LabelDoc, Purpose
from magflow.makers.packing import unpack_frame

KBAR_COMPRESSIVE = -0.1
"""GPa in tension per unit: what the VASP and ASE Makers of atomate2 write (kbar, positive in compression)."""


@dataclass
class AtomateEngine(MSONable):
    """An atomate2 static Maker with what a label needs to know about it.

    Parameters
    ----------
    maker
        Its ``make(structure)`` gives one static calculation. Target moments reach it as the site property ``magmom``.
    kind
        Kind of label it makes. Not constrained: a task document has neither the penalty that its energy contains nor
        magnetic forces; that takes a label engine.
    functional
        Part of the level of theory; the rest of it is the Maker's own serialisation.
    stress_in_gpa
        Factor that takes the stress of its task document to GPa, positive in tension.
    """

    maker: Maker
    kind: str = LabelKind.SPIN_POLARISED
    functional: str = "as set in the Maker"
    stress_in_gpa: float = KBAR_COMPRESSIVE
    name: str = field(default="atomate2", init=False)

    def __post_init__(self) -> None:
        if LabelKind(self.kind) == LabelKind.CONSTRAINED:
            raise InputError(
                "a Maker of atomate2 makes no constrained labels",
                where="kind",
                hint="use the label engine of your code: vasp, abinit",
            )

    def level_of_theory(self, elements: tuple[str, ...]) -> LevelOfTheory:
        """The Maker's whole serialisation: another input set is another level of theory."""
        serialised = jsanitize(self.maker.as_dict(), strict=True, enum_values=True)
        parameters = {"maker": serialised, "elements": sorted(elements)}
        return LevelOfTheory("atomate2", version("atomate2"), LabelKind(self.kind), self.functional, {}, parameters)


def label_flow(
    engine: AtomateEngine, campaign: Campaign, frame: str, source: str, iteration: int, purpose: Purpose
) -> Flow:
    """The Maker's calculation and its conversion to a label; `output` is the LabelDoc."""
    configuration = unpack_frame(frame)
    static = engine.maker.make(right_handed(to_structure(configuration)).get_sorted_structure())
    adopt(static, campaign, roles.static(iteration, configuration.frame_id, purpose))
    converted = to_label(engine, campaign, static.output, frame, source, iteration, purpose)
    converted.config.on_missing_references = OnMissing.NONE
    prepare(converted, campaign, roles.to_label(iteration, configuration.frame_id, purpose))
    return Flow([static, converted], output=converted.output, name=f"label {iteration}")


@job(data="arrays")
def to_label(
    engine: AtomateEngine,
    campaign: Campaign,
    task: Any,
    frame: str,
    source: str,
    iteration: int,
    purpose: Purpose = Purpose.CAMPAIGN,
) -> LabelDoc:
    """The label in a task document; a calculation without one is a failed label."""
    from magflow.makers.label import label_document

    configuration = unpack_frame(frame)
    label = label_of(engine, campaign.elements, configuration, task)
    return label_document(configuration, label, campaign, engine.name, source, iteration, Purpose(purpose))


def label_of(engine: AtomateEngine, elements: list[str], frame: Frame, task: Any) -> Label:
    """Read energy (eV), forces (eV/A), stress and moments (muB) from a task document (object or dict)."""
    level = engine.level_of_theory(tuple(elements))
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
        stress=None if stress is None else voigt(stress) * engine.stress_in_gpa / EV_PER_A3_IN_GPA,
        magmoms=None if moments is None else _in_frame_order(moments, order),
    )


def _in_frame_order(values: np.ndarray, order: list[int]) -> np.ndarray:
    """(N, 3) from the order of the sites."""
    ordered = np.empty_like(values)
    ordered[order] = values
    return ordered


def _free_energy(task: Any) -> float | None:
    """The energy that forces derive from, eV: where VASP's task document names it, `output.energy` is another one."""
    calculations = _get(task, "calcs_reversed") or [None]
    steps = _get(_get(calculations[0], "output"), "ionic_steps") or [None]
    free = _get(steps[-1], "e_fr_energy")
    return _get(_get(task, "output"), "energy") if free is None else free


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _moments(structure: Any, n_atoms: int) -> np.ndarray | None:
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
