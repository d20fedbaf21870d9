"""Laws of the nouns: hashes, round trips, datasets."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from magflow.core.arrays import decode_arrays, digest, encode_arrays
from magflow.core.dataset import Dataset
from magflow.core.frame import QUANTUM, Frame, frames_from_arrays, frames_to_arrays, unique_frames
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory, label_id
from magflow.core.moments import Ordering, as_vectors, canonical_sign, collinear, is_collinear, ordering
from magflow.core.prediction import EnsemblePrediction, Prediction, concatenate
from magflow.core.units import tensor, voigt
from magflow.errors import InputError, StoreError
from magflow.io.ase_atoms import from_atoms, to_atoms
from magflow.io.structure import from_structure, to_structure
from strategies import ELEMENTS, LEVEL, frames, labeled_frames, same_frame, same_label

laws = settings(deadline=None, max_examples=60)


@laws
@given(frames(magnetic=True))
def test_m_and_minus_m_are_one_frame(frame):
    reversed_ = frame.time_reversed()
    assert reversed_.frame_id == frame.frame_id
    assert reversed_ == frame and hash(reversed_) == hash(frame)
    assert np.array_equal(reversed_.magmoms, -frame.magmoms)
    if (np.abs(frame.magmoms) > QUANTUM).any():
        assert reversed_.orientation == -frame.orientation


@laws
@given(frames(), st.data())
def test_a_frame_id_sees_every_change(frame, data):
    n = len(frame)
    atom, axis = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, 2))
    shift = np.zeros((n, 3))
    shift[atom, axis] = 1e-6
    others = [frame.replace(positions=frame.positions + shift), frame.replace(cell=frame.cell * 1.0001)]
    if frame.magmoms is not None:
        others.append(frame.replace(magmoms=frame.magmoms + 0.01 * (1 + np.arange(n))[:, None]))
        others.append(frame.non_magnetic())
    else:
        others.append(frame.replace(magmoms=np.zeros((n, 3))))
    swapped = tuple(ELEMENTS[(ELEMENTS.index(s) + 1) % len(ELEMENTS)] for s in frame.species)
    others.append(Frame(swapped, frame.cell, frame.positions, frame.magmoms, frame.constrained))
    for other in others:
        assert other.frame_id != frame.frame_id


@laws
@given(frames())
def test_a_frame_id_is_blind_to_rounding(frame):
    """Differences far below the resolution leave the id alone, unless a value lies on the edge of a bin."""
    values = np.concatenate([frame.cell.ravel(), frame.positions.ravel()]) / QUANTUM
    if (np.abs(values - np.floor(values) - 0.5) < 1e-3).any():
        return
    assert frame.replace(positions=frame.positions + 1e-4 * QUANTUM).frame_id == frame.frame_id
    negative_zero = np.where(frame.positions == 0, -0.0, frame.positions)
    assert frame.replace(positions=negative_zero).frame_id == frame.frame_id


@laws
@given(st.lists(frames(), max_size=4))
def test_frames_survive_arrays_and_text(items):
    back = frames_from_arrays(decode_arrays(encode_arrays(frames_to_arrays(items))))
    assert len(back) == len(items)
    assert all(same_frame(a, b) for a, b in zip(back, items, strict=True))
    assert [f.frame_id for f in unique_frames([*items, *items])] == list(dict.fromkeys(f.frame_id for f in items))


@laws
@given(frames())
def test_frames_survive_the_neighbours(frame):
    assert same_frame(from_structure(to_structure(from_atoms(to_atoms(frame)).frame)), frame)


@laws
@given(frames())
def test_frames_cannot_be_changed(frame):
    arrays = [frame.cell, frame.positions, frame.magmoms, frame.constrained]
    for array in (a for a in arrays if a is not None):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert same_frame(pickle.loads(pickle.dumps(frame)), frame)


@laws
@given(labeled_frames(magnetic=True))
def test_a_label_follows_its_frame(item):
    """The label of M, asked for -M, has reversed moments and magnetic forces and the same everything else."""
    other = LabeledFrame(item.frame.time_reversed(), item.label)
    assert other.label_id == item.label_id
    sign = other.frame.orientation * item.frame.orientation
    assert np.array_equal(other.label.magmoms, sign * item.label.magmoms)
    assert np.array_equal(other.label.magnetic_forces, sign * item.label.magnetic_forces, equal_nan=True)
    assert other.label.energy == item.label.energy
    assert same_label(LabeledFrame(item.frame, other.label).label, item.label)


@laws
@given(frames(), frames())
def test_a_label_of_another_frame_is_refused(one, other):
    if one == other:
        return
    with pytest.raises(InputError, match="another frame"):
        Label(one.frame_id, LEVEL, energy=0.0).for_frame(other)


LEVELS = st.builds(
    LevelOfTheory,
    code=st.sampled_from(["abinit", "vasp"]),
    version=st.sampled_from(["9", "10"]),
    kind=st.sampled_from(LabelKind),
    functional=st.sampled_from(["PBE", "LDA"]),
    datasets=st.dictionaries(st.sampled_from(ELEMENTS), st.sampled_from(["a", "b"]), max_size=2),
    parameters=st.dictionaries(st.sampled_from(["ecut_ha", "mesh"]), st.floats(0, 9) | st.just([4, 4, 4]), max_size=2),
)


@laws
@given(LEVELS, LEVELS, frames())
def test_label_ids_separate_levels_of_theory(a, b, frame):
    same = a.as_dict() == b.as_dict()
    assert (a.fingerprint == b.fingerprint) == same
    assert (label_id(frame.frame_id, a) == label_id(frame.frame_id, b)) == same
    again = LevelOfTheory.from_dict(a.as_dict())
    assert again == a and hash(again) == hash(a) and again.fingerprint == a.fingerprint


def sets_of_labels(max_size):
    """Lists of labelled frames, each label once: two of one frame that disagree are no dataset."""
    return st.lists(labeled_frames(), max_size=max_size, unique_by=lambda item: item.label_id)


@laws
@given(sets_of_labels(8), st.randoms())
def test_datasets(items, random):
    dataset = Dataset(items)
    shuffled = items[:]
    random.shuffle(shuffled)
    ids = [item.label_id for item in dataset]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {item.label_id for item in items}
    assert Dataset(shuffled).fingerprint == dataset.fingerprint
    assert dataset.merge(dataset).fingerprint == dataset.fingerprint
    assert [i.label_id for i in dataset[1:]] == ids[1:]


@laws
@given(sets_of_labels(12), st.integers(0, 8), st.integers(0, 99))
def test_a_split_is_stable_when_the_dataset_grows(items, few, seed):
    small, large = Dataset(items[:few]), Dataset(items)
    first, second = small.split(0.3, seed)
    assert len(first) + len(second) == len(small)
    ids = {item.label_id for item in large.split(0.3, seed)[1]}
    assert {item.label_id for item in second} == ids & {item.label_id for item in small}


def test_splits_depend_on_the_seed():
    items = [
        LabeledFrame(f, Label(f.frame_id, LEVEL, energy=1.0))
        for k in range(60)
        for f in [Frame(("Fe",), np.eye(3) * (3 + k / 100), np.zeros((1, 3)))]
    ]
    dataset = Dataset(items)
    splits = {tuple(i.label_id for i in dataset.split(0.3, seed)[1]) for seed in range(5)}
    assert len(splits) == 5
    assert all(5 < len(s) < 32 for s in splits)
    with pytest.raises(InputError):
        dataset.split(1.0, 0)


ARRAYS = st.dictionaries(
    st.text("abcdef_", min_size=1, max_size=6),
    hnp.arrays(st.sampled_from([np.float64, np.int64, np.bool_]), hnp.array_shapes(max_dims=3, max_side=4))
    | hnp.arrays(np.dtype("U5"), hnp.array_shapes(max_dims=1)),
    max_size=3,
)


@laws
@given(ARRAYS)
def test_arrays_survive_text(arrays):
    back = decode_arrays(encode_arrays(arrays))
    assert back.keys() == arrays.keys()
    for name, values in arrays.items():
        assert back[name].dtype == values.dtype
        assert back[name].tobytes() == values.tobytes()


@laws
@given(st.text(max_size=80))
def test_damaged_array_text_is_refused(text):
    with pytest.raises(StoreError, match="damaged"):
        decode_arrays(text)


def test_truncated_array_text_is_refused():
    whole = encode_arrays({"a": np.arange(1000.0)})
    for cut in (4, 40, len(whole) // 2 // 4 * 4, len(whole) - 4):
        with pytest.raises(StoreError, match="damaged"):
            decode_arrays(whole[:cut])


@given(st.lists(st.binary(max_size=4), max_size=3), st.lists(st.binary(max_size=4), max_size=3))
def test_digests_separate_their_parts(a, b):
    assert (digest(a) == digest(b)) == (a == b)


@laws
@given(hnp.arrays(np.float64, 6, elements=st.floats(-1e6, 1e6)))
def test_voigt_and_back(six):
    assert np.array_equal(voigt(tensor(six)), six)
    assert np.array_equal(tensor(six), tensor(six).T)


def test_voigt_is_xx_yy_zz_yz_xz_xy_and_the_mean_across_the_diagonal():
    assert voigt([[1, 60, 50], [6, 2, 40], [5, 4, 3]]).tolist() == [1, 2, 3, 22, 27.5, 33]
    assert tensor([1, 2, 3, 4, 5, 6]).tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]


@pytest.mark.parametrize("given_", [np.array([1.0, 2.0]), np.array([[0, 0, 1.0], [0, 0, 2.0]])], ids=["z", "vectors"])
def test_moments_are_not_those_of_the_caller(given_):
    vectors = as_vectors(given_, 2)
    vectors[:] = 9.0
    assert given_.max() == 2.0


@laws
@given(hnp.arrays(np.float64, st.integers(1, 6), elements=st.floats(-4, 4)))
def test_collinear_moments_survive_vectors(m):
    vectors = as_vectors(m, len(m))
    assert is_collinear(vectors)
    assert np.array_equal(collinear(vectors), m)
    assert ordering(vectors) == ordering(-vectors)
    q = np.rint(vectors * 1e8).astype(int)
    if q.any():
        assert canonical_sign(q) == -canonical_sign(-q)


@pytest.mark.parametrize(
    ("moments", "name"),
    [
        ([2.0, 2.0], Ordering.FM),
        ([-2.0, -2.0], Ordering.FM),
        ([2.0, -2.0], Ordering.AFM),
        ([2.0, -1.0], Ordering.FIM),
        ([2.0, -1.8], Ordering.FIM),
        ([2.0, -1.82], Ordering.AFM),
        ([2.0, 0.05], Ordering.FM),
        ([2.0, -0.1], Ordering.FIM),  # polarised from 0.1 muB on
        ([0.05, -0.05], Ordering.NM),
        ([0.0, 0.0], Ordering.NM),
    ],
)
def test_orderings(moments, name):
    assert ordering(as_vectors(moments, 2)) is name
    assert ordering(None) is Ordering.NM
    assert ordering(np.array([[1.0, 0, 1.0]])) is Ordering.NONCOLLINEAR


@st.composite
def predictions(draw, counts=None):
    counts = np.array(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)) if counts is None else counts)
    n, total = len(counts), int(counts.sum())
    number = st.floats(-10, 10)
    shapes = {"energy": (n,), "forces": (total, 3), "stress": (n, 6), "magnetic_forces": (total, 3)}
    return Prediction(counts, **{k: draw(hnp.arrays(np.float64, s, elements=number)) for k, s in shapes.items()})


@laws
@given(predictions())
def test_a_prediction_is_its_frames(p):
    back = concatenate([p.frame(i) for i in range(len(p))])
    for name in ("counts", "energy", "forces", "stress", "magnetic_forces"):
        assert np.array_equal(getattr(back, name), getattr(p, name))


@laws
@given(st.data())
def test_ensemble_statistics(data):
    counts = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    members = [data.draw(predictions(counts)) for _ in range(data.draw(st.integers(1, 4)))]
    e = EnsemblePrediction.from_members(members)
    energies = np.array([m.energy for m in members])
    assert np.allclose(e.mean.energy, energies.mean(axis=0))
    expected = energies.std(axis=0, ddof=1) if len(members) > 1 else np.zeros(len(counts))
    assert np.allclose(e.deviation.energy, expected)
    assert np.allclose(e.frame_deviation("energy"), expected / np.array(counts))
    norms = np.linalg.norm(e.deviation.forces, axis=1)
    starts = np.cumsum([0, *counts])
    largest = [norms[a:b].max() for a, b in pairwise(starts)]
    assert np.allclose(e.frame_deviation("forces"), largest)
    norms = np.linalg.norm(e.deviation.magnetic_forces, axis=1)
    assert np.allclose(e.frame_deviation("magnetic_forces"), [norms[a:b].max() for a, b in pairwise(starts)])
    assert np.allclose(e.frame_deviation("stress"), np.array(e.deviation.stress).max(axis=1))
