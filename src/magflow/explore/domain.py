"""Even sampling of the declared domain: volume, strain, displacements and moments of every prototype.

Each prototype has its own scrambled Sobol sequence over all its coordinates, so that any number of samples covers
the domain evenly and the next ones fill the gaps; samples are spread over the prototypes in proportion to their
weights by a golden-ratio sequence. Sample k of a seed is always the same, whatever is drawn before or after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.arrays import digest
from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.explore.candidate import Candidate, DisplacementRange, MomentRanges, site_moments
from magflow.explore.geometry import nearest_distance, too_close
from magflow.explore.orderings import PrototypeOrdering
from magflow.explore.prototypes import Prototype

_GOLDEN = (5**0.5 - 1) / 2
_MAX_HALVINGS = 30


class DomainSettings(BaseModel):
    """The domain of configurations a potential is to be good for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    volume: tuple[float, float] = Field(default=(-0.09, 0.09), description="relative change of the volume, uniform")
    strain: float = Field(
        default=0.03,
        ge=0,
        le=0.3,
        description="largest component of the symmetric strain applied to the scaled cell, uniform in +-",
    )
    displacement: DisplacementRange = Field(
        default=0.1,
        description="displacement of each atom, A rms: sqrt(<|u|^2>), Gaussian; [low, high]: uniform over the frames, "
        "so that some are near rest",
    )
    spin_flip: float = Field(default=0.05, ge=0, le=1, description="fraction of samples with one moment reversed")
    disordered: float = Field(default=0.1, ge=0, le=1, description="fraction of samples with random signs")
    min_distance: float | None = Field(
        default=None, gt=0, description="shortest distance allowed, A; default 0.7 of the prototype's own"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.volume
        if not -0.9 < low <= high < 3.0:
            raise ValueError("volume needs two numbers, -0.9 < low <= high < 3")
        return self


@dataclass(frozen=True)
class Samples:
    """Samples of the domain, and how many of them were pulled in because atoms came too close."""

    candidates: list[Candidate]
    pulled_in: int


def sample(
    prototypes: Sequence[Prototype],
    domain: DomainSettings,
    moments: MomentRanges,
    n: int,
    seed: int,
    skip: int = 0,
) -> list[Candidate]:
    """The candidates of :func:`draw`."""
    return draw(prototypes, domain, moments, n, seed, skip).candidates


def draw(
    prototypes: Sequence[Prototype],
    domain: DomainSettings,
    moments: MomentRanges,
    n: int,
    seed: int,
    skip: int = 0,
) -> Samples:
    """Samples `skip` to `skip` + `n` of the domain.

    The cell is scaled to a volume of the range and then strained by 1 + e; the atoms follow and are displaced.
    Magnetic sites get a magnitude uniform in their range, which a prototype may narrow, times the sign of the
    ordering, induced sites a magnitude uniform in theirs with either sign, prototypes of order NM no moments. A sample
    with atoms closer than the shortest distance allowed is moved half-way to the ideal structure until it has none.

    Raises
    ------
    InputError
        If there is no prototype, or an ideal structure itself is below the shortest distance.
    """
    if not prototypes:
        raise InputError("no prototypes to sample", expected="at least one")
    shortest = [_shortest_allowed(p, domain) for p in prototypes]
    owner = _assign(prototypes, skip + n)
    out: list[Candidate | None] = [None] * n
    pulled_in = 0
    for p, prototype in enumerate(prototypes):
        mine = np.flatnonzero(owner == p)
        rows = mine[mine >= skip] - skip
        source = f"perturbation:{prototype.label}"
        before = mine.size - rows.size
        frames, pulled = _frames(prototype, domain, moments, rows.size, seed, before, shortest[p])
        for row, frame in zip(rows, frames, strict=True):
            out[row] = Candidate(frame, source)
        pulled_in += pulled
    return Samples([c for c in out if c is not None], pulled_in)


def _assign(prototypes: Sequence[Prototype], n: int) -> IntArray:
    """(n,) prototype of each sample; weights are shared out among the orderings of one name."""
    names = [p.name for p in prototypes]
    shares = np.array([p.weight / names.count(p.name) for p in prototypes])
    edges = np.cumsum(shares) / shares.sum()
    edges[-1] = 1.0
    return np.searchsorted(edges, (0.5 + _GOLDEN * np.arange(n)) % 1.0, side="right")


def _frames(
    prototype: Prototype, domain: DomainSettings, moments: MomentRanges, n: int, seed: int, skip: int, shortest: float
) -> tuple[list[Frame], int]:
    """Samples `skip` to `skip` + `n` of one prototype, and how many of them were pulled in."""
    from scipy.special import ndtri

    if n == 0:
        return [], 0
    atoms = len(prototype.frame)
    magnetic = np.array(prototype.pattern) != 0
    widths = [1, 6, 3 * atoms]
    if prototype.ordering is not PrototypeOrdering.NM:
        widths += [atoms, 2, int(magnetic.sum())]
    displacement = domain.displacement if prototype.displacement is None else prototype.displacement
    if isinstance(displacement, tuple):
        widths += [1]
    u = np.split(_points(sum(widths), n, skip, _stream(seed, prototype)), np.cumsum(widths)[:-1], axis=1)
    displaced = _displacement(displacement, u[-1])[:, None, None] / np.sqrt(3.0) * ndtri(u[2].reshape(n, atoms, 3))
    geometry = _Geometry(prototype.frame, domain, u[0][:, 0], u[1], displaced)
    cells, positions, pulled = geometry.guarded(shortest)
    if prototype.ordering is PrototypeOrdering.NM:
        return [Frame(prototype.frame.species, c, x) for c, x in zip(cells, positions, strict=True)], pulled
    signs = _signs(prototype, domain, u[4], u[5])
    magmoms = np.zeros((n, atoms, 3))
    magmoms[:, :, 2] = _collinear(prototype, moments, u[3], signs)
    species = prototype.frame.species
    return [Frame(species, c, x, m) for c, x, m in zip(cells, positions, magmoms, strict=True)], pulled


def _displacement(displacement: DisplacementRange, u: FloatArray) -> FloatArray:
    """(n,) displacement of the atoms of each sample, A rms; the first column of `u` in (0, 1) says where in a range."""
    if not isinstance(displacement, tuple):
        return np.full(len(u), displacement)
    low, high = displacement
    return low + (high - low) * u[:, 0]


def _stream(seed: int, prototype: Prototype) -> int:
    return int(digest([str(seed).encode(), prototype.label.encode()], 16), 16)


def _points(dimensions: int, n: int, skip: int, seed: int) -> FloatArray:
    """(n, dimensions) points `skip` to `skip` + `n` of a scrambled Sobol sequence in the open unit cube."""
    from scipy.stats import qmc

    if dimensions > qmc.Sobol.MAXDIM:
        raise InputError("a prototype has too many atoms to be sampled", seen=f"{dimensions} coordinates")
    engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    # one point first: scipy warns when a sequence is started with a number that is not a power of two
    first = engine.random(1)
    if skip > 1:
        engine.fast_forward(skip - 1)
    points = engine.random(n) if skip else np.vstack([first, engine.random(n - 1)]) if n > 1 else first
    inside: FloatArray = np.clip(points, 1e-9, 1.0 - 1e-9)
    return inside


@dataclass(frozen=True, eq=False)
class _Geometry:
    """n deformed copies of `frame`: `volume` (n,) and `strain` (n, 6) in (0, 1), `displacement` (n, N, 3) in A."""

    frame: Frame
    domain: DomainSettings
    volume: FloatArray
    strain: FloatArray
    displacement: FloatArray

    def build(self, rows: IntArray, amplitude: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Cells (k, 3, 3) and positions (k, N, 3) of some rows, deformed by `amplitude` times the sample, A."""
        low, high = self.domain.volume
        scale = np.cbrt(1.0 + amplitude * (low + (high - low) * self.volume[rows]))
        e = amplitude * self.domain.strain * (2.0 * self.strain[rows] - 1.0)
        deformation = np.array([np.eye(3) + tensor(six) for six in e]) * scale[:, None, None]
        positions = self.frame.positions @ deformation + amplitude * self.displacement[rows]
        return self.frame.cell @ deformation, positions

    def guarded(self, shortest: float) -> tuple[FloatArray, FloatArray, int]:
        """Cells and positions of all rows, none with atoms closer than `shortest` A, and how many were pulled in."""
        cells, positions = self.build(np.arange(len(self.volume)))
        bad = np.flatnonzero(too_close(cells, positions, shortest))
        pulled = int(bad.size)
        for halving in range(1, _MAX_HALVINGS):
            if not bad.size:
                break
            cells[bad], positions[bad] = self.build(bad, 0.5**halving)
            bad = bad[too_close(cells[bad], positions[bad], shortest)]
        return cells, positions, pulled


def _shortest_allowed(prototype: Prototype, domain: DomainSettings) -> float:
    own = nearest_distance(prototype.frame)
    if domain.min_distance is None:
        return 0.7 * own
    if domain.min_distance >= own:
        raise InputError(
            "min_distance forbids the ideal structure",
            where=f"prototype {prototype.name}",
            seen=f"{domain.min_distance:g} A",
            expected=f"below its shortest distance, {own:.3f} A",
        )
    return domain.min_distance


def _signs(prototype: Prototype, domain: DomainSettings, choice: FloatArray, random: FloatArray) -> FloatArray:
    """(n, N) signs of the magnetic sites; `choice` (n, 2) and `random` (n, magnetic sites) in (0, 1)."""
    sites = np.flatnonzero(prototype.pattern)
    signs = np.tile(np.array(prototype.pattern, dtype=float), (len(choice), 1))
    if sites.size < 2:  # one sign alone is time reversal, not another state
        return signs
    dlm = prototype.ordering is PrototypeOrdering.DLM
    disordered = np.full(len(choice), True) if dlm else choice[:, 0] < domain.disordered
    flipped = np.flatnonzero(~disordered & (choice[:, 0] > 1.0 - (1.0 - domain.disordered) * domain.spin_flip))
    signs[np.ix_(disordered, sites)] = np.where(random[disordered] < 0.5, -1.0, 1.0)
    signs[flipped, sites[(choice[flipped, 1] * sites.size).astype(int)]] *= -1.0
    return signs


def _collinear(prototype: Prototype, moments: MomentRanges, u: FloatArray, signs: FloatArray) -> FloatArray:
    """(n, N) moments along z, muB; `u` (n, N) in (0, 1)."""
    site = site_moments(prototype.frame.species, {**moments, **prototype.moments})
    either = np.abs(2.0 * u - 1.0)  # sign and magnitude of an induced moment from one coordinate
    magnitude = site.low + (site.high - site.low) * np.where(site.induced, either, u)
    return magnitude * np.where(site.induced, np.where(u < 0.5, -1.0, 1.0), signs)
