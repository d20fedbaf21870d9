"""Labels that somebody else has computed, in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame, LabelKind, LevelOfTheory
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import write_extxyz

ELEMENTS = ("Al", "Fe")


def frames(n: int, seed: int = 0) -> list[Frame]:
    """B2 cells, displaced, with moments within the range of the tiny campaign."""
    rng = np.random.default_rng(seed)
    places = np.array([[0.0, 0, 0], [1.45, 1.45, 1.45]])
    return [
        Frame(
            ("Fe", "Al"),
            rng.uniform(2.85, 2.95) * np.eye(3),
            places + rng.normal(0, 0.05, (2, 3)),
            [rng.uniform(1, 2.4), rng.uniform(0, 0.1)],
        )
        for _ in range(n)
    ]


def level(kind: LabelKind = LabelKind.CONSTRAINED) -> LevelOfTheory:
    """Of the model Hamiltonian."""
    return SpinLatticeEngine(kind=kind).level_of_theory(ELEMENTS)


def labels(n: int, seed: int = 0, kind: LabelKind = LabelKind.CONSTRAINED) -> list[LabeledFrame]:
    """Labels of the model Hamiltonian."""
    engine = SpinLatticeEngine(kind=kind)
    chosen = [f.non_magnetic() if kind is LabelKind.NON_MAGNETIC else f for f in frames(n, seed)]
    return [LabeledFrame(f, engine.label(f, level(kind), Path())) for f in chosen]


def write_labels(path: Path, n: int, seed: int = 0, kind: LabelKind = LabelKind.CONSTRAINED) -> Path:
    """The same in an extended XYZ file."""
    write_extxyz(path, labels(n, seed, kind))
    return path
