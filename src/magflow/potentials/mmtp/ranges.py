"""The ranges of distance and moments of a model: taken from labels, widened without changing the function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.potentials.mmtp.geometry import build_geometry
from magflow.potentials.mmtp.model import MmtpModel

MIN_RANGE = 0.1
"""muB; the smallest magnetic range taken from data."""
MARGIN = 0.05
"""Share that a range taken from data goes beyond them."""


def largest_moments(frames: Sequence[Frame], species: tuple[str, ...]) -> FloatArray:
    """(T,) muB, the largest |m| of each species in `frames`."""
    largest = dict.fromkeys(species, 0.0)
    for frame in frames:
        if frame.magmoms is not None:
            for symbol, m in zip(frame.species, np.abs(frame.magmoms[:, 2]).tolist(), strict=True):
                largest[symbol] = max(largest.get(symbol, 0.0), m)
    return np.array([largest[s] for s in species])


def closest_pair(frames: Sequence[Frame], species: tuple[str, ...], cutoff: float) -> float:
    """A, the smallest distance in `frames`; infinite if none is below the cutoff."""
    return build_geometry(frames, species, cutoff, magnetic=False).closest


def moment_ranges(largest: FloatArray) -> FloatArray:
    """(T,) muB, ranges for labels with moments up to `largest`."""
    return np.maximum((1.0 + MARGIN) * largest, MIN_RANGE)


def radial_start(closest: float, cutoff: float) -> float:
    """A, r_min for labels with distances down to `closest`."""
    return float(np.clip((1.0 - MARGIN) * closest, 0.5, 0.8 * cutoff))


def widened(model: MmtpModel, frames: Sequence[Frame]) -> MmtpModel:
    """`model`, with ranges that hold `frames`.

    The polynomials are written in those of the wider ranges: inside the old ones the energy is the same, outside it
    follows the polynomials and no longer their tangents.
    """
    largest = largest_moments(frames, model.species)
    beyond = largest > model.max_moment
    max_moment = np.where(beyond, moment_ranges(largest), model.max_moment)
    closest = closest_pair(frames, model.species, model.cutoff)
    r_min = radial_start(closest, model.cutoff) if closest < model.r_min else model.r_min
    if not (model.magnetic and beyond.any()) and r_min == model.r_min:
        return model
    return on_ranges(model, r_min, max_moment)


def on_ranges(model: MmtpModel, r_min: float, max_moment: FloatArray) -> MmtpModel:
    """`model` with its polynomials written in those of wider ranges: inside the old ones the energy is the same.

    Parameters
    ----------
    max_moment
        (T,) muB.
    """
    n = len(model.species)
    radial = model.parameters[: model.n_radial].reshape(n, n, -1, model.n_phi, len(model.pairs))
    wide = _basis_change((r_min, model.cutoff), (model.r_min, model.cutoff), model.n_phi)
    radial = np.einsum("yx,ijmxp->ijmyp", wide, radial)
    moments = [
        _basis_change((-new, new), (-old, old), model.n_psi)
        for new, old in zip(max_moment, model.max_moment, strict=True)
    ]
    beta, gamma = model.pairs.T
    for i in range(n):
        for j in range(n):
            mixing = moments[i][beta[:, None], beta] * moments[j][gamma[:, None], gamma]
            radial[i, j] = np.einsum("qp,mxp->mxq", mixing, radial[i, j])
    parameters = np.concatenate([radial.ravel(), model.parameters[model.n_radial :]])
    return replace(model, r_min=r_min, max_moment=max_moment, parameters=parameters)


def _basis_change(new: tuple[float, float], old: tuple[float, float], size: int) -> FloatArray:
    """(size, size) coefficients of the Chebyshev polynomials on `new` (rows) that make those on `old` (columns)."""
    nodes = chebyshev.chebpts1(size)
    x = new[0] + 0.5 * (new[1] - new[0]) * (nodes + 1.0)
    values = chebyshev.chebvander(2.0 * (x - old[0]) / (old[1] - old[0]) - 1.0, size - 1)
    return np.asarray(np.linalg.solve(chebyshev.chebvander(nodes, size - 1), values), dtype=float)
