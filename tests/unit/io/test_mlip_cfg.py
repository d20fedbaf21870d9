from __future__ import annotations

import lzma
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.errors import InputError
from magflow.io.mlip_cfg import ENERGY_DERIVATIVE, MAGNETIC_FORCE, read_cfg
from magflow.io.mlip_cfg_writer import write_cfg
from magflow.io.records import Record
from strategies import ELEMENTS, frames, labeled_frames

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
thorough = settings(relaxed, max_examples=150)


def only_along_x(frame):
    return frame.magmoms is not None and bool(frame.magmoms.any()) and not frame.magmoms[:, 1:].any()


@relaxed
@given(labeled_frames(), st.sampled_from([ENERGY_DERIVATIVE, MAGNETIC_FORCE]))
def test_labels_survive(tmp_path, item, sign):
    if only_along_x(item.configuration):
        return
    path = tmp_path / "x.cfg"
    write_cfg(path, [item, item], ELEMENTS, en_der_sign=sign)
    for record in read_cfg(path, ELEMENTS, en_der_sign=sign):
        frame, label = item.configuration, item.label
        assert record.frame.species == frame.species
        assert np.array_equal(record.frame.positions, frame.positions)
        assert np.array_equal(record.frame.cell, frame.cell)
        assert (record.frame.magmoms is None) == (frame.magmoms is None)
        if frame.magmoms is not None:
            assert np.array_equal(record.frame.magmoms, frame.magmoms)
        assert record.label.energy == label.energy
        if label.stress is not None:
            assert np.allclose(record.label.stress, label.stress, rtol=1e-14, atol=0)
        if label.magnetic_forces is not None:
            assert np.array_equal(record.label.magnetic_forces, np.nan_to_num(label.magnetic_forces, nan=0.0))


@relaxed
@given(frames())
def test_frames_without_labels_survive(tmp_path, frame):
    if only_along_x(frame):
        return
    path = tmp_path / "x.cfg"
    write_cfg(path, [frame], ELEMENTS)
    record = read_cfg(path, ELEMENTS)[0]
    assert record.label is None
    assert record.frame.frame_id == Frame(frame.species, frame.cell, frame.positions, frame.magmoms).frame_id


def test_a_failed_label_leaves_its_frame_without_one(tmp_path):
    frame = Frame(("Fe",), np.eye(3) * 3, np.zeros((1, 3)), np.array([2.5]))
    level = LevelOfTheory("abinit", "10", LabelKind.CONSTRAINED, "PBE")
    label = Label.failed(frame, level, FailureKind.SCF_UNCONVERGED, "no")
    write_cfg(tmp_path / "x.cfg", [Record(frame, label)], ["Fe"])
    assert read_cfg(tmp_path / "x.cfg", ["Fe"])[0].label is None


def test_collinear_moments_stand_in_the_x_column(tmp_path):
    path = tmp_path / "x.cfg"
    write_cfg(path, [Frame(("Fe",), np.eye(3) * 3, np.zeros((1, 3)), np.array([2.5]))], ["Fe"])
    header, row = path.read_text().split("AtomData:")[1].splitlines()[:2]
    assert header.split()[-3:] == ["magmom_x", "magmom_y", "magmom_z"]
    assert row.split()[-3:] == ["2.5", "0.0", "0.0"]


@relaxed
@given(labeled_frames(magnetic=True, vector=False))
def test_an_independent_reader_agrees(tmp_path, item):
    """motep reads moments, energy, forces and stress (its own sign conversion) as the house holds them."""
    motep = pytest.importorskip("motep.io.mlip.cfg")
    item = LabeledFrame(item.frame, replace(item.label, magmoms=item.frame.magmoms, stress=np.arange(6) / 10))
    path = tmp_path / "x.cfg"
    write_cfg(path, [item], ELEMENTS)
    results = motep.read_cfg(str(path)).calc.results
    assert np.array_equal(results["magmoms"], item.frame.magmoms[:, 2])
    assert results["energy"] == item.label.energy
    assert np.allclose(results["stress"], item.label.stress, rtol=1e-13)
    expected = -np.nan_to_num(item.label.magnetic_forces[:, 2], nan=0.0)
    assert np.array_equal(results["en_der_mx"], expected)


def test_moments_along_x_only_cannot_be_written(tmp_path):
    frame = Frame(("Fe",), np.eye(3) * 3, np.zeros((1, 3)), np.array([[2.5, 0, 0]]))
    with pytest.raises(InputError, match="lie along x"):
        write_cfg(tmp_path / "x.cfg", [frame], ["Fe"])
    with pytest.raises(InputError, match="no type"):
        write_cfg(tmp_path / "x.cfg", [frame], ["Al"])


def test_reference_feal(reference_data):
    """en_der_m of this set is -dE/dm: an Al moment is held by a restoring force, so dE/dm grows with m."""
    path = reference_data / "feal_mmtp" / "feal_2_configs.cfg"
    with pytest.raises(InputError, match="files disagree about their sign"):
        read_cfg(path, ["Al", "Fe"])
    records = read_cfg(path, ["Al", "Fe"], en_der_sign=MAGNETIC_FORCE)
    assert [len(r.frame) for r in records] == [16, 16]
    first = records[0]
    assert first.frame.species.count("Al") == 5
    assert first.frame.magmoms[5].tolist() == [0.0, 0.0, 2.217293]
    assert not first.frame.magmoms[:, :2].any()
    assert first.label.energy == -37537.216887746064
    assert first.label.level_of_theory.kind is LabelKind.CONSTRAINED
    assert first.label.magnetic_forces[0].tolist() == [0.0, 0.0, 0.01301]
    assert first.label.stress[0] == pytest.approx(-3.93384 / 5.762016**3)
    assert first.info == {"mindist": 2.344293}
    moments = np.concatenate([r.frame.magmoms[:, 2][np.array(r.frame.species) == "Al"] for r in records])
    forces = np.concatenate([r.label.magnetic_forces[:, 2][np.array(r.frame.species) == "Al"] for r in records])
    assert np.polyfit(moments, forces, 1)[0] < 0  # energy curves upwards
    opposite = read_cfg(path, ["Al", "Fe"], en_der_sign=ENERGY_DERIVATIVE)[0]
    assert np.array_equal(opposite.label.magnetic_forces, -first.label.magnetic_forces)


def test_reference_vasp_iron(reference_data):
    record = read_cfg(reference_data / "mmtp_fe_vasp" / "mag.cfg", ["Fe"])[0]
    assert len(record.frame) == 54
    assert record.label.energy == pytest.approx(-431.79302118)
    assert record.label.stress[0] == pytest.approx(27.32407 / 8.7**3)
    assert {1, -1} == set(np.sign(record.frame.magmoms[:, 2]))
    assert record.info == {"EFS_by": "VASP"}
    assert record.label.magnetic_forces is None


def test_reference_grades(reference_data, tmp_path):
    path = tmp_path / "out.cfg"
    path.write_bytes(lzma.decompress((reference_data / "mtp_reference" / "multi_10" / "out.cfg.xz").read_bytes()))
    records = read_cfg(path, ["Al", "Ni", "Ti"])
    assert len(records) > 5
    for record in records:
        grades = record.columns["nbh_grades"]
        assert grades.shape == (len(record.frame),)
        assert grades.max() == pytest.approx(float(record.info["MV_grade"]), abs=1e-5)


GOOD = """BEGIN_CFG
 Size
    1
 Supercell
    3 0 0
    0 3 0
    0 0 3
 AtomData:  id type cartes_x cartes_y cartes_z fx fy fz
    1 0 0 0 0 0 0 0
 Energy
    -1.5
 PlusStress:  xx yy zz yz xz xy
    27 0 0 0 0 0
 Feature   EFS_by\tVASP
END_CFG
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("END_CFG", "", "does not end"),
        ("    1\n Super", "    one\n Super", "Size is malformed"),
        ("    1\n Super", "    -3\n Super", "Size is malformed"),
        ("    1\n Super", "    2\n Super", "AtomData is malformed"),
        (" Size\n    1\n", "", "Size is missing"),
        ("    0 0 3\n", "", "Supercell is malformed"),
        ("3 0 0", "3 0 x", "not a number"),
        ("3 0 0", "nan 0 0", "not finite"),
        ("    0 0 3\n", "    0 0 0\n", "no volume"),
        ("cartes_x", "direct_x", "columns are missing"),
        ("fx fy fz", "fx fy fx", "names a column twice"),
        ("1 0 0 0 0 0 0 0", "1 7 0 0 0 0 0 0", "type without an element"),
        ("1 0 0 0 0 0 0 0", "1 nan 0 0 0 0 0 0", "type without an element"),
        ("1 0 0 0 0 0 0 0", "1 0 0 0 0 0 0", "AtomData is malformed"),
        ("-1.5", "nan", "energy has a value that is not finite"),
        ("xx yy zz", "xx xx zz", "PlusStress is malformed"),
        (" Energy", " Enthalpy", "not a section"),
        ("END_CFG\n", "END_CFG\nBEGIN_CF\n", "outside of BEGIN_CFG"),
    ],
)
def test_malformed_configurations_are_named(tmp_path, old, new, message):
    assert old in GOOD
    path = tmp_path / "x.cfg"
    path.write_text(GOOD + "\n" + GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=r"configuration 2 \(line 17\)") as caught:
        read_cfg(path, ["Fe"])
    assert message in str(caught.value)


def test_without_types_all_atoms_are_of_the_one_element(tmp_path):
    path = tmp_path / "x.cfg"
    path.write_text(GOOD.replace(" type", "").replace("1 0 0 0 0 0 0 0", "1 0 0 0 0 0 0"))
    assert read_cfg(path, ["Fe"])[0].frame.species == ("Fe",)
    with pytest.raises(InputError, match="columns are missing"):
        read_cfg(path, ["Fe", "Al"])


def test_good_file_and_sign_of_stress(tmp_path):
    path = tmp_path / "x.cfg"
    path.write_text(GOOD)
    record = read_cfg(path, ["Fe"])[0]
    assert record.label.stress[0] == -1.0
    assert record.label.level_of_theory.kind is LabelKind.NON_MAGNETIC
    path.write_text("nothing")
    with pytest.raises(InputError, match="no configuration"):
        read_cfg(path, ["Fe"])


def changed_file_is_an_error_or_records(tmp_path, data):
    path = tmp_path / "changed.cfg"
    path.write_bytes(data)
    try:
        records = read_cfg(path, ["Fe", "Al"], en_der_sign=MAGNETIC_FORCE)
    except InputError as error:
        assert str(path) in str(error)
    else:
        for record in records:
            assert np.isfinite(record.frame.positions).all()
            assert record.label is None or np.isfinite(record.label.energy)


@pytest.fixture
def magnetic_file():
    columns = "fx fy fz magmom_x magmom_y magmom_z en_der_mx en_der_my en_der_mz"
    text = GOOD.replace("fx fy fz", columns).replace("1 0 0 0 0 0 0 0", "1 0 0 0 0 0 0 0 2.5 0 0 -0.1 0 0")
    return text.encode() * 2


@thorough
@given(st.data())
def test_any_byte_changed(tmp_path, magnetic_file, data):
    at, byte = data.draw(st.integers(0, len(magnetic_file) - 1)), data.draw(st.integers(0, 255))
    changed_file_is_an_error_or_records(tmp_path, magnetic_file[:at] + bytes([byte]) + magnetic_file[at + 1 :])


@thorough
@given(st.data(), st.sampled_from(["lose", "double", "move"]))
def test_any_line_lost_doubled_or_moved(tmp_path, magnetic_file, data, change):
    lines = magnetic_file.splitlines(keepends=True)
    at, to = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    kept = lines[:at] + lines[at + 1 :]
    changed = {"lose": kept, "double": lines[: at + 1] + lines[at:], "move": [*kept[:to], lines[at], *kept[to:]]}[
        change
    ]
    changed_file_is_an_error_or_records(tmp_path, b"".join(changed))


@thorough
@given(st.data())
def test_any_word_replaced(tmp_path, magnetic_file, data):
    words = re.split(rb"(\s+)", magnetic_file)
    at = data.draw(st.integers(0, len(words) - 1))
    words[at] = data.draw(
        st.sampled_from(["", "x", "nan", "-1", "1e999", "99999999999999", "²", "1_0", "{", "0x10"])
    ).encode()
    changed_file_is_an_error_or_records(tmp_path, b"".join(words))


@thorough
@given(st.data())
def test_any_end_cut_off(tmp_path, magnetic_file, data):
    at = data.draw(st.integers(0, len(magnetic_file) - 9))
    path = tmp_path / "cut.cfg"
    path.write_bytes(magnetic_file[:at])
    if magnetic_file[:at].strip().endswith(b"END_CFG"):
        assert len(read_cfg(path, ["Fe"], en_der_sign=MAGNETIC_FORCE)) == magnetic_file[:at].count(b"END_CFG")
        return
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_cfg(path, ["Fe"], en_der_sign=MAGNETIC_FORCE)
