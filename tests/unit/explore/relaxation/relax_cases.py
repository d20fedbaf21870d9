"""Distorted Fe and Fe-Al cells for the tests of the relaxation."""

from __future__ import annotations

import numpy as np

from magflow.core.frame import Frame

BOUNDS = {"Fe": (0.0, 3.0), "Al": (0.0, 0.3)}
CUBE = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])


def cube(species, a, moments):
    """The ideal bcc or B2 cell."""
    return Frame(tuple(species), a * np.eye(3), a * CUBE, moments)


def distorted(species, seed, *, repeats=1, a=2.86, strain=0.02, displacement=0.05, moments=(2.0, 2.0)):
    """A supercell of the bcc or B2 cell, strained, displaced and with moments spread around `moments`."""
    rng = np.random.default_rng(seed)
    grid = np.array([[i, j, k] for i in range(repeats) for j in range(repeats) for k in range(repeats)])
    fractions = (grid[:, None] + CUBE[None]).reshape(-1, 3) / repeats
    cell = repeats * a * (np.eye(3) + rng.uniform(-strain, strain, (3, 3)))
    n = len(fractions)
    positions = fractions @ cell + rng.normal(0, displacement, (n, 3))
    m = np.tile(moments, n // 2) * rng.uniform(0.8, 1.2, n)
    return Frame(tuple(species) * (n // 2), cell, positions, m)
