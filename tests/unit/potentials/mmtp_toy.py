"""Labels with exact derivatives from a small magnetic pair model, for tests of the fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.units import voigt
from magflow.potentials.mmtp.geometry import build_geometry

TOY = LevelOfTheory("toy", "1", LabelKind.CONSTRAINED, "pair model Hamiltonian")
ATOM = {"Fe": -5.0, "Al": -3.0}
LANDAU = {"Fe": (-0.30, 0.03), "Al": (4.0, 0.0)}


def random_frames(n: int, seed: int, *, magnetic: bool = True, species: Sequence[str] = ("Fe", "Al")) -> list[Frame]:
    """Distorted two-atom cubic cells, the second atom in turn any of `species`."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(n):
        cell = 2.85 * (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3)))
        positions = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) @ cell + rng.normal(0, 0.08, (2, 3))
        symbols = (species[0], species[k % len(species)])
        largest = np.array([0.1 if s == "Al" else 2.5 for s in symbols])
        frames.append(Frame(symbols, cell, positions, rng.uniform(-1, 1, 2) * largest if magnetic else None))
    return frames


def label(frame: Frame) -> LabeledFrame:
    """E = sum e_z + a m^2 + b m^4 + half sum over pairs (r_c - r)^2 (A exp(-r) - J m_i m_j)."""
    cutoff = 4.5
    magnetic = frame.magmoms is not None
    g = build_geometry([frame], tuple(sorted(set(frame.species))), cutoff, magnetic=magnetic)
    m = g.moment
    n = len(frame)
    i = np.repeat(np.arange(n), np.diff(g.first))
    j = g.neighbour
    r = np.linalg.norm(g.vector, axis=1)
    t = cutoff - r
    bond = 8.0 * np.exp(-r) - 0.01 * m[i] * m[j]
    energy = 0.5 * float((t**2 * bond).sum())
    slope = 0.5 * (-2 * t * bond - t**2 * 8.0 * np.exp(-r))
    pair = (slope / r)[:, None] * g.vector
    gradient = np.zeros((n, 3))
    np.add.at(gradient, j, pair)
    np.add.at(gradient, i, -pair)
    dm = np.zeros(n)
    np.add.at(dm, i, -0.01 * t**2 * m[j])
    a, b = np.array([LANDAU[s] for s in frame.species]).T
    energy += float((a * m**2 + b * m**4).sum()) + sum(ATOM[s] for s in frame.species)
    dm += 2 * a * m + 4 * b * m**3
    forces = np.zeros((n, 3))
    forces[:, 2] = -dm
    return LabeledFrame(
        frame,
        Label(
            frame.frame_id,
            TOY,
            frame.orientation,
            energy=energy,
            forces=-gradient,
            stress=voigt(g.vector.T @ pair) / frame.volume,
            magmoms=frame.magmoms,
            magnetic_forces=forces if magnetic else None,
        ),
    )


def toy_labels(n: int, seed: int, **kwargs: object) -> list[LabeledFrame]:
    """`n` labelled random frames."""
    return [label(frame) for frame in random_frames(n, seed, **kwargs)]  # type: ignore[arg-type]
