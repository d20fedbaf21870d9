"""Frames and members evaluated together: as each alone, whatever shares the lanes, the batch or the cache."""

from __future__ import annotations

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential

from magflow.core.frame import Frame
from magflow.core.prediction import QUANTITIES, Prediction
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.geometry import flatten
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.native import kernel
from magflow.potentials.mmtp.together import predict_together


def repeated(frame: Frame, times: int, seed: int) -> Frame:
    """`times` cells along each axis, atoms displaced."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[np.arange(times)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3) @ frame.cell
    positions = (frame.positions + corners).reshape(-1, 3)
    n = times**3
    moved = positions + rng.normal(0, 0.03, positions.shape)
    return Frame(frame.species * n, times * frame.cell, moved, np.tile(frame.magmoms, (n, 1)))


def squeezed(distance: float) -> Frame:
    """Four atoms, two of them `distance` apart."""
    frame = random_frame(3)
    positions = frame.positions.copy()
    positions[1] = positions[0] + distance * np.array([0.6, 0.8, 0.0])
    return frame.replace(positions=positions)


FRAMES = [
    random_frame(1),
    repeated(random_frame(2), 5, 0),
    *map(random_frame, range(3, 90)),
    repeated(random_frame(4), 4, 1),
]
"""Batches of small cells, a cell of 500 atoms that is taken in parts, and one of 256."""


def largest_difference(a: Prediction, b: Prediction) -> float:
    """Of all quantities, over the largest number of each."""
    pairs = [(getattr(a, q), getattr(b, q)) for q in QUANTITIES]
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in pairs)


@pytest.mark.parametrize("name", kernel().instruction_sets())
@pytest.mark.parametrize("form", [Form.EVEN, Form.PAPER])
def test_as_from_lists_that_are_held(form, name):
    potential = random_potential(form, level=12, n_phi=8, n_psi=2)
    said = predict_together([potential.model], FRAMES, instruction_set=name)[0]
    assert largest_difference(said, potential.predict_geometry(potential.geometry(FRAMES))) < 1e-13


@pytest.mark.parametrize("frames", [FRAMES, [FRAMES[0]], []])
def test_frames_lie_flat_as_they_are_given(frames):
    flat = flatten(frames, ("Fe", "Al"), magnetic=True)
    assert flat.counts.tolist() == [len(f) for f in frames]
    assert flat.type.tolist() == [int(s == "Al") for f in frames for s in f.species]
    for name, shape in (("positions", (-1, 3)), ("cells", (-1, 3, 3))):
        given = [getattr(f, name.removesuffix("s") if name == "cells" else name) for f in frames]
        assert np.array_equal(getattr(flat, name), np.array([x for g in given for x in g.ravel()]).reshape(shape))
    assert flat.moment.tolist() == [m for f in frames for m in f.magmoms[:, 2]]
    assert not flatten(frames, ("Fe", "Al"), magnetic=False).moment.any()


@pytest.mark.parametrize(
    ("species", "magmoms", "message"),
    [
        (("Fe", "Al", "Xe", "Fe"), np.ones(4), "does not know"),
        (("Fe",) * 4, None, "needs moments"),
        (("Fe",) * 4, np.eye(4, 3), "non-collinear"),
    ],
)
def test_the_frame_that_the_kernel_cannot_take_is_named(species, magmoms, message):
    potential, frame = random_potential(Form.EVEN), random_frame(3)
    with pytest.raises(InputError, match=message) as caught:
        potential.predict([frame, Frame(species, frame.cell, frame.positions, magmoms), frame])
    assert "frame 1" in str(caught.value)


def test_members_of_several_forms_and_levels_do_not_touch_each_other():
    members = [
        random_potential(Form.EVEN, level=12, n_phi=8, seed=1),
        random_potential(Form.PAPER, level=8, n_psi=2, seed=2),
        random_potential(Form.EVEN, level=8, n_psi=1, seed=3),
    ]
    together = PotentialEnsemble(tuple(members), "mmtp").member_predictions(FRAMES)
    for member, said in zip(members, together, strict=True):
        alone = member.predict(FRAMES)
        assert all(np.array_equal(getattr(said, q), getattr(alone, q)) for q in QUANTITIES)


def test_without_moments_there_are_no_forces_along_them():
    bare = Frame(FRAMES[0].species, FRAMES[0].cell, FRAMES[0].positions)
    said = random_potential(n_psi=1).predict([bare])
    assert said.magnetic_forces is None
    assert np.array_equal(said.forces, random_potential(n_psi=1).predict([FRAMES[0]]).forces)


def test_no_frames_give_an_empty_prediction():
    said = random_potential().predict([])
    assert len(said) == 0
    assert said.forces.shape == (0, 3)


def test_the_frame_whose_atoms_are_too_close_is_named():
    with pytest.raises(InputError, match="frame 2"):
        random_potential().predict([FRAMES[0], FRAMES[1], squeezed(0.3), FRAMES[3]])


@pytest.mark.parametrize("n_phi", [5, 8])
def test_energies_do_not_depend_by_a_bit_on_an_atom_below_the_range_in_the_next_lane(n_phi):
    potential = random_potential(level=12, n_phi=n_phi)
    alone = potential.atomic_energies([FRAMES[0]])
    beside = potential.atomic_energies([FRAMES[0], squeezed(1.2), squeezed(0.9)])
    assert np.array_equal(alone, beside[: len(alone)])


@pytest.mark.parametrize("n_psi", [1, 2, 3])
@pytest.mark.parametrize("n_phi", [1, 2, 5, 8])
@pytest.mark.parametrize("distance", [1.1, 1.7999, 1.8001, 2.4])
def test_forces_are_the_slopes_below_the_range_and_inside(distance, n_phi, n_psi):
    potential = random_potential(level=12, n_phi=n_phi, n_psi=n_psi)
    frame = squeezed(distance)
    along = np.zeros((4, 3))
    along[1] = [0.6, 0.8, 0.0]
    energy = [
        potential.predict([frame.replace(positions=frame.positions + h * along)]).energy[0] for h in (-1e-5, 1e-5)
    ]
    said = potential.predict([frame])
    scale = max(float(np.abs(said.forces).max()), 1.0)
    assert abs((said.forces * along).sum() + (energy[1] - energy[0]) / 2e-5) < 1e-6 * scale
    for atom in range(4) if n_psi > 1 else ():
        tilt = np.zeros((4, 3))
        tilt[atom, 2] = 1e-5
        energy = [potential.predict([frame.replace(magmoms=frame.magmoms + h * tilt)]).energy[0] for h in (-1, 1)]
        slope = (energy[1] - energy[0]) / 2e-5
        assert abs(said.magnetic_forces[atom, 2] + slope) < 1e-6 * max(float(np.abs(said.magnetic_forces).max()), 1.0)
