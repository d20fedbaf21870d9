"""The real ABINIT, on coarse k-meshes: stress, kinds, symmetry, and the failures it can be made to show.

Forces, magnetic forces and repeatability are held by ``tests/contracts/test_label_engines.py``.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, LabeledFrame, LabelKind
from magflow.core.units import BOHR, EV_PER_A3_IN_GPA, tensor
from magflow.dft.abinit import AbinitEngine, calculation
from magflow.dft.abinit.inputs import input_text
from magflow.dft.datasets import MixedFunctionalsError

pytestmark = [pytest.mark.abinit, pytest.mark.usefixtures("abinit")]

COARSE = (2, 2, 2)


@pytest.fixture
def compute(tmp_path):
    """Label frames one after the other, each in a directory of its own."""
    count = iter(range(1000))

    def run(frame: Frame, **settings):
        engine = AbinitEngine(**{"kpoints": COARSE} | settings)
        workdir = tmp_path / f"label-{next(count)}"
        workdir.mkdir()
        return engine.label(frame, engine.level_of_theory(frame.species), workdir)

    return run


@pytest.mark.slow
def test_stress_is_a_derivative_of_the_energy(compute, feal):
    """Where plane waves fade out; at a sharp cutoff the energy has steps of 0.01 to 0.6 GPa here."""
    label = compute(feal, ecutsm_ha=0.5)
    strain = np.array([[1, 0.2, 0], [0.2, -0.3, 0.4], [0, 0.4, 0.5]])
    h = 0.005
    moved = []
    for s in (1, -1):
        deform = np.eye(3) + s * h * strain
        moved.append(feal.replace(cell=feal.cell @ deform, positions=feal.positions @ deform))
    expected = np.sum(tensor(label.stress) * strain) * EV_PER_A3_IN_GPA
    plus, minus = (compute(frame, ecutsm_ha=0.5).energy for frame in moved)
    slope = (plus - minus) / (2 * h)
    assert slope / feal.volume * EV_PER_A3_IN_GPA == pytest.approx(expected, abs=0.1)


def test_reversed_moments_give_the_very_same_label(compute, iron):
    """ABINIT's own energies of M and -M differ by 0.08 meV here, so one of the two is always computed."""
    up, down = compute(iron), compute(iron.replace(magmoms=-iron.magmoms))
    assert up.label_id == down.label_id
    assert down.energy == up.energy
    np.testing.assert_array_equal(down.magmoms, -up.magmoms)
    np.testing.assert_array_equal(down.magnetic_forces, -up.magnetic_forces)
    assert LabeledFrame(iron, down).label.magmoms[0, 2] == up.magmoms[0, 2]


def test_free_and_non_magnetic_labels(compute, iron):
    held = compute(iron)
    free = compute(iron, kind=LabelKind.SPIN_POLARISED)
    none = compute(iron, kind=LabelKind.NON_MAGNETIC)
    assert held.ok
    assert held.magmoms[0, 2] == pytest.approx(2.2, abs=1e-4)
    assert free.magnetic_forces is None
    assert none.magmoms is None
    assert free.energy < held.energy < none.energy  # the free moment is where the energy is lowest
    assert free.magmoms[0, 2] > 2.2
    assert held.magnetic_forces[0, 2] > 0  # -dE/dm pulls the moment up, towards the free one
    assert len({label.label_id for label in (held, free, none)}) == 3


@pytest.mark.slow
def test_one_of_two_atoms_of_one_element_is_held(compute):
    cell = 2.84 * np.eye(3)
    frame = Frame(("Fe", "Fe"), cell, [[0, 0, 0], [1.40, 1.43, 1.42]], [2.0, 2.5], [True, False])
    label = compute(frame)
    assert label.ok, label.failure
    assert label.magmoms[0, 2] == pytest.approx(2.0, abs=1e-3)
    assert abs(label.magmoms[1, 2] - 2.5) > 0.01  # free to leave its starting value
    assert np.isfinite(label.magnetic_forces[0]).all()
    assert np.isnan(label.magnetic_forces[1]).all()


def test_interrupted_cycle_is_finished_from_its_density(compute, iron):
    whole, resumed = compute(iron), compute(iron, nstep=15)
    assert whole.attempts == 1
    assert resumed.attempts == 2
    assert [run["converged"] for run in resumed.details["runs"]] == [False, True]
    assert resumed.energy == pytest.approx(whole.energy, abs=1e-6)
    assert resumed.magnetic_forces[0, 2] == pytest.approx(whole.magnetic_forces[0, 2], abs=1e-4)


def test_unconverged_run_that_ends_with_status_zero(compute, iron):
    label = compute(iron, nstep=3, attempts=1)
    assert label.failure.kind == FailureKind.SCF_UNCONVERGED
    assert "ETOT  3" in label.details["log_tail"]


@pytest.mark.slow
def test_a_cycle_that_only_wavers_is_taken_for_its_noise_if_asked(compute):
    rattled = Frame(("Fe", "Fe"), np.diag([2.85] * 3), [[0, 0, 0], [1.48, 1.42, 1.42]], [2.2, 2.2])
    free = {"kind": LabelKind.SPIN_POLARISED, "attempts": 1, "nstep": 25}
    right = compute(rattled, **free)
    never = compute(rattled, **free, tolvrs=1e-30)
    flat = compute(rattled, **free, tolvrs=1e-30, force_noise_ev_a=0.02)
    assert never.failure.kind == FailureKind.SCF_UNCONVERGED
    assert right.ok and "noise" not in right.details
    assert flat.ok
    assert 0 <= flat.details["noise"]["forces_ev_a"] <= 0.02
    assert flat.energy == pytest.approx(right.energy, abs=1e-3)
    np.testing.assert_allclose(flat.forces, right.forces, atol=0.02)
    held = compute(rattled, kind=LabelKind.CONSTRAINED, attempts=1, nstep=25, tolvrs=1e-30, force_noise_ev_a=0.1)
    assert held.failure.kind == FailureKind.SCF_UNCONVERGED, "its magnetic forces are not known to have settled"


def test_spheres_that_abinit_refuses(compute):
    close = Frame(("Fe", "Fe"), np.diag([4.2, 4.2, 4.2]), [[0, 0, 0], [1.80, 0, 0]], [1.0, 1.0])
    assert compute(close, kind="spin-polarised").failure.kind == FailureKind.OVERLAPPING_SPHERES
    assert compute(close, kind="constrained").failure.kind == FailureKind.OVERLAPPING_SPHERES


@pytest.mark.slow
def test_moment_that_cannot_be_reached(compute, iron):
    """Eight valence electrons cannot make ten Bohr magnetons."""
    label = compute(iron.replace(magmoms=[10.0]), nstep=25, attempts=1)
    assert label.failure.kind in {FailureKind.SCF_UNCONVERGED, FailureKind.MOMENT_TARGET_MISSED}
    assert label.energy is None


def test_time_limit(compute, iron):
    started = time.monotonic()
    label = compute(iron, kpoints=(8, 8, 8), time_limit_s=1.0)
    assert label.failure.kind == FailureKind.TIME_LIMIT
    assert time.monotonic() - started < 10


def test_invalid_input(compute, iron, monkeypatch):
    def with_a_stray_variable(*args) -> str:
        return input_text(*args) + "foo 3\n"

    monkeypatch.setattr(calculation, "input_text", with_a_stray_variable)
    failure = compute(iron).failure
    assert failure.kind == FailureKind.INVALID_INPUT
    assert "FOO" in failure.message


def test_functionals_of_the_installed_datasets_are_read():
    lda = "/usr/share/gpaw-setups/Al.LDA.gz"
    with pytest.raises(MixedFunctionalsError, match="Al: LDA"):
        AbinitEngine(datasets={"Al": lda}).level_of_theory(["Fe", "Al"])


@pytest.mark.slow
def test_two_ranks_give_the_same_label(compute, iron):
    import shutil

    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    one, two = compute(iron), compute(iron, cores=2)
    assert two.ok, two.failure
    assert two.cost.cores == 2
    assert two.label_id == one.label_id
    assert two.energy == pytest.approx(one.energy, abs=1e-6)


@pytest.mark.slow
def test_the_ghost_of_chromium_is_not_taken_for_a_label(compute):
    """With usual mixing this cell converges 96 eV too low, moments on target."""
    cell = [
        [5.41735942, -0.12056883, -0.01989872],
        [-0.12056883, 5.17908987, 0.12407815],
        [-0.01989872, 0.12407815, 5.13425373],
    ]
    positions = [[-0.08391275, -0.09507543, 0.03251336], [2.98835815, 2.80407166, 2.53015022]]
    frame = Frame(("Fe", "Cr"), np.array(cell) * BOHR, np.array(positions) * BOHR, [2.33072672, 0.20386710])
    label = compute(frame, kpoints=(4, 4, 4), ecut_ha=14, pawecutdg_ha=28, ratsph_bohr={"Fe": 2.2, "Cr": 2.3})
    assert label.ok
    assert label.energy == pytest.approx(-884.0155, abs=0.01)
