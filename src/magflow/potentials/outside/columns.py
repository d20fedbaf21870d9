"""Columns of the Hessians of crystals as arrays that a backend reads (``outside/runtime/tuning.py``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.types import FloatArray


def crystal_of(label: ForceConstantLabel, *, magnetic: bool) -> Frame:
    """The supercell as a potential sees it that reads moments or not."""
    return label.frame if magnetic else label.frame.non_magnetic()


def column_arrays(labels: Sequence[ForceConstantLabel]) -> dict[str, np.ndarray]:
    """``rows`` (n,), the columns known of each crystal; ``moved`` (sum rows, 2), the atom and axis that each is of;
    ``columns`` (sum rows N, 3), eV/A^2, one column after another.
    """
    moved = [np.stack([np.repeat(of.atoms, 3), np.tile(np.arange(3), len(of.atoms))], axis=1) for of in labels]
    return {
        "rows": np.array([len(of) for of in moved]),
        "moved": np.concatenate(moved),
        "columns": np.concatenate([label.columns.reshape(-1, 3) for label in labels]),
    }


def column_rmse(
    columns: Callable[[Frame, FloatArray], FloatArray], labels: Sequence[ForceConstantLabel], *, magnetic: bool
) -> float:
    """RMSE over all components of all columns, eV/A^2.

    Parameters
    ----------
    columns
        What a potential makes of a crystal and displacements (k, N, 4): (k, N, 3) eV/A^2.
    """
    off = [(columns(crystal_of(of, magnetic=magnetic), of.directions)[..., :3] - of.columns).ravel() for of in labels]
    return float(np.sqrt(np.mean(np.concatenate(off) ** 2)))
