"""The DeltaSpin reader against the real log of one constrained NiO calculation."""

from __future__ import annotations

import lzma

import numpy as np
import pytest
from ase.io import read

from magflow.core.frame import Frame
from magflow.core.label import Failure, FailureKind, LabeledFrame, LabelKind, LevelOfTheory
from magflow.dft.runs import TruncatedOutputError
from magflow.dft.vasp.constraint import read_constraint, target_of
from magflow.dft.vasp.deltaspin import label_from_log, read_log
from magflow.dft.vasp.settings import DeltaSpin
from magflow.io.extxyz import read_extxyz, write_extxyz

LEVEL = LevelOfTheory("vasp", "5.4.4", LabelKind.CONSTRAINED, "PBE", {}, {"encut_ev": 600.0})


@pytest.fixture(scope="module")
def nio(reference_data) -> tuple[str, Frame]:
    """Log and frame: 16 Ni held at their vectors, 16 O free."""
    folder = reference_data / "deltaspin_NiO" / "65"
    atoms = read(folder / "POSCAR", format="vasp")
    incar = (folder / "INCAR").read_text().replace("\\", "")
    words = incar.split("M_CONSTR =")[1].split("!")[0].split()
    targets = np.array(words, dtype=float).reshape(32, 3)
    with lzma.open(folder / "tmp_log.xz", "rt") as f:
        text = f.read()
    held = [s == "Ni" for s in atoms.get_chemical_symbols()]
    return text, Frame(tuple(atoms.get_chemical_symbols()), atoms.cell.array, atoms.positions, targets, held)


def test_numbers_of_the_file(nio):
    text, frame = nio
    log = read_log(text, 32)
    assert log.met
    assert log.energy == -166.30788  # the digits of the line with F=
    assert log.report.energy == -166.30788168
    assert log.rms == 7.560411835376e-07
    np.testing.assert_array_equal(log.report.magmoms[0], [0.791471276, -0.804859626, 0.588898430])
    np.testing.assert_array_equal(log.report.forces[0], [0.0005133880, -0.0000443229, -0.0002058553])
    np.testing.assert_array_equal(log.report.magnetic_forces[1], [0.10677482e-1, -0.81819987e-2, 0.10706272e-1])
    np.testing.assert_array_equal(
        log.multipliers[0], [3.743673526766048e-003, -1.850561290301840e-003, 1.590394180856853e-003]
    )
    np.testing.assert_allclose(log.targets, frame.magmoms, atol=1e-12)


def test_the_magnetic_force_is_minus_the_multiplier(nio):
    log = read_log(nio[0], 32)
    np.testing.assert_allclose(log.magnetic_forces, log.report.magnetic_forces, atol=1e-9)
    assert not log.multipliers[16:].any()  # oxygen is free


def test_moments_without_the_summary_are_those_of_the_inner_optimisation(nio):
    whole = nio[0]
    log = read_log(whole[: whole.index("Energy:")], 32)
    assert log.report is None
    np.testing.assert_array_equal(log.magmoms[0], [0.791920875127808, -0.805100861440336, 0.589060646898687])
    np.testing.assert_allclose(log.magmoms[:16], log.targets[:16], atol=3e-6)


def test_the_log_as_a_labelled_frame_and_through_a_file(nio, tmp_path):
    text, frame = nio
    label = label_from_log(text, frame, LEVEL)
    assert label.ok, label.failure
    labelled = LabeledFrame(frame, label)
    np.testing.assert_allclose(label.magmoms[:16], frame.magmoms[:16], atol=6e-4)
    assert np.isfinite(label.magnetic_forces[:16]).all()
    assert np.isnan(label.magnetic_forces[16:]).all()
    assert labelled.magnetic_force_mask.sum() == 48
    np.testing.assert_allclose(label.forces.sum(axis=0), 0, atol=0.1)
    write_extxyz(tmp_path / "nio.extxyz", [labelled])
    again = read_extxyz(tmp_path / "nio.extxyz")[0].labeled
    assert again.label_id == labelled.label_id
    assert again.label.energy == label.energy
    np.testing.assert_array_equal(again.label.magnetic_forces, label.magnetic_forces)


def test_truncated_logs_are_failed_labels(nio):
    text, frame = nio
    for cut in (text[: len(text) // 2], text[: text.index("Atomic Force:") + 500], "", "vasp.6.4.2"):
        label = label_from_log(cut, frame, LEVEL)
        assert label.failure.kind == FailureKind.TRUNCATED_OUTPUT, label.failure


def test_a_log_of_other_positions_is_refused(nio):
    text, frame = nio
    moved = frame.replace(positions=frame.positions + np.eye(32, 3) * 0.01)
    assert label_from_log(text, moved, LEVEL).failure.kind == FailureKind.INVALID_INPUT


def test_a_log_of_other_targets_is_refused_but_for_atoms_that_are_free(nio, tmp_path):
    text, frame = nio
    log = tmp_path / "vasp.out"
    log.write_text(text)

    def read(moved: int):
        targets = frame.magmoms.copy()
        targets[moved, 2] += 1e-3
        return read_constraint(DeltaSpin(), tmp_path, log, target_of(DeltaSpin(), frame.replace(magmoms=targets)))

    refused = read(0)  # Ni
    assert isinstance(refused, Failure) and refused.kind == FailureKind.INCONSISTENT
    assert not isinstance(read(31), Failure)  # O


def test_an_inner_optimisation_that_gave_up_is_not_converged(nio):
    text, frame = nio
    head, met, tail = text.rpartition("Meet convergence criterion")
    label = label_from_log(head + "Reach limitation of current step" + tail, frame, LEVEL)
    assert met
    assert label.failure.kind == FailureKind.SCF_UNCONVERGED


def test_a_plain_vasp_log_names_the_missing_patch():
    with pytest.raises(TruncatedOutputError, match="DeltaSpin"):
        read_log("vasp.6.4.2\nDAV:   1 -0.1E+01\n   1 F= -.1E+01 E0= -.1E+01\n", 2)
