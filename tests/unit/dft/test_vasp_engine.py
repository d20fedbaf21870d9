"""The engine from frame to label, on VASP replayed with the numbers of the spin-lattice model Hamiltonian.

What the model gives for the frame in its own order is the truth; a number that came back to the wrong atom shows.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import replay_vasp
from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LabeledFrame, LabelKind
from magflow.dft.spin_lattice.model import SpinLatticeModel
from magflow.dft.vasp import VaspEngine
from magflow.dft.vasp.program import executable
from magflow.errors import InputError, MissingToolError

ROOM = HealthCheck.function_scoped_fixture


def engine(**changes) -> VaspEngine:
    fixed = {"version": replay_vasp.VERSION, "command": sys.executable, "kpoints": (2, 2, 2), "overlap_limit": 1.0}
    return VaspEngine(**fixed | changes)


def compute(frame: Frame, workdir: Path, **changes) -> Label:
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir()
    made = engine(**changes)
    return made.label(frame, made.level_of_theory(["Al", "Fe"]), workdir)


def interleaved(seed: int = 1, vectors: bool = False, left_handed: bool = False) -> Frame:
    """Four atoms, Fe Al Fe Al in some order, all different; one of them free."""
    rng = np.random.default_rng(seed)
    sites = 2.9 * np.array([[0, 0, 0], [0.5, 0.5, 0.5], [1, 0, 0], [1.5, 0.5, 0.5]])
    cell = np.diag([5.8, 2.9, 2.9]) + rng.normal(0, 0.05, (3, 3))
    if left_handed:
        cell[1] *= -1
    species = tuple(("Fe", "Al", "Fe", "Al")[k] for k in rng.permutation(4))
    size = np.array([2.0 if s == "Fe" else 0.1 for s in species])  # what the model likes to carry
    moments = np.zeros((4, 3))
    moments[:, 2] = size * rng.uniform(0.7, 1.2, 4) * rng.choice([-1, 1], 4)
    if vectors:
        moments += 0.3 * size[:, None] * rng.normal(size=(4, 3))
    held = np.ones(4, bool)
    held[rng.integers(4)] = rng.random() < 0.5
    return Frame(species, cell, sites + rng.normal(0, 0.08, (4, 3)), moments, held)


def check_against_the_model(frame: Frame, label: Label, tolerance: float) -> None:
    assert label.ok, label.failure
    LabeledFrame(frame, label)
    at = frame.non_magnetic() if label.magmoms is None else frame.replace(magmoms=label.magmoms)
    truth = SpinLatticeModel().predict([at])
    assert label.energy == pytest.approx(truth.energy[0], abs=tolerance)
    np.testing.assert_allclose(label.forces, truth.forces, atol=tolerance)
    np.testing.assert_allclose(label.stress, truth.stress[0], atol=tolerance)
    if label.magnetic_forces is not None:
        held = held_in(frame)
        known = np.isfinite(label.magnetic_forces).all(axis=1)
        assert known.any()
        np.testing.assert_allclose(label.magnetic_forces[known], truth.magnetic_forces[known], atol=tolerance)
        assert np.isnan(label.magnetic_forces[~held]).all()


def held_in(frame: Frame) -> np.ndarray:
    return np.ones(len(frame), bool) if frame.constrained is None else frame.constrained


@settings(max_examples=5, suppress_health_check=[ROOM])
@given(seed=st.integers(0, 2**32 - 1), vectors=st.booleans(), left_handed=st.booleans(), hard=st.booleans())
def test_every_number_comes_back_to_its_atom(replayed, tmp_path, seed, vectors, left_handed, hard):
    frame = interleaved(seed, vectors, left_handed)
    constraint = {"method": "deltaspin"} if hard else {"method": "penalty", "ladder": (5.0, 40.0)}
    label = compute(frame, tmp_path / "label", constraint=constraint, moment_tolerance_mub=0.2)
    check_against_the_model(frame, label, 1e-4 if hard else 2e-3)  # a free atom's moment has three decimals
    assert np.isfinite(label.magnetic_forces[held_in(frame)]).all()


def iron_held(seed: int) -> Frame:
    """Tilted ferromagnet; only Fe is held, whose moment stays when its length is free."""
    frame = interleaved(seed, vectors=True)
    moments = frame.magmoms * [0.5, 0.5, 0] + np.abs(frame.magmoms) * [0, 0, 1]
    return Frame(frame.species, frame.cell, frame.positions, moments, [s == "Fe" for s in frame.species])


@pytest.mark.parametrize("mode", (1, 4))
def test_directions_are_held_and_lengths_are_free(replayed, tmp_path, mode):
    frame = iron_held(3)
    label = compute(frame, tmp_path / "label", constraint={"method": "penalty", "mode": mode, "ladder": (5, 50)})
    check_against_the_model(frame, label, 5e-2)  # three decimals of the moments, times LAMBDA in mode 4
    held = held_in(frame)
    along = frame.magmoms / np.linalg.norm(frame.magmoms, axis=1)[:, None]
    across = label.magmoms - along * np.sum(label.magmoms * along, axis=1)[:, None]
    assert np.abs(across[held]).max() < 0.05
    assert np.abs(np.linalg.norm(label.magmoms - frame.magmoms, axis=1))[held].max() > 0.05


@pytest.mark.parametrize("kind", (LabelKind.SPIN_POLARISED, LabelKind.NON_MAGNETIC))
def test_free_kinds(replayed, tmp_path, kind):
    frame = interleaved(5)
    label = compute(frame, tmp_path / "label", kind=kind)
    assert label.magnetic_forces is None
    assert (label.magmoms is None) == (kind == LabelKind.NON_MAGNETIC)
    check_against_the_model(frame, label, 2e-3)  # moments of free runs have three decimals
    assert len(replayed) == 1


def test_each_rung_starts_from_the_one_before(replayed, tmp_path):
    label = compute(interleaved(7), tmp_path / "label", keep_files=True)
    folders = sorted((tmp_path / "label").iterdir())
    incars = [replay_vasp.read_incar((f / "INCAR").read_text()) for f in folders]
    assert [i["LAMBDA"] for i in incars] == [["1.0"], ["10.0"], ["25.0"]]
    assert [i["ISTART"] for i in incars] == [["0"], ["1"], ["1"]]
    assert [i["LWAVE"] for i in incars] == [["True"], ["True"], ["False"]]
    errors = [run["moment_error_mub"] for run in label.details["runs"]]
    assert errors == sorted(errors, reverse=True)
    assert label.attempts == 3
    ladder = label.details["ladder"]
    assert ladder["energy_change_ev"] == pytest.approx(ladder["integrated_force_ev"], rel=0.1, abs=1e-4)


def test_the_penalty_is_not_in_the_energy(replayed, tmp_path):
    frame = interleaved(9)
    label = compute(
        frame, tmp_path / "label", constraint={"ladder": (3.0,), "method": "penalty"}, moment_tolerance_mub=1
    )
    assert label.details["runs"][0]["penalty_ev"] > 5e-3
    check_against_the_model(frame, label, 2e-3)


def test_a_direction_without_a_moment_is_missed(replayed, tmp_path):
    """Aluminium does not keep its moment when only the direction is held."""
    frame = interleaved(3, vectors=True)
    label = compute(frame, tmp_path / "label", constraint={"method": "penalty", "mode": 4, "ladder": (50,)})
    assert label.failure.kind == FailureKind.MOMENT_TARGET_MISSED


def test_no_potcar_is_left_behind(replayed, potcars, tmp_path):
    for keep in (False, True):
        label = compute(interleaved(7), tmp_path / "label", keep_files=keep)
        assert label.ok
        assert not list((tmp_path / "label").rglob("POTCAR*"))
        text = json.dumps([dict(label.details), label.level_of_theory.as_dict()])
        assert "PSCTR" not in text
        assert "stand-in" not in text
    compute(interleaved(7), tmp_path / "label")
    kept = {p.name for p in (tmp_path / "label" / "run-1").iterdir()}
    assert kept == {"INCAR", "KPOINTS", "POSCAR", "OSZICAR", "vasp.out"}


@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [
        ("crash", FailureKind.CRASH, "ZHEGV"),
        ("silent", FailureKind.TRUNCATED_OUTPUT, "SGRCON"),
        ("truncated", FailureKind.TRUNCATED_OUTPUT, "vasprun"),
        ("unconverged", FailureKind.SCF_UNCONVERGED, "nelm"),
        ("other-version", FailureKind.INVALID_INPUT, "5.4.4"),
        ("wrong-order", FailureKind.INCONSISTENT, "order of atoms"),
        ("wrong-penalty", FailureKind.INCONSISTENT, "definition"),
        ("wrong-energy", FailureKind.INCONSISTENT, "integrate"),
    ],
)
def test_what_goes_wrong_is_a_failed_label(replayed, tmp_path, monkeypatch, mode, kind, message):
    monkeypatch.setenv("REPLAY_VASP", mode)
    label = compute(interleaved(1), tmp_path / "label", moment_tolerance_mub=5.0)
    assert label.failure.kind == kind, label.failure
    assert message in label.failure.message
    assert label.energy is None
    assert label.cost.cpu_seconds > 0


def test_three_decimals_alone_are_enough_for_a_label(replayed, tmp_path, monkeypatch):
    monkeypatch.setenv("REPLAY_VASP", "coarse")
    frame = interleaved(1)
    label = compute(frame, tmp_path / "label")
    check_against_the_model(frame, label, 0.06)  # 2 LAMBDA x 0.0005, and the stiffness of the model x 0.0005
    assert label.details["runs"][-1]["moment_resolution_mub"] == 0.0005


def test_forces_that_the_digits_do_not_give_are_left_out(replayed, tmp_path, monkeypatch):
    monkeypatch.setenv("REPLAY_VASP", "coarse")
    label = compute(interleaved(1), tmp_path / "label", magnetic_force_tolerance_ev=0.02)
    assert label.ok
    assert np.isnan(label.magnetic_forces).all()  # 2 x 25 x 0.0005 eV/muB


def test_a_ladder_too_low_misses_its_target(replayed, tmp_path):
    label = compute(interleaved(1), tmp_path / "label", constraint={"method": "penalty", "ladder": (0.5,)})
    assert label.failure.kind == FailureKind.MOMENT_TARGET_MISSED
    assert "ladder" in label.failure.message


def test_deltaspin_that_gave_up_is_unconverged(replayed, tmp_path, monkeypatch):
    monkeypatch.setenv("REPLAY_VASP", "constraint-unmet")
    label = compute(interleaved(1), tmp_path / "label", constraint={"method": "deltaspin"})
    assert label.failure.kind == FailureKind.SCF_UNCONVERGED


def test_zero_can_be_held_by_deltaspin_only(replayed, tmp_path):
    frame = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0.02, 0, 0], [1.47, 1.44, 1.40]], [1.5, 0.0])
    label = compute(frame, tmp_path / "label")
    assert label.failure.kind == FailureKind.INVALID_INPUT
    assert "M_CONSTR = 0 0 0" in label.failure.message
    held = compute(frame, tmp_path / "label", constraint={"method": "deltaspin"})
    check_against_the_model(frame, held, 1e-5)


def test_spheres_that_overlap_are_refused(replayed, tmp_path):
    label = compute(interleaved(1), tmp_path / "label", rwigs_a={"Fe": 1.8, "Al": 1.8}, overlap_limit=0.1)
    assert label.failure.kind == FailureKind.OVERLAPPING_SPHERES
    assert not replayed


def test_time_limit_ends_the_program(potcars, tmp_path, monkeypatch):
    monkeypatch.setenv("REPLAY_VASP", "sleep")
    program = f"{sys.executable} {replay_vasp.__file__}"
    label = compute(interleaved(1), tmp_path / "label", command=program, time_limit_s=2.0)
    assert label.failure.kind == FailureKind.TIME_LIMIT
    assert label.cost.wall_seconds < 20


def test_scratch_folder(replayed, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_SCRATCH_DIR", str(tmp_path / "scratch"))
    assert compute(interleaved(1), tmp_path / "label").ok
    assert all(tmp_path / "scratch" in run.parents for run in replayed)
    assert not list((tmp_path / "scratch").iterdir())
    assert (tmp_path / "label" / "run-3" / "OSZICAR").is_file()


def test_level_of_theory_holds_what_changes_the_answer(potcars):
    def level(**changes):
        return engine(**changes).level_of_theory(["Fe", "Al"])

    base = level()
    assert set(base.datasets) == {"Al", "Fe"}
    assert base.parameters["rwigs_a"] == {"Al": 1.1, "Fe": 1.164}  # from the POTCARs
    same = ({"nelm": 50}, {"incar_running": {"NCORE": 4}}, {"cores": 2}, {"constraint": {"ladder": (25,)}})
    for changes in same:
        if "constraint" in changes:
            changes = {"constraint": {"method": "penalty"} | changes["constraint"]}
        assert level(**changes).fingerprint == base.fingerprint, changes
    other = (
        {"encut_ev": 400},
        {"kind": "non-magnetic"},
        {"incar": {"IVDW": 12}},
        {"rwigs_a": {"Fe": 1.0}},
        {"constraint": {"method": "deltaspin"}},
        {"constraint": {"method": "penalty", "mode": 1}},
        {"hubbard": {"Fe": {"l": 2, "u_ev": 4}}},
        {"version": "5.4.4"},
    )
    assert len({level(**changes).fingerprint for changes in other} | {base.fingerprint}) == len(other) + 1
    (potcars / "POT_GGA_PAW_PBE_54" / "Fe" / "POTCAR").write_text(
        (potcars / "POT_GGA_PAW_PBE_54" / "Fe" / "POTCAR").read_text().replace("0.2000", "0.3000")
    )
    from magflow.dft.vasp import potcars as module

    module._read.cache_clear()
    assert level().datasets["Fe"] != base.datasets["Fe"]


def test_a_changed_setting_stops_the_campaign(potcars, tmp_path):
    level = engine().level_of_theory(["Al", "Fe"])
    with pytest.raises(InputError, match="another level of theory"):
        engine(encut_ev=300).label(interleaved(), level, tmp_path)


def test_a_missing_potcar_is_named(potcars, tmp_path):
    shutil.rmtree(potcars / "POT_GGA_PAW_PBE_54" / "Al")
    with pytest.raises(MissingToolError, match="Al"):
        engine().level_of_theory(["Fe", "Al"])
    probes = {p.name: p for p in engine().probe(["Fe", "Al"])}
    assert probes["POTCAR Fe"].ok
    assert not probes["POTCAR Al"].ok
    assert "PMG_VASP_PSP_DIR" in probes["POTCAR Al"].hint


def test_a_damaged_potcar_and_one_of_another_element_are_refused(potcars):
    folder = potcars / "POT_GGA_PAW_PBE_54"
    (folder / "Fe" / "POTCAR").write_text("half of a\n")
    with pytest.raises(InputError, match="cannot be read"):
        engine().level_of_theory(["Fe"])
    with pytest.raises(InputError, match="another element"):
        engine(potcars={"Al": "Ni"}).level_of_theory(["Al"])


def test_a_missing_program_is_named(potcars):
    with pytest.raises(MissingToolError, match="VASP"):
        engine(command="no-such-vasp").level_of_theory(["Fe"])
    probe = engine(command="no-such-vasp").probe(["Fe"])[0]
    assert not probe.ok
    assert "vasp_command" in probe.hint


@pytest.mark.parametrize(("kind", "program"), [("constrained", "vasp_ncl"), ("non-magnetic", "vasp_std")])
def test_programs_come_from_the_settings(monkeypatch, kind, program):
    from magflow.settings import load_settings

    made = VaspEngine(version="6.4.2", kind=kind)
    assert executable(made, load_settings(), vectors=made.constrained) == program
    monkeypatch.setenv("MAGFLOW_VASP_COMMAND", "mine --std")
    monkeypatch.setenv("MAGFLOW_VASP_NCL_COMMAND", "mine --ncl")
    assert executable(made, load_settings(), vectors=made.constrained) == f"mine --{program[5:]}"
