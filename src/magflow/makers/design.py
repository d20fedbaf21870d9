"""What a selection by expected errors is given: what the labels so far leave undecided, and what a label costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.dft.spin_lattice import FE_AL, SpinLatticeModel, like_iron

ALIKE = 60
"""Frames that the model Hamiltonian labels before there is any label."""
CHEAP = 1.0
"""Core-seconds below which nobody counts what a label takes."""
_GROWTH = 2.0
"""Power of the number of atoms that costs are taken to grow with, for compositions of which none is known."""


def alike(frames: Sequence[Frame], kind: LabelKind) -> list[LabeledFrame]:
    """Labels of the spin-lattice model Hamiltonian in place of those of `kind`; they are no DFT and train nothing.

    Of Fe-Al, or of elements taken for iron of another size (:func:`~magflow.dft.spin_lattice.like_iron`).
    """
    elements = tuple(sorted({s for f in frames for s in f.species}))
    known = set(elements) <= set(FE_AL.species)
    model = SpinLatticeModel() if known else SpinLatticeModel(like_iron(elements))
    level = LevelOfTheory("spin-lattice model Hamiltonian in place of another engine", "1", kind, "none")
    if kind is LabelKind.NON_MAGNETIC:
        frames = [f.non_magnetic() for f in frames]
    found, items = model.predict(frames), []
    for k, frame in enumerate(frames):
        mine = found.frame(k)
        label = Label(
            frame.frame_id,
            level,
            frame.orientation,
            energy=float(mine.energy[0]),
            forces=mine.forces,
            stress=mine.stress[0],
            magmoms=frame.magmoms,
            magnetic_forces=mine.magnetic_forces if kind is LabelKind.CONSTRAINED else None,
        )
        items.append(LabeledFrame(frame, label))
    return items


def label_costs(
    frames: Sequence[Frame], declared: float | Mapping[str, float] | None, labels: Sequence[LabeledFrame]
) -> FloatArray | None:
    """(n,) core-seconds a label of each frame is expected to take; None if nothing tells frames apart.

    The mean of the finished labels of its composition, or what was `declared` for that; for other compositions what
    the known ones take per atom squared. One declared number tells no frames apart. No two runs of a program take the
    same time, but the same campaign has to choose the same frames: means are rounded to powers of the root of two, and
    those below :data:`CHEAP` are not looked at.
    """
    seconds: dict[str, list[float]] = {}
    for item in labels:
        if item.label.cost.wall_seconds > 0.0:
            seconds.setdefault(item.frame.formula, []).append(3600.0 * item.label.cost.core_hours)
    means = {formula: float(np.mean(values)) for formula, values in seconds.items()}
    known = dict(declared) if isinstance(declared, Mapping) else {}
    known |= {formula: 2.0 ** (np.round(2.0 * np.log2(m)) / 2.0) for formula, m in means.items() if m >= CHEAP}
    sizes = {item.frame.formula: len(item.frame) for item in labels} | {f.formula: len(f) for f in frames}
    per_size = [np.log(known[f]) - _GROWTH * np.log(sizes[f]) for f in known if f in sizes]
    if not per_size:
        return None
    other = float(np.exp(np.mean(per_size)))
    return np.array([known.get(f.formula, other * len(f) ** _GROWTH) for f in frames])
