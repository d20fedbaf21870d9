"""Solid solutions: another element on a share of the sites, arranged as randomly as a small cell allows."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError

_REACH = 6.0  # A, of the pairs whose numbers are held near those of a random alloy
_DRAWS = 200


class Substitution(BaseModel):
    """Which sites of the supercell hold another element."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replace: str = Field(description="element whose sites are shared")
    by: str = Field(description="element that takes a share of them")
    fraction: float = Field(gt=0, lt=1, description="share of the sites, rounded to whole atoms of the supercell")
    configurations: int = Field(
        default=1, ge=1, le=64, description="arrangements, at most; as far as the cell has different ones"
    )
    seed: int = Field(default=0, ge=0, description="another seed, other arrangements")

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.replace == self.by:
            raise ValueError("replace and by must be different elements")
        return self


def substituted(frame: Frame, settings: Substitution, where: str) -> list[Frame]:
    """`frame` in the arrangements whose pairs come nearest to a random alloy's, nearest first.

    Out of 200 random arrangements those are taken whose numbers of pairs of substituted atoms, shell by shell within
    6 A, differ least from their expectation: n (n - 1) / N (N - 1) of all pairs for n of N sites. That is the idea of
    special quasirandom structures (Zunger et al., Phys. Rev. Lett. 65, 353 (1990)), for pairs only. Arrangements with
    the same numbers of pairs count as one.

    Raises
    ------
    InputError
        If `frame` has no such sites, or so few that the share rounds to none or all of them.
    """
    sites = np.flatnonzero(np.array(frame.species) == settings.replace)
    number = round(settings.fraction * sites.size)
    if not 0 < number < sites.size:
        raise InputError(
            "the share of substituted sites is none or all of them",
            where=where,
            seen=f"{settings.fraction:g} of {sites.size} {settings.replace} sites",
            hint="use a larger supercell or another fraction",
        )
    i, j, shell = _pairs(frame, sites)
    expected = np.bincount(shell, np.where(i == j, number / sites.size, _both(number, sites.size))).astype(float)
    rng = np.random.default_rng(settings.seed)
    found: dict[bytes, tuple[float, IntArray]] = {}
    for _ in range(_DRAWS):
        chosen = np.sort(rng.permutation(sites.size)[:number])
        taken = np.isin(np.arange(sites.size), chosen).astype(float)
        pairs = np.bincount(shell, taken[i] * taken[j]).astype(float)
        found.setdefault(pairs.tobytes(), (_distance(pairs, expected, shell), sites[chosen]))
    best = sorted(found.values(), key=lambda entry: entry[0])[: settings.configurations]
    return [_with(frame, places, settings.by) for _, places in best]


def _pairs(frame: Frame, sites: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Pairs of `sites` within reach, periodic images included: both sites (by their number in `sites`), the shell."""
    from magflow.core.neighbours import NeighborList

    search = NeighborList(cutoff=_REACH, full_list=False, n_threads=1)
    i, j, d = search.compute(points=frame.positions[sites], box=frame.cell, periodic=True, quantities="ijd")
    shell = np.unique(np.rint(d * 100.0), return_inverse=True)[1]
    return i.astype(np.int64), j.astype(np.int64), shell


def _both(number: int, sites: int) -> float:
    """Probability that two different sites are both substituted."""
    return number * (number - 1) / (sites * (sites - 1))


def _distance(pairs: FloatArray, expected: FloatArray, shell: IntArray) -> float:
    """Mean over the shells of what the share of substituted pairs is off by."""
    return float(np.mean(np.abs(pairs - expected) / np.bincount(shell)))


def _with(frame: Frame, places: IntArray, element: str) -> Frame:
    species = list(frame.species)
    for place in places:
        species[place] = element
    return Frame(tuple(species), frame.cell, frame.positions, frame.magmoms, frame.constrained)
