"""Every way a label can fail is recognised and recorded. Names say which tests use a stand-in for ABINIT."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, LabelKind, label_id
from magflow.core.units import HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR3
from magflow.errors import InputError, MissingToolError


def compute(engine, frame, workdir: Path):
    workdir.mkdir(exist_ok=True)
    level = engine.level_of_theory(["Al", "Fe"])
    return engine.label(frame, level, workdir)


def test_stand_in_gives_a_label_in_house_units_and_signs(fake, feal, tmp_path):
    engine = fake()
    label = compute(engine, feal, tmp_path / "w")
    assert label.ok
    assert label.energy == pytest.approx(-24.0 * HARTREE)
    np.testing.assert_allclose(label.forces, 0.01 * HARTREE_PER_BOHR * np.array([[1.0] * 3, [-1.0] * 3]))
    np.testing.assert_allclose(label.stress, np.array([1e-4, 2e-4, 3e-4, 4e-5, 5e-5, 6e-5]) * HARTREE_PER_BOHR3)
    np.testing.assert_allclose(label.magmoms, feal.magmoms, atol=1e-6)
    np.testing.assert_allclose(label.magnetic_forces, [[0, 0, -0.002 * HARTREE]] * 2)  # grspin is +dE/dm
    assert label.label_id == label_id(feal.frame_id, engine.level_of_theory(["Al", "Fe"]))
    assert label.attempts == 1
    assert label.cost.cpu_seconds > 0
    assert label.cost.wall_seconds > 0


def test_a_frame_and_its_reverse_are_one_calculation(fake, feal, tmp_path):
    labels = [compute(fake(), frame, tmp_path / name) for frame, name in ((feal, "m"), (feal.time_reversed(), "r"))]
    inputs = [(tmp_path / name / "attempt-1" / "run.abi").read_text() for name in "mr"]
    assert inputs[0] == inputs[1]
    np.testing.assert_array_equal(labels[1].magmoms, -labels[0].magmoms)
    np.testing.assert_array_equal(labels[1].magnetic_forces, -labels[0].magnetic_forces)


def test_only_input_and_main_output_are_kept(fake, feal, tmp_path):
    compute(fake(), feal, tmp_path / "w")
    assert {p.name for p in (tmp_path / "w" / "attempt-1").iterdir()} == {"run.abi", "run.abo"}
    compute(fake(keep_files=True), feal, tmp_path / "all")
    assert (tmp_path / "all" / "attempt-1" / "runo_GSR.nc").is_file()


def test_leftovers_of_an_interrupted_attempt_do_not_matter(fake, feal, tmp_path):
    old = tmp_path / "w" / "attempt-1"
    old.mkdir(parents=True)
    (old / "run.abo").write_text("half of a file")
    (old / "runo_GSR.nc").write_bytes(b"CDF")
    assert compute(fake(), feal, tmp_path / "w").ok


def test_scratch_is_used_and_left_empty(fake, feal, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_SCRATCH_DIR", str(tmp_path / "scratch"))
    assert compute(fake(), feal, tmp_path / "w").ok
    assert (tmp_path / "w" / "attempt-1" / "run.abo").is_file()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_scratch_of_killed_workers_goes_that_of_living_ones_stays(fake, feal, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    monkeypatch.setenv("MAGFLOW_SCRATCH_DIR", str(scratch))
    engine = fake("hang")
    level = engine.level_of_theory(["Al", "Fe"])
    workers, left = [], scratch
    for name in ("killed", "living"):
        (tmp_path / name).mkdir()
        workers.append(os.fork())
        if workers[-1] == 0:
            engine.label(feal, level, tmp_path / name)
            os._exit(0)
        deadline = time.monotonic() + 20
        while not set(scratch.glob("*/attempt-1/run.log")) - {left / "attempt-1" / "run.log"}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if name == "killed":
            os.kill(workers[0], 9)
            os.waitpid(workers[0], 0)
            (left,) = (path for path in scratch.iterdir() if path.is_dir())
    try:
        assert not left.exists()
        kept = sorted(path.name for path in scratch.iterdir())
        assert compute(fake(), feal, tmp_path / "w").ok
        assert sorted(path.name for path in scratch.iterdir()) == kept
        assert len(kept) == 2
    finally:
        os.kill(workers[1], 9)
        os.waitpid(workers[1], 0)


@pytest.mark.parametrize(
    ("mode", "kind", "says"),
    [
        ("invalid-input", FailureKind.INVALID_INPUT, "FOO"),
        ("overlap", FailureKind.OVERLAPPING_SPHERES, "OVERLAPPING"),
        ("crash", FailureKind.CRASH, "signal SIGSEGV"),
        ("error-in-scf", FailureKind.CRASH, "exit status 14: zero norm"),
        ("truncated-text", FailureKind.TRUNCATED_OUTPUT, "Calculation completed"),
        ("no-netcdf", FailureKind.TRUNCATED_OUTPUT, "runo_GSR.nc"),
        ("cut-netcdf", FailureKind.TRUNCATED_OUTPUT, "runo_GSR.nc"),
        ("nan", FailureKind.TRUNCATED_OUTPUT, "not finite"),
        ("moment-missed", FailureKind.MOMENT_TARGET_MISSED, "0.02 muB"),
        ("unconverged", FailureKind.SCF_UNCONVERGED, "3 attempts"),
        ("ghost", FailureKind.GHOST_STATE, "70 eV below the Fermi level"),
    ],
)
def test_stand_in_failure(fake, feal, tmp_path, mode, kind, says):
    label = compute(fake(mode), feal, tmp_path / "w")
    assert label.failure is not None
    assert label.failure.kind == kind
    assert says in label.failure.message
    assert label.energy is None
    assert label.cost.wall_seconds > 0
    assert label.details["log_tail"]


def test_stand_in_time_limit_ends_the_run(fake, feal, tmp_path):
    started = time.monotonic()
    label = compute(fake("hang", time_limit_s=0.8), feal, tmp_path / "w")
    assert label.failure.kind == FailureKind.TIME_LIMIT
    assert time.monotonic() - started < 10


def test_stand_in_ladder_restarts_from_the_density(fake, feal, tmp_path):
    label = compute(fake("converges-on-restart"), feal, tmp_path / "w")
    assert label.ok
    assert label.attempts == 2
    first, second = ((tmp_path / "w" / f"attempt-{k}" / "run.abi").read_text() for k in (1, 2))
    assert "magcon_lambda 0.2\n" in first
    assert "magcon_lambda 0.05\n" in second
    assert "nstep 60\n" in first
    assert "nstep 120\n" in second
    assert 'getden_filepath "../attempt-1/runo_DEN"' in second
    assert label.cost.cpu_seconds == pytest.approx(sum(r["cpu_seconds"] for r in label.details["runs"]))


def test_stand_in_ladder_gives_up_after_the_attempts_it_may_make(fake, feal, tmp_path):
    label = compute(fake("unconverged", attempts=2), feal, tmp_path / "w")
    assert label.attempts == 2
    assert [r["converged"] for r in label.details["runs"]] == [False, False]
    inputs = [(tmp_path / "w" / f"attempt-{k}" / "run.abi").read_text() for k in (1, 2)]
    assert ["prtden 1\n" in text for text in inputs] == [True, False], "a density is for an attempt that may follow"


def test_stand_in_ladder_drops_a_density_that_is_worse_than_none(fake, feal, tmp_path):
    compute(fake("diverges", attempts=2), feal, tmp_path / "w")
    assert "getden_filepath" not in (tmp_path / "w" / "attempt-2" / "run.abi").read_text()


def test_a_directory_that_cannot_be_used_fails_the_label(fake, feal, tmp_path):
    engine = fake()
    (tmp_path / "file").write_text("")
    label = engine.label(feal, engine.level_of_theory(["Al", "Fe"]), tmp_path / "file" / "w")
    assert label.failure.kind == FailureKind.CRASH
    assert "run directory" in label.failure.message


def test_overlapping_spheres_are_found_before_anything_runs(fake, tmp_path):
    close = Frame(("Fe", "Fe"), np.diag([4.0, 4.0, 4.0]), [[0, 0, 0], [1.7, 0, 0]], [1.0, 1.0])
    label = compute(fake("crash"), close, tmp_path / "w")
    assert label.failure.kind == FailureKind.OVERLAPPING_SPHERES
    assert "1.700 A" in label.failure.message


def test_overlap_with_a_periodic_image_is_found(fake, tmp_path):
    thin = Frame(("Fe",), np.diag([1.8, 4.0, 4.0]), [[0, 0, 0]], [1.0])
    assert compute(fake(), thin, tmp_path / "w").failure.kind == FailureKind.OVERLAPPING_SPHERES


@pytest.mark.parametrize("kind", [LabelKind.CONSTRAINED, LabelKind.SPIN_POLARISED])
def test_moments_are_never_guessed(fake, feal, tmp_path, kind):
    bare = Frame(feal.species, feal.cell, feal.positions)
    label = compute(fake(kind=kind), bare, tmp_path / "w")
    assert label.failure.kind == FailureKind.INVALID_INPUT
    assert "none" in label.failure.message


def test_non_collinear_moments_are_refused(fake, feal, tmp_path):
    tilted = feal.replace(magmoms=[[0.5, 0, 1.0], [0, 0, 0]])
    assert compute(fake(), tilted, tmp_path / "w").failure.kind == FailureKind.INVALID_INPUT


def test_non_magnetic_label_has_no_moments(fake, feal, tmp_path):
    label = compute(fake(kind="non-magnetic"), feal, tmp_path / "w")
    assert label.ok
    assert label.magmoms is None
    assert label.magnetic_forces is None
    text = (tmp_path / "w" / "attempt-1" / "run.abi").read_text()
    assert "nsppol 1\n" in text
    assert "spinat" not in text


def test_free_atoms_have_no_magnetic_force(fake, feal, tmp_path):
    half = Frame(feal.species, feal.cell, feal.positions, feal.magmoms, [True, False])
    label = compute(fake(), half, tmp_path / "w")
    assert np.isfinite(label.magnetic_forces[0]).all()
    assert np.isnan(label.magnetic_forces[1]).all()


def test_element_outside_the_level_of_theory(fake, feal, tmp_path):
    engine = fake()
    label = engine.label(feal, engine.level_of_theory(["Fe"]), tmp_path)
    assert label.failure.kind == FailureKind.MISSING_DATASET
    assert "Al" in label.failure.message


def test_dataset_gone_since_the_campaign_began(fake, datasets, feal, tmp_path):
    engine = fake()
    level = engine.level_of_theory(["Al", "Fe"])
    (datasets / "Al.PBE.gz").unlink()
    label = engine.label(feal, level, tmp_path)
    assert label.failure.kind == FailureKind.MISSING_DATASET
    assert "gpaw-data" in label.failure.message


def test_functionals_mixed_since_the_campaign_began(fake, datasets, feal, tmp_path):
    engine = fake()
    level = engine.level_of_theory(["Al", "Fe"])
    (datasets / "Al.PBE.gz").unlink()
    text = (datasets / "Cr.LDA.xml").read_text().replace('symbol="Cr"', 'symbol="Al"')
    (datasets / "Al.PBE.xml").write_text(text)
    label = engine.label(feal, level, tmp_path)
    assert label.failure.kind == FailureKind.MIXED_FUNCTIONALS
    assert "LDA" in label.failure.message


def test_another_level_of_theory_is_refused(fake, feal, tmp_path):
    level = fake(ecut_ha=12).level_of_theory(["Al", "Fe"])
    with pytest.raises(InputError, match="another level of theory"):
        fake().label(feal, level, tmp_path)


def test_absent_abinit_raises(fake, feal, tmp_path):
    level = fake().level_of_theory(["Al", "Fe"])
    broken = fake().model_copy(update={"command": "no-such-abinit"})
    with pytest.raises(MissingToolError, match="not installed"):
        broken.label(feal, level, tmp_path)


def test_run_dies_with_its_worker(fake, feal, tmp_path):
    """A worker killed outright leaves no ABINIT behind."""
    engine = fake("hang")
    level = engine.level_of_theory(["Al", "Fe"])
    worker = os.fork()
    if worker == 0:
        engine.label(feal, level, tmp_path)
        os._exit(0)
    log = tmp_path / "attempt-1" / "run.log"
    deadline = time.monotonic() + 20
    while not (log.is_file() and log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log.read_text()
    os.kill(worker, 9)
    os.waitpid(worker, 0)
    while running_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running_in(tmp_path) == []
    shutil.rmtree(tmp_path / "attempt-1")


def running_in(folder: Path) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cwd", "status"]):
        cwd = process.info["cwd"]
        if cwd and cwd.startswith(str(folder)) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["pid"])
    return found


def test_a_ghost_state_is_left_by_damped_steps_from_atoms_side_by_side(fake, feal, tmp_path):
    label = compute(fake("ghost-unless-damped"), feal, tmp_path / "w")
    assert label.ok
    assert [run.get("ghost", False) for run in label.details["runs"]] == [True, False]
    first, second = ((tmp_path / "w" / f"attempt-{i}" / "run.abi").read_text() for i in (1, 2))
    assert "diemix" not in first
    assert "diemix 0.4" in second and "nstep 120" in second and "getden_filepath" not in second


def test_a_dataset_that_states_no_levels_cannot_be_checked_for_ghosts(fake, feal, datasets, tmp_path):
    file = datasets / "Al.PBE.gz"
    text = gzip.decompress(file.read_bytes()).decode()
    file.write_bytes(gzip.compress(re.sub(r' e="[^"]*"', "", text).encode()))
    assert compute(fake("ghost"), feal, tmp_path / "w").ok
