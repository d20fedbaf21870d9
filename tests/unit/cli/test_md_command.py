"""``magflow md``: what it writes, how it goes on after a kill, why it stops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

import magflow
from magflow.cli.app import app
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily
from magflow.studies.md.options import DEVIATION_STOP

runner = CliRunner()
CUBE = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
QUIET = ("--repeat", 2, 2, 2, "--grade-stop", 1e6, "--deviation-stop", "inf")


def distorted(rng):
    cell = rng.uniform(2.75, 2.98) * (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3)))
    return Frame(("Fe", "Fe"), cell, CUBE @ cell + rng.normal(0, 0.15, (2, 3)), rng.uniform(1.0, 2.8, 2))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    engine, rng = SpinLatticeEngine(), np.random.default_rng(2)
    level = engine.level_of_theory(["Fe"])
    dataset = Dataset(
        LabeledFrame(f, engine.label(f, level, tmp_path_factory.mktemp("w")))
        for f in (distorted(rng) for _ in range(60))
    )
    family = MmtpFamily(level=8, cutoff=4.5, max_iterations=10)
    members = [fit_member(family, dataset, elements=["Fe"], seed=1, member=k)[0] for k in range(2)]
    return PotentialEnsemble(tuple(members), "mmtp").save(tmp_path_factory.mktemp("models") / "ensemble")


@pytest.fixture
def structure(tmp_path):
    path = tmp_path / "start.extxyz"
    write_extxyz(path, [Frame(("Fe", "Fe"), 2.86 * np.eye(3), 2.86 * CUBE, [2.1, 2.0])])
    return path


def md(models, structure, out, *options):
    return runner.invoke(app, ["md", str(models), str(structure), "-o", str(out), *map(str, options)])


def log(directory):
    table = np.genfromtxt(directory / "thermo.csv", delimiter=",", names=True)
    return {name: table[name] for name in table.dtype.names}


@pytest.mark.parametrize("statistics", ["nve", "nvt", "npt"])
def test_trajectory_and_log_say_the_same(models, structure, tmp_path, statistics):
    out = tmp_path / "run"
    result = md(models, structure, out, *QUIET, "--steps", 100, "--interval", 20, "--ensemble", statistics, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert (told["reason"], told["step"], told["atoms"]) == ("completed", 100, 16)
    course, images = log(out), ase.io.read(out / "trajectory.extxyz", index=":")
    assert course["step"].tolist() == [0, 20, 40, 60, 80, 100]
    assert len(images) == 6
    for k, atoms in enumerate(images):
        assert atoms.get_potential_energy() == pytest.approx(course["potential_eV"][k], abs=1e-9)
        assert atoms.get_kinetic_energy() == pytest.approx(course["kinetic_eV"][k], abs=1e-9)
        assert atoms.get_volume() == pytest.approx(course["volume_A3"][k], abs=1e-9)
        assert abs(atoms.get_magnetic_moments()).mean() == pytest.approx(course["mean_abs_moment_muB"][k])
    ensemble = PotentialEnsemble.load(models)
    frames = [r.configuration for r in read_extxyz(out / "trajectory.extxyz", labels=False)]
    predicted = ensemble.predict(frames)
    np.testing.assert_allclose(predicted.mean.energy, course["potential_eV"], atol=1e-9)
    np.testing.assert_allclose(predicted.frame_deviation("forces"), course["forces_deviation_eV_A"], atol=1e-9)
    np.testing.assert_allclose(ensemble.grades(frames), course["grade"], rtol=1e-9)
    assert np.ptp(course["conserved_eV"]) < 2e-3
    assert (np.ptp(course["volume_A3"]) > 0) == (statistics == "npt")
    assert (out / "thermo.svg").read_text().count("<svg") == 1


def test_moments_follow_the_atoms(models, structure, tmp_path):
    options = (*QUIET, "--steps", 60, "--interval", 20, "--relax-moments-every", 20, "--temperature", 600)
    assert md(models, structure, tmp_path / "run", *options).exit_code == 0
    frames = [r.configuration for r in read_extxyz(tmp_path / "run" / "trajectory.extxyz", labels=False)]
    left = PotentialEnsemble.load(models).predict(frames).mean.magnetic_forces.reshape(len(frames), -1)
    assert abs(left[0]).max() > 0.01
    assert (abs(left[1:]).max(axis=1) < 1e-3).all()
    assert np.ptp(log(tmp_path / "run")["conserved_eV"]) < 2e-3


def test_a_structure_without_moments_and_one_of_several(models, structure, tmp_path):
    (start,) = (r.configuration for r in read_extxyz(structure, labels=False))
    write_extxyz(tmp_path / "many.extxyz", [start.non_magnetic(), start])
    ase.io.write(tmp_path / "POSCAR", ase.io.read(structure), format="vasp")
    options = (*QUIET, "--steps", 1)
    assert md(models, tmp_path / "many.extxyz@1", tmp_path / "a", *options).exit_code == 0
    assert md(models, tmp_path / "POSCAR", tmp_path / "b", *options, "--moments", "Fe=2.1").exit_code == 0
    first = read_extxyz(tmp_path / "b" / "trajectory.extxyz", labels=False)[0].configuration
    assert first.magmoms[:, 2] == pytest.approx(2.1)
    for place, more, says in (
        ("POSCAR", (), "moments"),
        ("POSCAR", ("--moments", "Al=0.1"), "each element of the structure"),
        ("POSCAR", ("--moments", "Fe"), "not the moment of an element"),
        ("many.extxyz", (), "many.extxyz@0"),
        ("many.extxyz@2", (), "2 that can be read of 2"),
    ):
        refused = md(models, tmp_path / place, tmp_path / "c", *options, *more)
        assert refused.exit_code == 2
        assert says in refused.stderr


def test_a_grade_ends_it_at_the_first_look_above(models, structure, tmp_path):
    options = ("--repeat", 2, 2, 2, "--temperature", 900, "--steps", 2000, "--interval", 5)
    options += ("--deviation-stop", "inf", "--grade-stop")
    free = md(models, structure, tmp_path / "free", *options, 1e6, "--steps", 200)
    assert free.exit_code == 0
    grades = log(tmp_path / "free")["grade"]
    bound = float(np.sort(grades)[len(grades) // 2])
    first = int(np.flatnonzero(grades > bound)[0])
    result = md(models, structure, tmp_path / "run", *options, bound, "--json")
    assert result.exit_code == 0
    told = json.loads(result.output)
    assert (told["reason"], told["step"]) == ("extrapolation-grade", 5 * first)
    np.testing.assert_array_equal(log(tmp_path / "run")["grade"], grades[: first + 1])


def test_a_deviation_ends_it_by_default(models, structure, tmp_path):
    options = ("--repeat", 2, 2, 2, "--temperature", 900, "--steps", 2000, "--grade-stop", 1e6)
    result = md(models, structure, tmp_path / "run", *options, "--json")
    assert (result.exit_code, json.loads(result.output)["reason"]) == (0, "forces-deviation")
    assert log(tmp_path / "run")["forces_deviation_eV_A"][-1] > DEVIATION_STOP


def test_a_blow_up_is_an_exit_code(models, structure, tmp_path):
    never = ("--grade-stop", 1e9, "--deviation-stop", "inf")
    result = md(models, structure, tmp_path / "run", "--timestep", 20, "--temperature", 9000, *never)
    assert result.exit_code == 1
    assert any(reason in result.output for reason in ("energy-blow-up", "min-distance", "temperature-explosion"))


def same_files(a, b):
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in ("trajectory.extxyz", "thermo.csv"))


def test_a_longer_run_makes_the_same_steps(models, structure, tmp_path):
    options = (*QUIET, "--interval", 20, "--ensemble", "npt", "--relax-moments-every", 40)
    assert md(models, structure, tmp_path / "straight", *options, "--steps", 200).exit_code == 0
    assert md(models, structure, tmp_path / "parts", *options, "--steps", 70).exit_code == 0
    assert md(models, structure, tmp_path / "parts", *options, "--steps", 200, "--resume").exit_code == 0
    assert same_files(tmp_path / "straight", tmp_path / "parts")


def test_a_run_that_ended_before_its_second_look_goes_on_from_the_first(models, structure, tmp_path):
    options = ("--steps", 10, "--temperature", 900, "--deviation-stop", 1e-9)
    for more in ((), ("--resume",)):
        assert md(models, structure, tmp_path / "run", *options, *more).exit_code == 0
        assert log(tmp_path / "run")["step"].tolist() == [0, 1]


def begun(models, structure, out, *options):
    """A run in a process of its own, once it could be gone on with."""
    command = [sys.executable, "-m", "magflow", "md", str(models), str(structure), "-o", str(out), *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells have background jobs ignore it
    )
    until = time.monotonic() + 60
    while not (out / "state.npz").exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    return process


def test_a_killed_run_makes_the_same_steps(models, structure, tmp_path):
    options = [*map(str, QUIET), "--interval", "50", "--steps", "2000"]
    assert md(models, structure, tmp_path / "straight", *options).exit_code == 0
    out = tmp_path / "killed"
    process = begun(models, structure, out, *options)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(log(out)["step"]) < 41
    assert md(models, structure, out, *options, "--resume").exit_code == 0
    assert same_files(tmp_path / "straight", out)


def test_an_interrupted_run_says_how_it_goes_on(models, structure, tmp_path):
    process = begun(models, structure, tmp_path / "run", *map(str, QUIET), "--steps", "10000000")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, "--resume" in told) == (130, True)


class TestRefused:
    def test_a_structure_without_moments(self, models, tmp_path):
        ase.io.write(tmp_path / "POSCAR", bulk("Co", "bcc", a=2.8))
        result = md(models, tmp_path / "POSCAR", tmp_path / "run")
        assert (result.exit_code, "does not know" in result.output) == (2, True)
        atoms = bulk("Fe", "bcc", a=2.86)
        atoms.set_initial_magnetic_moments(None)
        ase.io.write(tmp_path / "POSCAR", atoms)
        result = md(models, tmp_path / "POSCAR", tmp_path / "run")
        assert (result.exit_code, "the moments are missing" in result.output) == (2, True)

    def test_a_directory_that_holds_a_run(self, models, structure, tmp_path):
        assert md(models, structure, tmp_path / "run", *QUIET, "--steps", 1).exit_code == 0
        result = md(models, structure, tmp_path / "run", *QUIET, "--steps", 1)
        assert (result.exit_code, "--resume" in result.output) == (2, True)

    def test_to_go_on_with_nothing_or_otherwise(self, models, structure, tmp_path):
        assert md(models, structure, tmp_path / "run", "--resume").exit_code == 2
        assert md(models, structure, tmp_path / "run", *QUIET, "--steps", 1).exit_code == 0
        result = md(models, structure, tmp_path / "run", *QUIET, "--steps", 2, "--temperature", 400, "--resume")
        assert (result.exit_code, "another --temperature" in result.output) == (2, True)
        whole = PotentialEnsemble.load(models)
        other = replace(whole, members=whole.members[:1]).save(tmp_path / "other")
        result = md(other, structure, tmp_path / "run", *QUIET, "--steps", 2, "--resume")
        assert (result.exit_code, "another model" in result.output) == (2, True)

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (("--pressure", 5), "--ensemble npt"),
            (("--cell", "lengths", "--ensemble", "nve"), "--ensemble npt"),
            (("--ensemble", "npt", "--temperature", 0), "above 0 K"),
            (("--repeat", 0, 1, 1), "positive"),
            (("--max-moment", "Fe=3"), "--relax-moments-every"),
        ],
    )
    def test_options_that_would_not_be_heeded(self, models, structure, tmp_path, options, told):
        result = md(models, structure, tmp_path / "run", *options)
        assert (result.exit_code, told in result.output) == (2, True)
        assert not (tmp_path / "run").exists()

    def test_a_damaged_state(self, models, structure, tmp_path):
        assert md(models, structure, tmp_path / "run", *QUIET, "--steps", 1).exit_code == 0
        state = tmp_path / "run" / "state.npz"
        state.write_bytes(state.read_bytes()[:200])
        result = md(models, structure, tmp_path / "run", *QUIET, "--steps", 2, "--resume")
        assert (result.exit_code, "damaged" in result.output) == (2, True)


def test_the_function_makes_the_run_of_the_command(models, structure, tmp_path):
    words = ["md", models, structure, "-o", tmp_path / "shell", "--steps", 20, "--interval", 10, "--temperature", 200]
    result = runner.invoke(app, [*map(str, words), *map(str, QUIET)])
    assert result.exit_code == 0, result.output
    done = magflow.md(
        magflow.load(models), structure, tmp_path / "python", steps=20, interval=10, temperature=200,
        repeat=(2, 2, 2), grade_stop=1e6,
    )  # fmt: skip
    for name in ("trajectory.extxyz", "thermo.csv"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "shell" / name).read_bytes()
    assert repr(done) == "<MdResult of 16 atoms: completed at step 20>"
    assert "<svg" in done._repr_html_() and "temperature_K" in done._repr_html_()
