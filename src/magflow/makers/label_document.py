"""The document that a label job leaves."""

from __future__ import annotations

from magflow.core.arrays import encode_arrays
from magflow.core.frame import Frame, frames_to_arrays
from magflow.core.label import Label, LabeledFrame
from magflow.makers.base import Campaign
from magflow.makers.documents import LabelDoc, Purpose
from magflow.makers.packing import pack_labelled


def label_document(
    frame: Frame,
    label: Label,
    campaign: Campaign,
    engine: str,
    source: str,
    iteration: int,
    purpose: Purpose = Purpose.CAMPAIGN,
) -> LabelDoc:
    """The document of one finished or failed label."""
    ok = label.failure is None
    return LabelDoc(
        campaign=campaign.id,
        iteration=iteration,
        label_id=label.label_id,
        frame_id=label.frame_id,
        state="ok" if ok else "failed",
        failure=None if label.failure is None else label.failure.kind,
        message=None if label.failure is None else label.failure.message,
        purpose=purpose,
        engine=engine,
        kind=label.level_of_theory.kind,
        level_of_theory=label.level_of_theory.as_dict(),
        level_of_theory_id=label.level_of_theory.fingerprint,
        formula=frame.formula,
        n_atoms=len(frame),
        ordering=frame.ordering,
        source=source,
        volume_per_atom=frame.volume / len(frame),
        cpu_seconds=label.cost.cpu_seconds,
        wall_seconds=label.cost.wall_seconds,
        cores=label.cost.cores,
        core_hours=label.cost.core_hours,
        attempts=label.attempts,
        details=dict(label.details),
        arrays=pack_labelled([LabeledFrame(frame, label)]) if ok else encode_arrays(frames_to_arrays([frame])),
        **(label.summary() if ok else {}),
    )
