"""Predictions from positions, of several models at once: neighbours, layout and kernel in one native call."""

from __future__ import annotations

from collections.abc import Sequence

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.errors import InputError
from magflow.potentials.mmtp.geometry import UNPHYSICAL, build_geometry, flatten, unlisted
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.native import kernel


def predict_together(
    models: Sequence[MmtpModel], frames: Sequence[Frame], *, instruction_set: str = ""
) -> list[Prediction]:
    """One prediction per model; all know the species and the cutoff of the first, and all or none read moments.

    Some hundred atoms at a time are listed, laid out and evaluated by all models, so that no list of neighbours of all
    frames is held.

    Raises
    ------
    InputError
        As :func:`~magflow.potentials.mmtp.geometry.build_geometry`, or if a prediction is not finite.
    """
    first = models[0]
    magnetic = first.magnetic
    flat = flatten(frames, first.species, magnetic=magnetic)
    potentials = [(m.spec, m.parameters, m.symmetrise and magnetic) for m in models]
    try:
        said, closest, failed = kernel().predict(potentials, flat, by_moment=magnetic, instruction_set=instruction_set)
    except ValueError as error:
        raise unlisted(error) from error
    if closest < UNPHYSICAL:
        build_geometry(frames, first.species, first.cutoff, magnetic=magnetic)  # raises, naming the frame
    if failed >= 0:
        raise not_finite(failed)
    counts = flat.counts
    return [Prediction(counts, *arrays) for arrays in said]


def not_finite(frame: int) -> InputError:
    """That the prediction of a frame is not finite."""
    return InputError("the prediction is not finite", where=f"frame {frame}")
