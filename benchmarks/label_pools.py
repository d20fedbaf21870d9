"""Pools of labelled frames to choose from, and frames to test on, for benchmarks of selection and uncertainty.

`quick`: the domain of the quick campaign, two atoms, drawn evenly. `heterogeneous`: what an alloy campaign with
molecular dynamics meets: 12 strata of 15 and 16 atoms, Langevin dynamics of positions and moments on the spin-lattice
MODEL HAMILTONIAN, two trajectories of each; half of the pool is of two crystals at 300 K, liquids are 3 % of it; the
test has as many frames of each stratum, from other trajectories.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, make_supercell

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.units import KB
from magflow.dft.spin_lattice import SpinLatticeEngine, SpinLatticeModel
from magflow.explore.domain import DomainSettings, sample
from magflow.explore.prototypes import PrototypeSettings, build_prototypes
from magflow.io.extxyz import read_extxyz
from magflow.io.records import labeled_frames
from magflow.select.quotas import stratum

ELEMENTS = ["Al", "Fe"]
MOMENTS = {"Fe": (0.0, 2.8), "Al": (0.0, 0.1)}
PROTOTYPES = [
    PrototypeSettings(name="B2-FeAl", builder={"structure": "b2", "species": ["Fe", "Al"], "a": 2.884}),
    PrototypeSettings(
        name="bcc-Fe", builder={"structure": "bcc", "species": ["Fe"], "a": 2.836}, orderings=["FM", "AFM"]
    ),
]


@dataclass(frozen=True)
class Pool:
    """Labelled frames, each of a named stratum."""

    items: list[LabeledFrame]
    names: list[str]

    def take(self, indices) -> Pool:
        """Some of them."""
        return Pool([self.items[i] for i in indices], [self.names[i] for i in indices])

    def __len__(self) -> int:
        return len(self.items)


def split(pool: Pool, test: int, seed: int) -> tuple[Pool, Pool]:
    """The pool without so many random frames, and those."""
    order = np.random.default_rng(seed).permutation(len(pool))
    return pool.take(order[test:]), pool.take(order[:test])


def of_file(path: Path) -> Pool:
    """Labels of a file, by composition and magnetic ordering."""
    items = labeled_frames(read_extxyz(path))
    return Pool(items, [stratum(i.frame) for i in items])


def quick(n: int, seed: int) -> Pool:
    """n frames of the quick campaign's domain, labelled by the model Hamiltonian."""
    built = build_prototypes(PROTOTYPES, ELEMENTS, Path(), MOMENTS)
    found = sample(built, DomainSettings(spin_flip=0.0, disordered=0.0), MOMENTS, n, seed)
    items = labelled([candidate.frame for candidate in found])
    return Pool(items, [stratum(i.frame) for i in items])


def labelled(frames: list[Frame]) -> list[LabeledFrame]:
    """Labels of the model Hamiltonian at the moments of the frames."""
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(ELEMENTS)
    return [LabeledFrame(frame, engine.label(frame, level, Path())) for frame in frames]


@dataclass(frozen=True)
class Stratum:
    """A state of matter: crystal or alloy of which cubic lattice (A), temperature (K), order of the moments.

    `share` of the pool; `aluminium`: a share at random, or ``B2``, ``D03``, ``antisite`` (B2 with a pair exchanged).
    """

    name: str
    share: float
    a: float
    temperature: float
    aluminium: float | str = 0.0
    order: str = "FM"
    lattice: str = "bcc"
    vacancy: bool = False
    disorder: float | None = None
    """K, of the moments; None: the temperature."""


STRATA = (
    Stratum("Fe 300 K", 0.30, 2.836, 300),
    Stratum("FeAl B2 300 K", 0.25, 2.884, 300, "B2"),
    Stratum("Fe 1000 K", 0.12, 2.86, 1000),
    Stratum("Fe3Al D0_3 600 K", 0.10, 2.87, 600, "D03"),
    Stratum("Fe87Al13 1000 K", 0.06, 2.87, 1000, 0.125),
    Stratum("FeAl antisites 1000 K", 0.04, 2.90, 1000, "antisite"),
    Stratum("Fe vacancy 800 K", 0.03, 2.85, 800, vacancy=True),
    Stratum("Fe disordered moments 1500 K", 0.03, 2.90, 1500, order="DLM", disorder=4000),
    Stratum("Fe fcc AFM 1200 K", 0.02, 3.58, 1200, order="AFM", lattice="fcc"),
    Stratum("Fe compressed 1000 K", 0.02, 2.666, 1000),
    Stratum("Fe liquid 3500 K", 0.015, 2.95, 3500, order="DLM"),
    Stratum("FeAl liquid 3000 K", 0.015, 3.02, 3000, 0.5, order="DLM"),
)
MASS = {"Fe": 55.845, "Al": 26.982}
REST = {"Fe": 2.1, "Al": 0.02}
LARGEST = {"Fe": 3.2, "Al": 0.25}
"""muB."""
MOBILITY = {"Fe": 0.05, "Al": 0.004}
"""muB^2/eV in a step, of overdamped moments."""
STEP_FS, FRICTION, EQUILIBRATION = 2.5, 0.02, 150
"""fs, 1/fs, steps."""


def crystal(of: Stratum, rng: np.random.Generator) -> Atoms:
    """15 or 16 atoms with their moments, strained by up to 2 % and displaced by 0.05 A."""
    repeats = (2, 2, 2) if of.lattice == "bcc" else (2, 2, 1)
    atoms = make_supercell(bulk("Fe", of.lattice, a=of.a, cubic=True), np.diag(repeats))
    place = np.rint(2.0 * atoms.positions / of.a).astype(int)  # in halves of the lattice constant
    body = place[:, 0] % 2 == 1 if of.lattice == "bcc" else place[:, 2] % 2 == 1
    symbols = np.full(len(atoms), "Fe")
    if of.aluminium in ("B2", "antisite"):
        symbols[body] = "Al"
    elif of.aluminium == "D03":
        symbols[body & ((place // 2).sum(axis=1) % 2 == 0)] = "Al"
    else:
        symbols[rng.permutation(len(atoms))[: round(float(of.aluminium) * len(atoms))]] = "Al"
    if of.aluminium == "antisite":
        pair = [rng.choice(np.flatnonzero(symbols == s)) for s in ("Fe", "Al")]
        symbols[pair] = "Al", "Fe"
    sign = {"FM": 1.0, "AFM": np.where(body, 1.0, -1.0), "DLM": rng.choice([-1.0, 1.0], len(atoms))}[of.order]
    atoms.set_chemical_symbols(symbols.tolist())
    atoms.set_initial_magnetic_moments(sign * np.array([REST[s] for s in symbols]))
    if of.vacancy:
        del atoms[int(rng.integers(len(atoms)))]
    strain = rng.uniform(-0.02, 0.02, (3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
    atoms.positions += rng.normal(0.0, 0.05, atoms.positions.shape)
    return atoms


def trajectories(crystals: list[Atoms], states: list[Stratum], steps: int, every: int, rng: np.random.Generator):
    """Frames of every crystal, (crystals, frames): Langevin dynamics of atoms and moments, all side by side.

    Positions by BAOAB with :data:`FRICTION`; moments along z overdamped, kept within :data:`LARGEST`.
    """
    symbols = [s for atoms in crystals for s in atoms.get_chemical_symbols()]
    ends = np.cumsum([len(atoms) for atoms in crystals])
    where = [slice(end - len(atoms), end) for end, atoms in zip(ends, crystals, strict=True)]
    hot, wild = (
        np.concatenate([np.full(len(a), KB * t) for a, t in zip(crystals, temperatures, strict=True)])
        for temperatures in ([s.temperature for s in states], [s.disorder or s.temperature for s in states])
    )
    mass, mobile, most = (np.array([of[s] for s in symbols]) for of in (MASS, MOBILITY, LARGEST))
    positions = np.concatenate([atoms.positions for atoms in crystals])
    moments = np.concatenate([atoms.get_initial_magnetic_moments() for atoms in crystals])
    step, kept = STEP_FS * units.fs, np.exp(-FRICTION * STEP_FS)
    kick = np.sqrt(hot / mass)[:, None]
    velocities = kick * rng.normal(size=positions.shape)
    model, found = SpinLatticeModel(), [[] for _ in crystals]

    def frames() -> list[Frame]:
        return [
            Frame(tuple(symbols[w]), np.array(atoms.cell), positions[w], moments[w])
            for w, atoms in zip(where, crystals, strict=True)
        ]

    seen = model.predict(frames())
    for t in range(EQUILIBRATION + steps):
        velocities += 0.5 * step * np.clip(seen.forces, -30.0, 30.0) / mass[:, None]
        positions = positions + 0.5 * step * velocities
        velocities = kept * velocities + np.sqrt(1.0 - kept**2) * kick * rng.normal(size=positions.shape)
        positions += 0.5 * step * velocities
        pull = mobile * np.clip(seen.magnetic_forces[:, 2], -5.0, 5.0)
        moments = np.clip(moments + pull + np.sqrt(2.0 * wild * mobile) * rng.normal(size=len(moments)), -most, most)
        now = frames()
        seen = model.predict(now)
        velocities += 0.5 * step * np.clip(seen.forces, -30.0, 30.0) / mass[:, None]
        if t >= EQUILIBRATION and (t - EQUILIBRATION) % every == 0:
            for mine, frame in zip(found, now, strict=True):
                mine.append(frame)
    return found


def heterogeneous(n: int, of_each: int, seed: int) -> tuple[Pool, Pool]:
    """About n frames to choose from, in the shares of :data:`STRATA`, and `of_each` stratum to test on."""
    rng = np.random.default_rng(seed)

    def drawn(number: dict[str, int], steps: int, every: int) -> Pool:
        states = [state for state in STRATA for _ in range(2)]
        found = trajectories([crystal(state, rng) for state in states], states, steps, every, rng)
        pairs = []
        for k, state in enumerate(STRATA):
            mine = [*found[2 * k], *found[2 * k + 1]]
            pairs += [(state.name, mine[i]) for i in rng.permutation(len(mine))[: number[state.name]]]
        mixed = [pairs[i] for i in rng.permutation(len(pairs))]
        return Pool(labelled([frame for _, frame in mixed]), [name for name, _ in mixed])

    pool = drawn({s.name: round(s.share * n) for s in STRATA}, steps=800, every=3)
    return pool, drawn({s.name: of_each for s in STRATA}, steps=300, every=20)
