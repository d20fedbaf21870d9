"""What the properties at rest share: the moments of a crystal, and columns drawn with the spread of the ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.properties.measurement import SPREAD, Curve, Moments
from magflow.properties.subject import Subject

if TYPE_CHECKING:
    from pymatgen.core import Structure


def mean_moments(subject: Subject, frames: Sequence[Frame]) -> FloatArray | None:
    """(n,) mean of the moments' magnitudes over the atoms of each frame, muB; None if one carries no moments.

    None, too, of a potential that reads no moments: what the structure came with is no answer.
    """
    if subject.moments is Moments.NOT_READ:
        return None
    moments = [f.magmoms for f in frames if f.magmoms is not None]
    if len(moments) < len(frames):
        return None
    return np.array([np.linalg.norm(m, axis=1).mean() for m in moments])


def kinds(frame: Frame) -> IntArray:
    """(N,) number of the element and moment (to 0.01 muB) of each atom, counted as they come."""
    moments = np.zeros((len(frame), 3)) if frame.magmoms is None else frame.magmoms
    named = list(zip(frame.species, map(tuple, (np.round(moments, 2) + 0.0).tolist()), strict=True))
    number = {kind: k for k, kind in enumerate(dict.fromkeys(named))}
    return np.array([number[kind] for kind in named])


def decorated(frame: Frame) -> Structure:
    """`frame` with a charge of its own for each kind of atom, so that its symmetry respects the moments."""
    from pymatgen.core import Lattice, Species, Structure

    species = [Species(s, int(kind)) for s, kind in zip(frame.species, kinds(frame), strict=True)]
    return Structure(Lattice(frame.cell), species, frame.positions, coords_are_cartesian=True)


def line(panel: Any, curve: Curve, heads: tuple[str, str], scale: float, style: Mapping[str, Any]) -> None:
    """The second of two columns, times `scale`, against the first; its spread as a band."""
    x, y = np.asarray(curve[heads[0]]), scale * np.asarray(curve[heads[1]])
    panel.plot(x, y, **{"markersize": 3.0, **style})
    if SPREAD + heads[1] in curve:
        band = scale * np.asarray(curve[SPREAD + heads[1]])
        panel.fill_between(x, y - band, y + band, color=style["color"], alpha=0.18, linewidth=0)
