"""Relaxation from several sets of moments: magnetic energies have several minima, and each start finds its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import collinear
from magflow.core.protocols import Ensemble, Potential, Progress
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges, site_moments
from magflow.explore.relaxation.joint import Relaxation, relax_many
from magflow.explore.relaxation.settings import RelaxSettings

LOW_SPIN = 0.3
"""Share of the largest moment a low-spin start has."""
_SAME_ENERGY = 6
"""Decimals of an enthalpy, eV/atom, to which two minima count as equally deep."""


@dataclass(frozen=True, eq=False)
class MultiStart:
    """Relaxations from several starts by name, and the name of the best of them."""

    relaxations: Mapping[str, Relaxation]
    lowest: str

    @property
    def best(self) -> Relaxation:
        """The relaxation that converged lowest; if none converged, the lowest that nothing went wrong with."""
        return self.relaxations[self.lowest]


def moment_starts(frame: Frame, bounds: MomentRanges) -> dict[str, Frame]:
    """Starts worth trying, by name; those that are one state, or each other's time reversal, appear once.

    If the frame has moments: ``given``, and ``EL reversed`` for each magnetic element; always: ``parallel``, and
    ``high-spin`` and ``low-spin`` with the signs given. Magnetic are the sites whose range ends above
    :data:`~magflow.explore.candidate.INDUCED_MOMENT`; induced moments keep what they are given.

    Raises
    ------
    InputError
        If the frame is non-collinear, or none of its elements has a range of moments.
    """
    sites = site_moments(frame.species, bounds)
    if not (sites.high > 0.0).any():
        raise InputError("no element carries a moment", where="starts of a relaxation", seen=dict(bounds))
    given = (
        np.zeros(len(frame)) if frame.magmoms is None else np.clip(collinear(frame.magmoms), -sites.high, sites.high)
    )
    signs = np.where(given < 0.0, -1.0, 1.0)
    species = np.array(frame.species)

    def where_magnetic(moments: FloatArray) -> FloatArray:
        return np.where(sites.magnetic, moments, given)

    starts = {}
    if frame.magmoms is not None:
        reversible = dict.fromkeys(species[sites.magnetic].tolist())
        starts = {"given": given} | {f"{e} reversed": np.where(species == e, -given, given) for e in reversible}
    magnitude = np.where(given == 0.0, sites.high, np.abs(given))
    starts["parallel"] = where_magnetic(magnitude)
    starts["high-spin"] = where_magnetic(signs * sites.high)
    starts["low-spin"] = where_magnetic(signs * LOW_SPIN * sites.high)
    unique: dict[str, str] = {}
    frames = {name: frame.replace(magmoms=moments) for name, moments in starts.items()}
    for name, start in frames.items():
        unique.setdefault(start.frame_id, name)
    return {name: frames[name] for name in unique.values()}


def relax_from_starts(
    frame: Frame,
    model: Ensemble | Potential,
    bounds: MomentRanges,
    settings: RelaxSettings | None = None,
    progress: Progress | None = None,
) -> MultiStart:
    """Relax `frame` from each of its :func:`moment_starts`, side by side.

    Parameters and errors are those of :func:`magflow.explore.relaxation.joint.relax`; with the cell and the atoms held
    it is a search for the lowest moments at fixed atoms.
    """
    starts = moment_starts(frame, bounds)
    ends = relax_many(list(starts.values()), model, bounds, settings, progress)
    relaxations = dict(zip(starts, ends, strict=True))
    return MultiStart(relaxations, min(relaxations, key=lambda name: _rank(relaxations[name])))


def _rank(r: Relaxation) -> tuple[bool, bool, float]:
    """Converged ones first, then those only out of evaluations, then by enthalpy; a tie goes to the earlier start."""
    depth = round(r.enthalpy / len(r.frame), _SAME_ENERGY) if r.steps else np.inf
    return not r.converged, r.broken, depth
