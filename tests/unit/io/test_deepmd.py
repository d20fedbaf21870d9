from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magflow.core.frame import Frame
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.io.deepmd import read_deepmd
from magflow.io.deepmd_writer import write_deepmd
from strategies import ELEMENTS, labeled_frames

FRAME = Frame(("Fe",), np.eye(3) * 3, np.zeros((1, 3)), np.array([2.5]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(labeled_frames(), min_size=1, max_size=4))
def test_labels_survive(tmp_path_factory, items):
    """Frames that have the same species and quantities share a system; nothing of any of them is lost."""
    path = tmp_path_factory.mktemp("deepmd") / "out"
    folders = write_deepmd(path, items, ELEMENTS)
    back = read_deepmd(path)
    assert len(back) == len(items) and len({tuple(f.iterdir()) for f in folders}) == len(folders)
    for item in items:
        assert any(_same(record, item) for record in back)


def _same(record, item) -> bool:
    frame, label = item.configuration, item.label
    forces = None if label.magnetic_forces is None else np.nan_to_num(label.magnetic_forces, nan=0.0)
    bits = [
        (record.frame.magmoms, frame.magmoms),
        (record.frame.positions, frame.positions),
        (record.frame.cell, frame.cell),
        (record.label.magnetic_forces, forces),
        (record.label.forces, label.forces),
    ]
    stresses = (record.label.stress, label.stress)
    return (
        record.frame.species == frame.species
        and record.label.energy == label.energy
        and record.label.level_of_theory == label.level_of_theory
        and all(a is b is None or (a is not None and b is not None and np.array_equal(a, b)) for a, b in bits)
        and (stresses[0] is stresses[1] is None or np.allclose(*stresses, rtol=1e-13, atol=1e-14))
    )


@settings(max_examples=10, deadline=None)
@given(item=labeled_frames())
def test_virial_is_minus_stress_times_volume(tmp_path_factory, item):
    path = tmp_path_factory.mktemp("deepmd") / "out"
    folder = write_deepmd(path, [item], ELEMENTS)[0]
    if item.label.stress is not None:
        virial = np.load(folder / "set.000" / "virial.npy")[0].reshape(3, 3)
        assert np.allclose(virial, -tensor(item.label.stress) * item.frame.volume)
    else:
        assert not (folder / "set.000" / "virial.npy").exists()


def test_reference_nio(reference_data):
    records = read_deepmd(reference_data / "deepmd_spin_NiO")
    assert len(records) == 120
    first = read_deepmd(reference_data / "deepmd_spin_NiO" / "data_0")[0]
    assert first.frame.species[:2] == ("Ni", "Ni") and len(first.frame) == 32
    assert first.label.energy == pytest.approx(-166.28963765)
    assert first.frame.magmoms[0].tolist() == pytest.approx([0.82520024, -0.68370906, -0.68842867])
    assert first.label.magnetic_forces[0].tolist() == pytest.approx([0.00658543, -0.00522399, -0.00512961])
    assert first.label.stress is None


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        write_deepmd(tmp_path / "taken", [FRAME], ["Fe"])
    with pytest.raises(InputError, match="no type"):
        write_deepmd(tmp_path / "b", [FRAME], ["Al"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("type.raw", "7", "types are malformed"),
        ("type_map.raw", "Xq", "unknown element"),
        ("set.000/box.npy", None, "box.npy is missing"),
        ("set.000/coord.npy", b"garbage", "cannot be used"),
        ("set.000/coord.npy", np.zeros((1, 5)), "cannot be used"),
        ("set.000/coord.npy", np.zeros((2, 3)), "differ in their number of frames"),
        ("set.000/coord.npy", np.array([{"a": 1}], dtype=object), "cannot be used"),
        ("set.000/spin.npy", np.full((1, 3), np.nan), "not finite"),
        ("nopbc", "", "not periodic"),
    ],
)
def test_malformed_systems(tmp_path, name, content, message):
    folder = write_deepmd(tmp_path / "out", [FRAME], ["Fe"])[0]
    if content is None:
        (folder / name).unlink()
    elif isinstance(content, np.ndarray):
        np.save(folder / name, content, allow_pickle=True)
    else:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_deepmd(folder)


def test_no_system(tmp_path):
    with pytest.raises(InputError, match="no DeePMD system"):
        read_deepmd(tmp_path)
