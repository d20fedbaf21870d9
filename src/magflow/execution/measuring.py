"""Properties by labels, without a campaign: the configurations of a validation, labelled and read."""

from __future__ import annotations

from collections.abc import Sequence

from magflow.core.frame import Frame
from magflow.core.protocols import LabelEngine, WorkProgress, silent
from magflow.errors import InputError
from magflow.execution.labelling import LabelTask
from magflow.properties.base import PointProperty
from magflow.properties.measurement import Measurement
from magflow.properties.points import measured_by_labels
from magflow.properties.subject import Subject
from magflow.studies.validate.task import ValidationTask

LABELS = "dft"
"""Directory below that of a validation: queue and finished labels."""


def by_labels(
    task: ValidationTask,
    engine: LabelEngine,
    elements: Sequence[str],
    workers: int,
    progress: WorkProgress = silent,
) -> list[Measurement]:
    """What an engine says of the properties of a validation that are read from points.

    Structures, moments and configurations are those of the first potential that reads moments, or of the first. Labels
    are kept below the directory of the validation and never computed twice; a property one of whose labels failed has
    no answer.

    Raises
    ------
    InputError
        If nothing is to be labelled.
    MissingToolError
        If the engine lacks something.
    """
    asked = _asked(task)
    frames = [frame for _, _, some in asked for frame in some]
    if not frames:
        raise InputError("there are no configurations to label", where=str(task.out), seen="no property at rest")
    work = LabelTask(tuple(frames), engine, tuple(elements), task.out / LABELS)
    work.require_ready()
    found = work.run(workers, lambda done, total: progress(done / total, f"labels {done} of {total}"))
    labels = {item.frame.frame_id: item.label for item in found.items}
    return [measured_by_labels(prop, subject, some, labels) for prop, subject, some in asked]


def _asked(task: ValidationTask) -> list[tuple[PointProperty, Subject, list[Frame]]]:
    """Each property that is read from points, of each structure, with its configurations."""
    potential = next((p for p, e in task.potentials.items() if e.magnetic), next(iter(task.potentials)))
    out: list[tuple[PointProperty, Subject, list[Frame]]] = []
    for piece in task.pieces():
        prop = piece.asked
        if piece.potential != potential or not isinstance(prop, PointProperty):
            continue
        try:
            subject = piece.subject()
            if not prop.obstacle(subject):
                out.append((prop, subject, prop.for_labels(subject)))
        except InputError:  # the validation says why
            continue
    return out
