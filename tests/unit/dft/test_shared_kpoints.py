"""One set of k-points for all cells of a crystal."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.dft.abinit import AbinitEngine
from magflow.dft.kpoints import Shared, kpoint_lattice
from magflow.errors import InputError
from magflow.explore.shapes import cells_of

A = 2.86
BCC = Frame(("Fe",), A / 2 * (np.ones((3, 3)) - 2 * np.eye(3)), [[0, 0, 0]])
FOUR = Shared(cube=4 * A)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_cells_of_every_shape_share_their_points(size):
    cells = [frame.cell for frame in cells_of(BCC, size)]
    if size == 8:  # some of these do not fit into four lattice constants
        cells = [c for c in cells if np.allclose(4 * A * np.linalg.inv(c), np.rint(4 * A * np.linalg.inv(c)))]
    assert len(cells) >= {1: 1, 2: 2, 4: 7, 8: 5}[size]
    for cell in cells:
        assert kpoint_lattice(cell, FOUR) @ cell == pytest.approx(4 * A * np.eye(3))


def test_the_cubic_cell_has_the_plain_mesh():
    assert kpoint_lattice(A * np.eye(3), FOUR).tolist() == (4 * np.eye(3)).tolist()
    assert kpoint_lattice(A * np.diag([1, 2, 4]), FOUR).tolist() == np.diag([4, 2, 1]).tolist()


def test_a_strained_cell_keeps_its_points():
    rng = np.random.default_rng(0)
    for frame in cells_of(BCC, 4):
        ideal = kpoint_lattice(frame.cell, FOUR)
        for _ in range(20):
            strain = np.cbrt(1 + rng.uniform(-0.09, 0.09)) * (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3)))
            assert (kpoint_lattice(frame.cell @ strain, FOUR) == ideal).all()


@pytest.mark.parametrize("repeats", [(1, 1, 9), (1, 1, 3), (1, 2, 8)])
def test_a_cell_that_does_not_fit_into_the_cube_is_refused(repeats):
    with pytest.raises(InputError, match="does not fit into the cube"):
        kpoint_lattice(A * np.diag(repeats), FOUR)


@pytest.mark.usefixtures("abinit")
@pytest.mark.parametrize("kind", ["constrained", "non-magnetic"])
def test_a_frame_that_does_not_fit_is_a_failed_label_and_no_failed_job(kind, tmp_path):
    engine = AbinitEngine(kpoints=FOUR, kind=kind)
    cell = A * np.diag([1, 1, 3])
    frame = Frame(("Fe",), cell, [[0, 0, 0]], None if kind == "non-magnetic" else [2.2])
    label = engine.label(frame, engine.level_of_theory(["Fe"]), tmp_path)
    assert label.failure.kind == "invalid-input"
    assert "does not fit into the cube" in label.failure.message


def test_the_cube_belongs_to_the_level_of_theory():
    levels = [AbinitEngine(kpoints=k).level_of_theory(["Fe"]) for k in ((4, 4, 4), FOUR, {"cube": 11.4})]
    assert len({level.fingerprint for level in levels}) == 3
    assert levels[2].parameters["kpoint_cube_a"] == 11.4


@pytest.mark.abinit
@pytest.mark.usefixtures("abinit")
def test_abinit_gives_cells_of_all_shapes_one_energy(tmp_path):
    fcc = Frame(("Al",), 2.02 * (np.ones((3, 3)) - np.eye(3)), [[0, 0, 0]])
    engine = AbinitEngine(kind="non-magnetic", kpoints={"cube": 8.08}, ecut_ha=6, pawecutdg_ha=12)
    energies = []
    for frame in (fcc, *cells_of(fcc, 2)):
        workdir = tmp_path / f"{len(energies)}"
        workdir.mkdir()
        label = engine.label(frame, engine.level_of_theory(["Al"]), workdir)
        energies.append(label.energy / len(frame))
    assert (
        np.ptp(energies) < 2e-3
    )  # what the FFT grids of the cells differ by; other k-points are worth 0.1 eV and more
