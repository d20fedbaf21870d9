from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magflow.core.frame import Frame
from magflow.core.label import LabelKind
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.io.findings import Fate, Findings
from magflow.io.keyvalues import format_comment, parse_comment
from magflow.io.records import Record, unspecified_level
from magflow.io.records import labeled_frames as only_labeled
from strategies import LEVEL, frames, labeled_frames, same_frame, same_label

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

FE = 'Lattice="2.8 0 0 0 2.8 0 0 0 2.8" Properties=species:S:1:pos:R:3'


def write(tmp_path, text):
    path = tmp_path / "in.xyz"
    path.write_text(text)
    return path


@relaxed
@given(st.lists(labeled_frames() | frames(), min_size=1, max_size=4))
def test_round_trip_is_bit_exact(tmp_path, items):
    path = tmp_path / "x.xyz"
    assert write_extxyz(path, items) == len(items)
    for item, record in zip(items, read_extxyz(path), strict=True):
        frame = item if isinstance(item, Frame) else item.frame
        assert same_frame(record.frame, frame)
        if isinstance(item, Frame):
            assert record.label is None
        else:
            assert same_label(record.label, item.label)


@relaxed
@given(labeled_frames())
def test_ase_reads_what_is_written(tmp_path, item):
    path = tmp_path / "x.xyz"
    write_extxyz(path, [item])
    atoms = ase.io.read(path)
    assert np.array_equal(atoms.positions, item.frame.positions)
    assert np.array_equal(atoms.cell, item.frame.cell)
    assert atoms.get_potential_energy(force_consistent=True) == item.label.energy
    if item.label.forces is not None:
        assert np.array_equal(atoms.get_forces(), item.label.forces)
    if item.label.stress is not None:
        assert np.array_equal(atoms.get_stress(), item.label.stress)


@pytest.mark.parametrize("vector", [False, True])
def test_what_ase_writes_is_read(tmp_path, vector):
    """ASE moves magmoms, forces, stress and energy into a calculator; they come back as a label."""
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [1.4, 1.4, 1.4]], cell=[2.8] * 3, pbc=True)
    magmoms = np.array([[0, 0, 2.2], [0.5, 0, -2.0]]) if vector else np.array([2.2, -2.0])
    atoms.calc = SinglePointCalculator(
        atoms, energy=-1.5, free_energy=-2.5, forces=np.ones((2, 3)), stress=np.arange(6) / 10, magmoms=magmoms
    )
    path = tmp_path / "ase.xyz"
    ase.io.write(path, [atoms, atoms], format="extxyz")
    for record in read_extxyz(path):
        assert record.label.energy == -2.5
        assert np.allclose(record.label.forces, 1)
        assert np.allclose(record.label.stress, np.arange(6) / 10)
        z = magmoms[:, 2] if vector else magmoms
        assert np.allclose(record.frame.magmoms[:, 2], z)
        assert np.allclose(record.label.magmoms[:, 2], z)
        assert record.vector_moments is vector


def test_initial_moments_are_never_results(tmp_path):
    """The label says that its moments are unknown: it is neither non-magnetic nor fitted at a guess."""
    text = f"1\n{FE}:initial_magmoms:R:1 energy=-1\nFe 0 0 0 2.5\n"
    findings = Findings()
    record = read_extxyz(write(tmp_path, text), findings=findings)[0]
    assert record.label.magmoms is None and record.configuration.magmoms is None
    assert record.label.level_of_theory.kind is LabelKind.SPIN_POLARISED
    assert record.label.level_of_theory != unspecified_level(magmoms=True, magnetic_forces=False)
    assert "initial_magmoms" in findings.lines(Fate.KEPT)[0]


def test_targets_and_achieved_moments_are_told_apart(tmp_path):
    text = f"1\n{FE}:magmoms:R:1:target_magmoms:R:1 energy=-1\nFe 0 0 0 2.4 2.5\n"
    record = read_extxyz(write(tmp_path, text))[0]
    assert record.frame.magmoms[0, 2] == 2.5
    assert record.label.magmoms[0, 2] == record.configuration.magmoms[0, 2] == 2.4


def test_virial_is_refused_until_its_sign_is_told(tmp_path):
    path = write(tmp_path, f'1\n{FE} energy=-1 virial="3 0 0 0 3 0 0 0 3"\nFe 0 0 0\n')
    with pytest.raises(InputError, match="files disagree about its sign"):
        read_extxyz(path)
    assert read_extxyz(path, virial_sign=-1)[0].label.stress[0] == pytest.approx(-3 / 2.8**3)
    assert read_extxyz(path, virial_sign=1)[0].label.stress[0] == pytest.approx(3 / 2.8**3)


def test_stress_with_six_and_nine_values(tmp_path):
    six = f'1\n{FE} energy=-1 stress="1 2 3 4 5 6"\nFe 0 0 0\n'
    nine = f'1\n{FE} energy=-1 stress="1 6 5 6 2 4 5 4 3"\nFe 0 0 0\n'
    for record in read_extxyz(write(tmp_path, six + nine)):
        assert record.label.stress.tolist() == [1, 2, 3, 4, 5, 6]


def test_labels_can_be_set_aside(tmp_path):
    """For prediction: reference values keep their numbers under names that cannot be taken for predictions."""
    text = f"1\n{FE}:magmoms:R:1:target_magmoms:R:1:forces:R:3 energy=-1\nFe 0 0 0 2.4 2.5 1 2 3\n"
    record = read_extxyz(write(tmp_path, text), labels=False)[0]
    assert record.label is None
    assert record.frame.magmoms[0, 2] == 2.4
    assert record.info["reference_energy"] == -1
    assert record.columns["reference_forces"].tolist() == [[1, 2, 3]]


def test_atomic_numbers_stand_in_for_symbols(tmp_path):
    text = '1\nLattice="2.8 0 0 0 2.8 0 0 0 2.8" Properties=Z:I:1:pos:R:3\n26 0 0 0\n'
    assert read_extxyz(write(tmp_path, text))[0].frame.species == ("Fe",)


def test_unknown_keys_and_columns_are_kept(tmp_path):
    text = f'1\n{FE}:weight:R:1:tag:I:2 config_type=bulk index=007 flag note="two words" n=3\nFe 0 0 0 0.5 1 2\n'
    path = write(tmp_path, text)
    record = read_extxyz(path)[0]
    assert record.info == {"config_type": "bulk", "index": "007", "flag": True, "note": "two words", "n": 3}
    assert record.columns["tag"].tolist() == [[1, 2]]
    write_extxyz(path, [record])
    again = read_extxyz(path)[0]
    assert again.info == record.info
    assert all(np.array_equal(again.columns[k], v) for k, v in record.columns.items())


def test_a_level_of_theory_can_be_given_for_files_without(tmp_path):
    path = write(tmp_path, f"1\n{FE}:magnetic_forces:R:3:magmoms:R:3 energy=-1\nFe 0 0 0 0 0 1 0 0 2\n")
    assert read_extxyz(path)[0].label.level_of_theory.kind is LabelKind.CONSTRAINED
    assert read_extxyz(path)[0].label.level_of_theory.code == "unspecified"
    assert read_extxyz(path, level_of_theory=LEVEL)[0].label.level_of_theory is LEVEL


BAD = {
    "no count": ("Fe\n\n", "not a number of atoms"),
    "huge count": ("99999999999\nx\n", "not a number of atoms"),
    "negative count": ("-1\nx\n", "not a number of atoms"),
    "truncated": (f"2\n{FE}\nFe 0 0 0\n", "ends inside a frame"),
    "short lattice": ('1\nLattice="1 0"\nFe 0 0 0\n', "Lattice is malformed"),
    "word in lattice": ('1\nLattice="1 0 0 0 x 0 0 0 1"\nFe 0 0 0\n', "Lattice is malformed"),
    "nan in lattice": ('1\nLattice="nan 0 0 0 1 0 0 0 1"\nFe 0 0 0\n', "cell has a value that is not finite"),
    "zero volume": ('1\nLattice="1 0 0 2 0 0 0 0 1"\nFe 0 0 0\n', "no volume"),
    "unknown element": (f"1\n{FE}\nXq 0 0 0\n", "unknown element"),
    "dummy element": (f"1\n{FE}\nX 0 0 0\n", "unknown element"),
    "atomic number": ('1\nLattice="2 0 0 0 2 0 0 0 2" Properties=Z:I:1:pos:R:3\n999 0 0 0\n', "unknown element"),
    "missing column": (f"1\n{FE}:magmoms:R:1\nFe 0 0 0\n", "atom 1 has the wrong number of columns"),
    "no positions": ('1\nLattice="2 0 0 0 2 0 0 0 2" Properties=species:S:1\nFe\n', "pos is missing"),
    "no species": ('1\nLattice="2 0 0 0 2 0 0 0 2" Properties=pos:R:3\n0 0 0\n', "species is missing"),
    "word for a number": (f"1\n{FE}\nFe 0 zero 0\n", "column pos"),
    "nan position": (f"1\n{FE}\nFe 0 nan 0\n", "positions has a value that is not finite"),
    "infinite moment": (f"1\n{FE}:magmoms:R:1\nFe 0 0 0 inf\n", "a moment is not finite"),
    "two moment columns": (f"1\n{FE}:magmoms:R:2\nFe 0 0 0 1 2\n", "wrong number of moments"),
    "nan energy": (f"1\n{FE} energy=nan\nFe 0 0 0\n", "energy has a value that is not finite"),
    "word for an energy": (f"1\n{FE} energy=low\nFe 0 0 0\n", "energy is malformed"),
    "forces without energy": (f"1\n{FE}:forces:R:3\nFe 0 0 0 1 1 1\n", "but no energy"),
    "short stress": (f'1\n{FE} energy=1 stress="1 2 3"\nFe 0 0 0\n', "stress is malformed"),
    "properties": ('1\nLattice="2 0 0 0 2 0 0 0 2" Properties=species:S\nFe 0 0 0\n', "Properties is malformed"),
    "property kind": ('1\nLattice="2 0 0 0 2 0 0 0 2" Properties=species:Q:1\nFe\n', "Properties is malformed"),
    "column twice": (f"1\n{FE}:pos:R:3\nFe 0 0 0 0 0 0\n", "names a column twice"),
    "key twice": (f"1\n{FE} energy=1 energy=2\nFe 0 0 0\n", "given twice"),
    "open quote": ('1\nLattice="2 0 0 0 2\nFe 0 0 0\n', "not a list of key=value pairs"),
    "damaged label": (f'1\n{FE} energy=1 magflow_label="_JSON {{"\nFe 0 0 0\n', "JSON value is damaged"),
    "wrong label": (f"1\n{FE} energy=1 magflow_label=yes\nFe 0 0 0\n", "magflow_label is malformed"),
    "constrained without moments": (f"1\n{FE}:constrained:L:1\nFe 0 0 0 T\n", "there are no moments"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_frames_are_named(tmp_path, case):
    """The second frame is bad: the message says so, and on which line it starts."""
    text, message = BAD[case]
    path = write(tmp_path, f"1\n{FE}\nFe 0 0 0\n" + text)
    with pytest.raises(InputError, match="frame 2 \\(line 4\\)") as caught:
        read_extxyz(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_extxyz(tmp_path / "absent.xyz")
    with pytest.raises(InputError, match="cannot be read"):
        read_extxyz(tmp_path)
    (tmp_path / "binary").write_bytes(b"\x80\x81\xff")
    with pytest.raises(InputError, match="not text"):
        read_extxyz(tmp_path / "binary")
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(InputError, match="no frame"):
        read_extxyz(tmp_path / "empty")


def test_a_failed_write_leaves_nothing(tmp_path):
    frame = Frame(("Fe",), np.eye(3) * 3, np.zeros((1, 3)))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_extxyz(tmp_path / "file" / "x.xyz", [frame])
    (tmp_path / "file").unlink()
    path = tmp_path / "x.xyz"
    with pytest.raises(InputError, match="a name this format uses"):
        write_extxyz(path, [frame, Record(frame, info={"Lattice": 1})])
    assert list(tmp_path.iterdir()) == []


@given(
    st.dictionaries(
        st.text(min_size=1).filter(str.isprintable),
        st.text()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False)
        | st.lists(st.integers(0, 9)),
        max_size=5,
    )
)
@settings(deadline=None)
def test_any_key_and_value_survive_the_comment_line(pairs):
    line = format_comment(pairs)
    assert "\n" not in line
    assert parse_comment(line) == pairs


def test_reference_fe_gap22(reference_data):
    """Along the strain between neighbouring cells the stress has to give the difference in energy.

    That holds for virial = -stress x volume, whatever the file's README calls it.
    """
    items = only_labeled(read_extxyz(reference_data / "fe_gap22" / "DB9.xyz", virial_sign=-1))
    assert len(items) == 1743
    cells = np.array([item.frame.cell for item in items])
    work, difference = [], []
    for i in range(0, len(items), 7):
        distances = np.abs(cells - cells[i]).max(axis=(1, 2))
        distances[i] = np.inf
        j = int(distances.argmin())
        gradient = np.linalg.solve(cells[i], cells[j]) - np.eye(3)
        stress = tensor((items[i].label.stress + items[j].label.stress) / 2)
        volume = (items[i].frame.volume + items[j].frame.volume) / 2
        work.append(volume * np.sum(stress * (gradient + gradient.T) / 2))
        difference.append(items[j].label.energy - items[i].label.energy)
    slope, correlation = np.polyfit(work, difference, 1)[0], np.corrcoef(work, difference)[0, 1]
    assert correlation > 0.95
    assert slope == pytest.approx(1.0, abs=0.15)


def test_columns_of_words_and_flags(tmp_path):
    frame = Frame(("Fe", "Al"), np.eye(3) * 3, np.array([[0, 0, 0], [1.5, 1.5, 1.5]]))
    columns = {
        "site": np.array(["a", "bcc"]),
        "fixed": np.array([True, False]),
        "index": np.array([[1, 2], [3, 4]]),
        "single": np.array([0.1, 0.2], dtype=np.float32),
    }
    write_extxyz(tmp_path / "x.xyz", [Record(frame, columns=columns)])
    back = read_extxyz(tmp_path / "x.xyz")[0].columns
    assert back.keys() == columns.keys()
    assert all(np.array_equal(back[name], values) for name, values in columns.items())
    for bad in (np.array(["a b", "c"]), np.array(["", "c"]), np.array([1j, 2]), np.zeros((2, 2, 2))):
        with pytest.raises(InputError, match="column tag cannot be written"):
            write_extxyz(tmp_path / "y.xyz", [Record(frame, columns={"tag": bad})])


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("a=1 description= energy=-4.5", {"a": 1, "description": "", "energy": -4.5}),
        ("a = 1 b =2 c= 3 flag", {"a": 1, "b": 2, "c": 3, "flag": True}),
        ("x=1.5D-3 on=TRUE off=FALSE", {"x": 1.5e-3, "on": True, "off": False}),
        ('note="two\\nlines"', {"note": "two\nlines"}),
    ],
)
def test_spellings_of_the_specification(line, pairs):
    assert parse_comment(line) == pairs


def test_arrays_of_the_specification():
    assert parse_comment("m=[[1,2],[3,4]]")["m"].tolist() == [1, 2, 3, 4]
    assert parse_comment("pbc=[T, F, T]")["pbc"].tolist() == [True, False, True]
