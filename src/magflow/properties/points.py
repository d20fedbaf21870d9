"""Labels as points: what a DFT code says of the configurations of a property."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label
from magflow.core.prediction import Prediction, concatenate
from magflow.properties.base import PointProperty
from magflow.properties.measurement import Measurement
from magflow.properties.subject import Subject, UnmeasurableError

DFT = "DFT"
"""Label of what DFT says, beside that of a potential."""


def as_points(frames: Sequence[Frame], labels: Mapping[str, Label]) -> Prediction:
    """The labels of `frames`, by frame_id, as predictions in the order and orientation of the frames.

    Raises
    ------
    UnmeasurableError
        If a frame has no usable label, or one lacks forces or stress.
    """
    missing = sum(f.frame_id not in labels for f in frames)
    if missing or not frames:
        raise UnmeasurableError("labels are missing", seen=f"{missing} of {len(frames)}")
    return concatenate([_point(f, labels[f.frame_id].for_frame(f)) for f in frames])


def measured_by_labels(
    prop: PointProperty, subject: Subject, frames: Sequence[Frame], labels: Mapping[str, Label]
) -> Measurement:
    """What labels say of a property; `failure` tells why they say nothing.

    Its structure, configurations and moments are those of the potential of `subject`.
    """
    atoms = max((len(f) for f in frames), default=0)
    try:
        reading = prop.read(subject, frames, as_points(frames, labels))
    except UnmeasurableError as error:
        return prop.found(subject, failure=str(error), atoms=atoms)
    return prop.found(subject, values=reading.values, curves=reading.curves, atoms=atoms)


def _point(frame: Frame, label: Label) -> Prediction:
    if label.energy is None or label.forces is None or label.stress is None:
        raise UnmeasurableError("a label lacks energy, forces or stress", seen=label.label_id)
    return Prediction(
        np.array([len(frame)]), np.array([label.energy]), label.forces, label.stress[None], label.magnetic_forces
    )
