"""Predictions from positions, of several models at once: neighbours, layout and kernel in one native call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.mmtp.geometry import UNPHYSICAL, build_geometry, flatten, listing
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
    where = (flat.counts, flat.type, flat.moment, flat.positions, flat.cells)
    with listing():
        said, closest = kernel().predict(potentials, *where, by_moment=magnetic, instruction_set=instruction_set)
    if closest < UNPHYSICAL:
        build_geometry(frames, first.species, first.cutoff, magnetic=magnetic)  # raises, naming the frame
    for energy, *_ in said:
        refuse_not_finite(energy)
    return [Prediction(flat.counts, *arrays) for arrays in said]


def refuse_not_finite(energy: FloatArray) -> None:
    """Raise InputError, naming the frame, unless all energies (n,) are finite."""
    finite = np.isfinite(energy)
    if not finite.all():
        raise InputError("the prediction is not finite", where=f"frame {int(np.flatnonzero(~finite)[0])}")
