"""The frames of an iteration and what was decided about them: stored apart, each once, and joined here.

The candidates hold the frames; a selection holds one row per candidate, in their order. (The selections of magflow 0.1
held the chosen frames and whole rows.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from magflow.core.arrays import decode_arrays
from magflow.core.frame import Frame
from magflow.makers.documents import CandidatesDoc, SelectionDoc
from magflow.makers.packing import unpack_candidates
from magflow.select.offered import Offered, Selection

Columns = Mapping[str, np.ndarray]
"""Name to (n,) values."""


def verdicts(offered: Offered, selection: Selection) -> dict[str, np.ndarray]:
    """What the selection found and decided about each frame offered: what the frames themselves do not say."""
    n = len(offered.frames)
    columns = {
        "reason": np.array([str(r) for r in selection.reasons], dtype=str),
        "score": np.asarray(selection.score, dtype=float),
        "grade": np.full(n, np.nan) if offered.grades is None else offered.grades,
    }
    for quantity, values in (offered.deviations or {}).items():
        columns[f"deviation_{quantity}"] = np.asarray(values)
    return columns


def table(candidates: CandidatesDoc, selection: SelectionDoc) -> Columns:
    """One row per frame offered: frame_id, formula, ordering, source, volume (A^3/atom), moment_max (muB), verdicts.

    Both documents with their arrays.
    """
    found = decode_arrays(selection.arrays)
    if "frame_id" in found:  # of magflow 0.1
        return found
    frames, sources = unpack_candidates(candidates.arrays)
    return {
        "frame_id": np.array([f.frame_id for f in frames], dtype=str),
        "formula": np.array([f.formula for f in frames], dtype=str),
        "ordering": np.array([str(f.ordering) for f in frames], dtype=str),
        "source": np.array(sources, dtype=str),
        **extents(candidates),
        **found,
    }


def extents(candidates: CandidatesDoc) -> Columns:
    """Volume (A^3/atom) and largest moment (muB, 0 without moments) of each frame, read from the arrays."""
    arrays = decode_arrays(candidates.arrays)
    counts = arrays["counts"]
    moments = np.nan_to_num(np.linalg.norm(arrays["magmoms"], axis=1))
    return {
        "volume": np.abs(np.linalg.det(arrays["cells"])) / counts,
        "moment_max": np.maximum.reduceat(moments, np.cumsum(counts) - counts) if len(counts) else np.zeros(0),
    }


def chosen(candidates: CandidatesDoc, selection: SelectionDoc) -> tuple[list[Frame], list[str]]:
    """The selected frames, most wanted first, and where each came from."""
    frames, sources = unpack_candidates(candidates.arrays)
    rows = selection.rows
    if not rows:  # of magflow 0.1, or nothing was selected
        row = {f.frame_id: i for i, f in reversed(list(enumerate(frames)))}
        rows = [row[frame_id] for frame_id in selection.selected]
    return [frames[i] for i in rows], [sources[i] for i in rows]
