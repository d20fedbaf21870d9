"""Any atomate2 static Maker as a label engine.

The Maker's job runs as it is; a second job turns its task document into a label (:mod:`magflow.io.task_document`).
Input sets of pymatgen sort the sites: they get them sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from jobflow import Flow, Maker, OnMissing, job
from monty.json import MSONable, jsanitize

from magflow.core.label import LabelKind, LevelOfTheory
from magflow.errors import InputError
from magflow.io.structure import right_handed, to_structure
from magflow.io.task_document import read_task_document
from magflow.makers import roles
from magflow.makers.base import Campaign, adopt, prepare
from magflow.makers.documents import LabelDoc, Purpose
from magflow.makers.label_document import label_document
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
    kind: LabelKind = LabelKind.SPIN_POLARISED
    functional: str = "as set in the Maker"
    stress_in_gpa: float = KBAR_COMPRESSIVE
    name: str = field(default="atomate2", init=False)

    def __post_init__(self) -> None:
        self.kind = LabelKind(self.kind)  # text, where it was serialised
        if self.kind is LabelKind.CONSTRAINED:
            raise InputError(
                "a Maker of atomate2 makes no constrained labels",
                where="kind",
                hint="use the label engine of your code: vasp, abinit",
            )

    def level_of_theory(self, elements: Sequence[str]) -> LevelOfTheory:
        """The Maker's whole serialisation: another input set is another level of theory."""
        parameters = {"maker": serialised(self.maker), "elements": sorted(elements)}
        return LevelOfTheory("atomate2", version("atomate2"), self.kind, self.functional, {}, parameters)


def serialised(thing: MSONable) -> dict[str, Any]:
    """Its whole serialisation, as plain data."""
    return dict(jsanitize(thing.as_dict(), strict=True, enum_values=True))


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
    configuration = unpack_frame(frame)
    label = read_task_document(task, configuration, engine.level_of_theory(campaign.elements), engine.stress_in_gpa)
    return label_document(configuration, label, campaign, engine.name, source, iteration, Purpose(purpose))
