"""Trainings by the real nequip: missing labels, derivatives, evenness, warm starts, restart, divergence."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.io.records import unspecified_level
from magflow.potentials.nequip import NequipFamily, NequipPotential, NequipSpinFamily
from magflow.potentials.outside.curve import read_curve
from magflow.testing.springs import ELEMENTS, springs, two_atoms

pytestmark = [pytest.mark.nequip, pytest.mark.slow, pytest.mark.usefixtures("nequip")]

NET = {"cutoff": 3.5, "features": 8, "radial_neurons": 16, "radial_functions": 6}
LEARN = {"epochs": 60, "batch_frames": 4, "learning_rate": (2e-2, 1e-4)}
LEVEL = unspecified_level(magmoms=False, magnetic_forces=False)


def labels(n: int, seed: int = 0) -> list[LabeledFrame]:
    return [springs(frame) for frame in two_atoms(n, seed=seed)]


def without(item: LabeledFrame, *names: str) -> LabeledFrame:
    return LabeledFrame(item.frame, replace(item.label, **dict.fromkeys(names)))


def partly(n: int) -> list[LabeledFrame]:
    """Every eighth has forces, one a stress, every second magnetic forces: most batches lack some of them."""
    lacking = [
        [name for name, has in (("forces", k % 8 == 0), ("stress", k == 3), ("magnetic_forces", k % 2)) if not has]
        for k in range(n)
    ]
    items = [LabeledFrame(i.frame, replace(i.label, stress=np.full(6, 0.01))) for i in labels(n)]
    return [without(item, *names) for item, names in zip(items, lacking, strict=True)]


@pytest.fixture(scope="module")
def spin(nequip) -> NequipPotential:
    """A NequIP with moments after 60 epochs on 40 labels that are partly missing."""
    family = NequipSpinFamily(weights={"stress": 1e-4}, **NET, **LEARN)
    potential, report = family.fit(partly(40), elements=ELEMENTS, seed=1)
    assert report.cost.cpu_seconds > 1.0 and set(report.history[-1]) >= {"loss", "train_forces", "train_stress"}
    return potential


def test_labels_that_are_partly_missing_take_part(spin):
    with_forces = [i for i in partly(40) if i.label.forces is not None]
    assert len(with_forces) == 5
    found = spin.predict([i.configuration for i in with_forces]).forces
    forces = np.concatenate([i.label.forces for i in with_forces])
    assert np.sqrt(np.mean((found - forces) ** 2)) < 0.5 * forces.std()
    unseen = labels(20, seed=1)
    found = spin.predict([i.configuration for i in unseen]).magnetic_forces[:, 2]
    magnetic = np.concatenate([i.label.magnetic_forces for i in unseen])[:, 2]
    assert np.sqrt(np.mean((found - magnetic) ** 2)) < 0.5 * magnetic.std()


def test_evenness_is_exact(spin):
    frames = two_atoms(20, seed=2)
    there, back = spin.predict(frames), spin.predict([f.time_reversed() for f in frames])
    assert (there.energy == back.energy).all() and (there.forces == back.forces).all()
    assert (there.stress == back.stress).all() and (there.magnetic_forces == -back.magnetic_forces).all()
    assert np.abs(there.magnetic_forces).max() > 1e-3


def test_derivatives_of_a_large_skewed_cell_with_moments_of_both_signs(spin):
    rng = np.random.default_rng(3)
    cell = 3.1 * np.array([[2.0, 0.1, 0.0], [0.2, 1.0, 0.3], [0.0, -0.2, 1.0]])
    positions = np.array([[0.0, 0, 0], [3.1, 0, 0], [1.5, 1.6, 1.5], [4.6, 1.4, 1.7]]) + rng.normal(0, 0.1, (4, 3))
    largest = [0.2 if element == "Al" else 2.5 for element in ELEMENTS] * 2  # of the labels
    frame = Frame(tuple(ELEMENTS) * 2, cell, positions, rng.uniform(-1, 1, 4) * largest)
    found, step = spin.predict([frame]), 1e-4

    def slope(make) -> float:
        up, down = spin.predict([make(step), make(-step)]).energy
        return float(up - down) / (2 * step)

    for atom, axis in ((0, 0), (1, 1), (3, 2)):
        unit = np.zeros((4, 3))
        unit[atom, axis] = 1.0
        force = -slope(lambda h, u=unit: frame.replace(positions=frame.positions + h * u))
        assert found.forces[atom, axis] == pytest.approx(force, abs=1e-6)
        along_z = unit[:, [1, 0, 2]] if axis == 2 else np.roll(unit, 2 - axis, axis=1)
        magnetic = -slope(lambda h, u=along_z: frame.replace(magmoms=frame.magmoms + h * u))
        assert found.magnetic_forces[atom, 2] == pytest.approx(magnetic, abs=1e-6)
    for k in range(6):
        strain = tensor(np.eye(6)[k]) * (1.0 if k < 3 else 0.5)
        deformed = slope(
            lambda h, e=strain: frame.replace(
                cell=frame.cell @ (np.eye(3) + h * e), positions=frame.positions @ (np.eye(3) + h * e)
            )
        )
        assert found.stress[0, k] * frame.volume == pytest.approx(deformed, abs=1e-5)
    assert spin.atomic_energies([frame]).sum() == pytest.approx(found.energy[0], abs=1e-9)


def test_a_supercell_has_twice_the_energy_and_turning_it_turns_the_forces(spin):
    frame = two_atoms(1, seed=5)[0]
    double = Frame(
        frame.species * 2,
        frame.cell * [[2.0], [1.0], [1.0]],
        np.concatenate([frame.positions, frame.positions + frame.cell[0]]),
        np.concatenate([frame.magmoms, frame.magmoms]),
    )
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = Frame(frame.species, frame.cell @ turn.T, frame.positions @ turn.T, frame.magmoms)
    one, two, three = (spin.predict([f]) for f in (frame, double, turned))
    assert two.energy[0] == pytest.approx(2 * one.energy[0], abs=1e-9)
    assert three.energy[0] == pytest.approx(one.energy[0], abs=1e-9)
    np.testing.assert_allclose(three.forces, one.forces @ turn.T, atol=1e-9)


def test_a_start_is_where_a_fit_begins(spin):
    still = {"epochs": 1, "batch_frames": 40, "learning_rate": (1e-12, 1e-12)}
    frames = two_atoms(4, seed=4)
    kept, _ = NequipSpinFamily(start_bias="keep", **NET, **still).fit(labels(8), elements=ELEMENTS, seed=7, start=spin)
    np.testing.assert_allclose(kept.predict(frames).energy, spin.predict(frames).energy, atol=1e-6)
    raised = [LabeledFrame(i.frame, replace(i.label, energy=i.label.energy + 10.0)) for i in labels(8)]
    refitted, _ = NequipSpinFamily(**NET, **still).fit(raised, elements=ELEMENTS, seed=7, start=spin)
    moved = refitted.predict(frames).energy - spin.predict(frames).energy
    assert moved == pytest.approx(10.0, abs=0.1)
    np.testing.assert_allclose(refitted.predict(frames).forces, spin.predict(frames).forces, atol=1e-6)


def test_it_stops_early_and_keeps_the_best_epoch(nequip):
    family = NequipFamily(**NET, epochs=60, batch_frames=4, learning_rate=(2e-2, 2e-2), patience=5)
    potential, report = family.fit(labels(8), elements=ELEMENTS, seed=1, validation=labels(8, seed=1))
    best = report.details["best_epoch"]
    assert report.details["stopped_early"] == (report.iterations < 60)
    said = {row["step"]: row["validation_forces"] for row in report.history}
    assert report.rmse["validation"]["forces"] == pytest.approx(said[best], rel=1e-3)
    assert potential.predict(two_atoms(1, seed=0)).magnetic_forces is None


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_nequip_real as t
t.long_family().fit(t.labels(12), elements=t.ELEMENTS, seed=3, workdir=Path(sys.argv[2]))
"""


def long_family() -> NequipFamily:
    return NequipFamily(**NET, epochs=60, batch_frames=2, learning_rate=(2e-2, 1e-4), interval=5)


def test_kill_9_and_go_on(tmp_path):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]) as process:
        deadline = time.monotonic() + 900
        while not (found := list(tmp_path.glob("training-*/epoch-*.ckpt"))):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    directory = found[0].parent
    time.sleep(2.0)
    reached = read_curve(directory).step
    time.sleep(2.0)
    assert read_curve(directory).step == reached < 60  # the training died with magflow
    _, report = long_family().fit(labels(12), elements=ELEMENTS, seed=3, workdir=tmp_path)
    assert [int(row["step"]) for row in report.history] == list(range(1, 61))
    assert "Continuing training with checkpoint file `epoch-" in (directory / "train.log").read_text()
    forces = np.concatenate([i.label.forces for i in labels(12)])
    assert report.rmse["train"]["forces"] < 0.5 * forces.std()
    with pytest.raises(InputError, match="another training"):
        long_family().fit(labels(11), elements=ELEMENTS, seed=3, workdir=tmp_path)


def test_a_training_that_diverges_says_so(tmp_path):
    item = labels(1)[0]
    broken = LabeledFrame(item.frame, Label(item.frame.frame_id, LEVEL, energy=-16.0, forces=np.full((2, 3), 1e200)))
    with pytest.raises(InputError, match="diverged"):
        NequipFamily(**NET, epochs=5).fit([broken, *labels(4)], elements=ELEMENTS, seed=1, workdir=tmp_path)
