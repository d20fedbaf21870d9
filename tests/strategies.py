"""Hypothesis strategies for the nouns of the house."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from magflow.core.frame import Frame
from magflow.core.label import Cost, Label, LabeledFrame, LabelKind, LevelOfTheory

ELEMENTS = ("Al", "Fe", "Ni", "O")
finite = st.floats(-1e3, 1e3, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-12)
LEVEL = LevelOfTheory(
    "abinit", "9.6.2", LabelKind.CONSTRAINED, "PBE", {"Fe": "abc"}, {"ecut_ha": 10.0, "mesh": [4, 4, 4]}
)


def vectors(n: int, limit: float = 10.0) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, (n, 3), elements=st.floats(-limit, limit, allow_nan=False))


@st.composite
def moments(draw: st.DrawFn, n: int, vector: bool | None = None) -> np.ndarray:
    """(n, 3) moments: along z, or with x and y components."""
    m = draw(vectors(n, 4.0))
    if not (draw(st.booleans()) if vector is None else vector):
        m[:, :2] = 0.0
    return m


@st.composite
def frames(draw: st.DrawFn, magnetic: bool | None = None, vector: bool | None = None) -> Frame:
    n = draw(st.integers(1, 5))
    species = tuple(draw(st.lists(st.sampled_from(ELEMENTS), min_size=n, max_size=n)))
    cell = np.diag(draw(hnp.arrays(np.float64, 3, elements=st.floats(2.0, 9.0))))
    cell += draw(hnp.arrays(np.float64, (3, 3), elements=st.floats(-0.3, 0.3)))
    magmoms = draw(moments(n, vector)) if (draw(st.booleans()) if magnetic is None else magnetic) else None
    constrained = draw(st.none() | hnp.arrays(np.bool_, n)) if magmoms is not None else None
    return Frame(species, cell, draw(vectors(n)), magmoms, constrained)


@st.composite
def labeled_frames(draw: st.DrawFn, magnetic: bool | None = None, vector: bool | None = None) -> LabeledFrame:
    frame = draw(frames(magnetic, vector))
    n = len(frame)
    magnetic_forces = None
    if frame.magmoms is not None:
        magnetic_forces = draw(vectors(n))
        if not frame.magmoms[:, :2].any():
            magnetic_forces[:, :2] = 0.0
        if frame.constrained is not None:
            magnetic_forces[~frame.constrained] = np.nan
    achieved = (
        None if frame.magmoms is None else draw(st.just(frame.magmoms.copy()) | moments(n, frame.magmoms[:, :2].any()))
    )
    label = Label(
        frame.frame_id,
        LEVEL,
        frame.orientation,
        energy=draw(finite),
        forces=draw(st.none() | vectors(n)),
        stress=draw(st.none() | hnp.arrays(np.float64, 6, elements=st.floats(-5, 5))),
        magmoms=achieved,
        magnetic_forces=magnetic_forces,
        cost=Cost(1.5, 2.5, 2),
        attempts=draw(st.integers(1, 4)),
        details=draw(st.just({}) | st.just({"scf_steps": 17, "note": 'a "quoted" \\ text', "list": [1, 2.5]})),
    )
    return LabeledFrame(frame, label)


def same_frame(a: Frame, b: Frame) -> bool:
    """Bit for bit."""
    return (
        a.species == b.species
        and np.array_equal(a.cell, b.cell)
        and np.array_equal(a.positions, b.positions)
        and _same(a.magmoms, b.magmoms)
        and _same(a.constrained, b.constrained)
        and a.frame_id == b.frame_id
    )


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def same_numbers(a: Label, b: Label, exact: bool = True) -> bool:
    """Energy, forces, stress, moments, magnetic forces."""
    if not exact and (a.stress is None) != (b.stress is None):
        return False
    stress = _same(a.stress, b.stress) if exact or a.stress is None else np.allclose(a.stress, b.stress, atol=1e-13)
    names = ("forces", "magmoms", "magnetic_forces")
    return a.energy == b.energy and bool(stress) and all(_same(getattr(a, n), getattr(b, n)) for n in names)


def same_label(a: Label, b: Label) -> bool:
    """Everything a label holds, bit for bit."""
    fields = ("label_id", "orientation", "level_of_theory", "cost", "attempts", "failure")
    return (
        same_numbers(a, b)
        and all(getattr(a, f) == getattr(b, f) for f in fields)
        and dict(a.details) == dict(b.details)
    )
