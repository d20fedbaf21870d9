"""FLARE with its real core: against mir-flare's own descriptors and Gaussian process, and against differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psutil
import pytest
from mmtp_toy import random_frames, toy_labels
from scipy.linalg import cho_solve, cholesky

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.uncertainty import Uncertainty
from magflow.core.units import voigt
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.flare import FlareFamily, FlarePotential
from magflow.potentials.flare.environments import Form
from magflow.potentials.flare.fit import memory_needed
from magflow.potentials.flare.process import Process
from magflow.potentials.flare.settings import Descriptor
from magflow.potentials.flare.sparse import JITTER, SparseSet, most_uncertain
from magflow.potentials.flare.variance import prior_variances
from magflow.potentials.mmtp import MmtpFamily

pytestmark = [pytest.mark.flare, pytest.mark.usefixtures("flare_core")]

ELEMENTS = ("Al", "Fe")
FAMILY = FlareFamily(cutoff=4.0, n_max=4, l_max=2, environments=40)
FORMS = [
    Form(ELEMENTS, Descriptor.B1, 4, 0, 4.0),
    Form(ELEMENTS, Descriptor.B2, 3, 3, 4.0),
    Form(ELEMENTS, Descriptor.B3, 2, 3, 4.0),
]
SIGNAL, NOISE = 1.7, (0.02, 0.1, 0.05)
"""eV; eV/atom, eV/A, eV/atom."""


def labels(n: int, seed: int) -> list[LabeledFrame]:
    return toy_labels(n, seed, magnetic=False)


def frames(n: int, seed: int) -> list[Frame]:
    return random_frames(n, seed, magnetic=False)


@pytest.fixture(scope="module")
def known() -> list[LabeledFrame]:
    return labels(30, seed=0)


@pytest.fixture(scope="module")
def fitted(known):
    return FAMILY.fit(known, elements=ELEMENTS, seed=1)


def theirs(form: Form, frame: Frame, descriptor=None):
    """The frame as mir-flare has it, and its calculator of descriptors, which has to live as long."""
    from mir_flare_core import _C_flare

    kind = {Descriptor.B2: _C_flare.B2, Descriptor.B3: _C_flare.B3}[form.descriptor]
    settings = [len(form.species), form.n_max, form.l_max]
    descriptor = descriptor or kind("chebyshev", "quadratic", [0.0, form.cutoff], [], settings)
    types = [form.species.index(s) for s in frame.species]
    return _C_flare.Structure(frame.cell, types, frame.positions, form.cutoff, [descriptor]), descriptor


@pytest.mark.parametrize("form", FORMS[1:], ids=lambda form: form.descriptor)
def test_descriptors_are_those_of_mir_flare(form):
    for frame, environments in zip(frames(3, 1), form.environments(frames(3, 1)), strict=True):
        values = theirs(form, frame)[0].descriptors[0]
        for t in range(len(ELEMENTS)):
            atoms = np.array(values.atom_indices[t])
            if not len(atoms):
                continue
            expected = np.array(values.descriptors[t])
            assert expected.shape[1] == form.size == environments.unit.shape[1]
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
            np.testing.assert_allclose(environments.unit[atoms], expected, atol=1e-12)


def test_b1_is_the_sum_of_radial_functions_over_neighbours():
    form, frame = FORMS[0], frames(2, 3)[1]
    environments = next(form.environments([frame]))
    r = np.linalg.norm(environments.vectors, axis=1)
    radial = np.cos(np.arange(4) * np.arccos(r / 4.0)[:, None]) * (r - 4.0)[:, None] ** 2
    expected = np.zeros((2, 2, 4))
    np.add.at(expected, (environments.centre, environments.types[environments.neighbour]), radial)
    expected = expected.reshape(2, 8) / np.linalg.norm(expected.reshape(2, 8), axis=1, keepdims=True)
    np.testing.assert_allclose(environments.unit, expected, atol=1e-12)


def strained(frame: Frame, h: float, a: int, b: int) -> Frame:
    deform = np.eye(3)
    deform[a, b] += 0.5 * h
    deform[b, a] += 0.5 * h
    return frame.replace(cell=frame.cell @ deform, positions=frame.positions @ deform)


def displaced(frame: Frame, h: float, atom: int, axis: int) -> Frame:
    positions = frame.positions.copy()
    positions[atom, axis] += h
    return frame.replace(positions=positions)


CHANGES = [(0, displaced, (0, 0)), (5, displaced, (1, 2)), (6, strained, (0, 0)), (11, strained, (0, 1))]
"""Which of (dE/dr, dE/d(strain)) of two atoms, and how it is changed."""


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.descriptor)
def test_rows_and_their_prior_variances_are_derivatives_of_the_kernel(form, power):
    """The features of a frame's energy differentiated once, and its variance by two displacements at once."""
    frame, h = frames(2, 5)[1], 1e-4
    rng = np.random.default_rng(0)
    units = [rng.normal(size=(5, form.size)) for _ in ELEMENTS]
    sparse = SparseSet(tuple(u / np.linalg.norm(u, axis=1, keepdims=True) for u in units), power)
    here = next(form.environments([frame]))
    rows, prior = sparse.rows(here), prior_variances(here, power)
    for row, change, (a, b) in CHANGES:
        up, down = form.environments([change(frame, h, a, b), change(frame, -h, a, b)])
        slope = (sparse.rows(up)[0] - sparse.rows(down)[0]) / (2 * h)
        np.testing.assert_allclose(rows[1 + row], slope, atol=2e-7)
        alike = here.types[:, None] == here.types

        def kernel(one, two, alike=alike) -> float:
            return float((alike * (one.unit @ two.unit.T) ** power).sum())

        variance = (kernel(up, up) - 2.0 * kernel(up, down) + kernel(down, down)) / (2 * h) ** 2
        assert prior[1 + row] == pytest.approx(variance, rel=1e-4, abs=1e-6)
    assert prior[0] == pytest.approx(kernel(here, here))


def their_process(form: Form, items: list[LabeledFrame], chosen: list[list[int]]):
    """mir-flare's sparse Gaussian process on labels of frames of two atoms and one volume."""
    from mir_flare_core import _C_flare

    kernel, volume = _C_flare.NormalizedDotProduct(SIGNAL, 2), items[0].frame.volume
    process = _C_flare.SparseGP([kernel], 2.0 * NOISE[0], NOISE[1], 2.0 * NOISE[2] / volume)
    process.Kuu_jitter = JITTER * SIGNAL**2
    kept, structures = [kernel], []
    for item in items:
        structure, descriptor = theirs(form, item.frame, kept[1] if len(kept) > 1 else None)
        kept.append(descriptor)
        structure.energy = np.array([item.label.energy])
        structure.forces = item.label.forces.ravel()
        structure.stresses = -item.label.stress[[0, 5, 4, 1, 3, 2]]
        process.add_training_structure(structure)
        structures.append(structure)
    for structure, atoms in zip(structures, chosen, strict=True):
        process.add_specific_environments(structure, atoms)
    process.update_matrices_QR()
    return process, kept


def our_process(form: Form, items: list[LabeledFrame], chosen: list[list[int]]) -> Process:
    """The same: no free energies of single atoms, given signal and noises."""
    every = list(form.environments([item.frame for item in items]))
    types = np.concatenate([e.types[atoms] for e, atoms in zip(every, chosen, strict=True)])
    units = np.concatenate([e.unit[atoms] for e, atoms in zip(every, chosen, strict=True)])
    sparse = SparseSet(tuple(units[types == t] for t in range(len(ELEMENTS))), 2)
    precision, pull = np.eye(sparse.size) / SIGNAL**2, np.zeros(sparse.size)
    for e, item in zip(every, items, strict=True):
        label, noise = item.label, np.concatenate([[2 * NOISE[0]], np.full(6, NOISE[1]), np.full(6, 2 * NOISE[2])])
        values = np.concatenate([[label.energy], -label.forces.ravel(), e.volume * label.stress])
        rows = sparse.rows(e) / noise[:, None]
        precision += rows.T @ rows
        pull += rows.T @ (values / noise)
    species = len(ELEMENTS)
    root = np.eye(species + sparse.size) * 1e12  # energies of single atoms that are surely zero
    root[species:, species:] = cholesky(precision, lower=True)
    mean = cho_solve((root[species:, species:], True), pull)
    return Process(sparse, np.concatenate([np.zeros(species), mean]), root, SIGNAL, np.array([*NOISE, np.nan]))


@pytest.mark.parametrize("form", FORMS[1:], ids=lambda form: form.descriptor)
def test_mean_and_variances_are_those_of_mir_flare(form, known):
    """The same labels, sparse atoms, signal and noises in its own sparse Gaussian process."""
    items = [LabeledFrame(i.frame, replace(i.label, energy=i.label.energy + 9.0)) for i in _of_one_volume(6)]
    chosen = [[0], [0, 1], [1], [0, 1], [0], [1]]  # the two atoms of Fe2 are images of each other
    process, kept = their_process(form, items, chosen)
    ours = our_process(form, items, chosen)
    order = [0, 5, 4, 1, 3, 2]
    for frame in frames(3, 8):
        here = next(form.environments([frame]))
        theirs_here, _ = theirs(form, frame, kept[1])
        process.predict_mean(theirs_here)
        told = np.array(theirs_here.mean_efs).ravel()
        energy, slope = ours.atoms(here)
        gradient, strain = here.pulled(slope)
        assert energy.sum() == pytest.approx(told[0], abs=1e-7)
        np.testing.assert_allclose(-gradient.ravel(), told[1:-6], atol=1e-7)
        np.testing.assert_allclose(-strain[order] / here.volume, told[-6:], atol=1e-7)
        sor, dtc = ours.variances(here)
        for predict, mine in ((process.predict_SOR, sor), (process.predict_DTC, dtc)):
            predict(theirs_here)
            told = np.array(theirs_here.variance_efs).ravel()
            np.testing.assert_allclose(mine[:-6], told[:-6], rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(mine[-6:][order] / here.volume**2, told[-6:], rtol=1e-5, atol=1e-7)
        process.predict_local_uncertainties(theirs_here)
        told = np.array(theirs_here.local_uncertainties[0])  # species after species
        found = ours.local_variances(here)[np.argsort(here.types, kind="stable")]
        np.testing.assert_allclose(found, told, atol=1e-7)


def _of_one_volume(n: int) -> list[LabeledFrame]:
    from mmtp_toy import label

    first, *rest = frames(n, 0)
    return [label(f.replace(cell=first.cell)) for f in (first, *rest)]


def test_the_map_is_the_process(known):
    """Where a quadratic form is less work than the sum over sparse atoms, both are the same number."""
    family = FlareFamily(**FAMILY.model_dump() | {"n_max": 3, "l_max": 1})
    potential, unseen = family.fit(known[::2], elements=("Fe",), seed=1)[0], frames(6, 4)[::2]
    assert potential.process.quadratic[0].shape == (12, 12)
    mapped, summed = potential.predict(unseen), potential.predict(unseen, mapped=False)
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(mapped, name), getattr(summed, name), atol=1e-7)
    cubic, _ = FlareFamily(**family.model_dump() | {"power": 3}).fit(known[:8:2], elements=("Fe",), seed=1)
    assert cubic.process.quadratic == [None]


@pytest.mark.parametrize("descriptor", Descriptor)
def test_energy_does_not_change_with_the_orientation(descriptor, known):
    size = {"n_max": 2, "l_max": 2, "environments": 20, "descriptor": descriptor}
    potential, _ = FAMILY.model_copy(update=size).fit(known, elements=ELEMENTS, seed=1)
    frame = frames(1, 6)[0]
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = frame.replace(cell=frame.cell @ q, positions=frame.positions @ q)
    one, two = potential.predict([frame]), potential.predict([turned])
    assert two.energy[0] == pytest.approx(one.energy[0], abs=1e-8)  # a sum of terms of 1e6 eV
    np.testing.assert_allclose(two.forces, one.forces @ q, atol=1e-9)
    tensor = q.T @ _tensor(one.stress[0]) @ q
    np.testing.assert_allclose(two.stress[0], voigt(tensor), atol=1e-9)


def _tensor(v: np.ndarray) -> np.ndarray:
    return v[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def test_sparse_atoms_leave_no_other_less_certain_than_asked(known):
    form = FORMS[1]
    every = list(form.environments([item.frame for item in known]))
    units, types = np.concatenate([e.unit for e in every]), np.concatenate([e.types for e in every])
    none = SparseSet(tuple(np.zeros((0, form.size)) for _ in ELEMENTS), 2)

    def left(sparse: SparseSet) -> np.ndarray:
        return 1.0 - (sparse.features(units, types) ** 2).sum(axis=1)

    chosen = most_uncertain(none, units, types, 60, 0.01)
    assert 10 < len(chosen) < 60 and len(set(chosen.tolist())) == len(chosen)
    assert left(none.joined(units[chosen], types[chosen])).max() < 1.1e-4
    first = none.joined(units[chosen[:8]], types[chosen[:8]])
    (next_one,) = most_uncertain(first, units, types, 1, 0.01)
    assert left(first)[next_one] == pytest.approx(left(first).max())
    in_two = most_uncertain(first, units, types, 60, 0.01)
    assert left(first.joined(units[in_two], types[in_two])).max() < 1.1e-4


def test_a_fit_that_starts_from_another_keeps_its_atoms_and_learns_more(fitted, known):
    before, more, unseen = fitted[0], [*known, *labels(30, seed=3)], labels(20, seed=7)
    after, report = FAMILY.fit(more, elements=ELEMENTS, seed=1, start=before, validation=unseen)
    for old, new in zip(before.process.sparse.units, after.process.sparse.units, strict=True):
        assert np.array_equal(new[: len(old)], old)
    assert after.process.sparse.size > before.process.sparse.size
    assert report.rmse["validation"]["forces"] < 0.9 * _forces_error(before, unseen)
    adds_none = FAMILY.model_copy(update={"tolerance": 0.5})
    same, again = adds_none.fit(known, elements=ELEMENTS, seed=1, start=before)
    assert same.process.sparse.size == before.process.sparse.size
    assert again.iterations < fitted[1].iterations / 2
    assert same.process.signal == pytest.approx(before.process.signal, rel=0.1)


def _forces_error(potential: FlarePotential, items: list[LabeledFrame]) -> float:
    told = potential.predict([item.frame for item in items]).forces
    return float(np.sqrt(np.mean((told - np.concatenate([item.label.forces for item in items])) ** 2)))


def test_deviations_are_larger_where_labels_are_far(fitted):
    potential, near = fitted[0], frames(6, 4)
    far = [f.replace(cell=0.8 * f.cell, positions=0.8 * f.positions) for f in near]
    assert np.median(potential.grades(far)) > 2.0 * np.median(potential.grades(near))
    assert np.median(potential.local_deviations(far)) > 10.0 * np.median(potential.local_deviations(near))
    assert potential.local_deviations(far).max() <= potential.process.signal
    one = PotentialEnsemble((potential,), "flare", uncertainty=Uncertainty.LAPLACE)
    np.testing.assert_array_equal(one.predict(near).deviation.forces, potential.deviations(near).forces)


def test_labels_may_lack_forces_and_stress_and_what_is_not_finite_is_refused(known):
    bare = [
        LabeledFrame(i.frame, replace(i.label, stress=None, forces=None if k % 2 else i.label.forces))
        for k, i in enumerate(known)
    ]
    potential, report = FAMILY.fit(bare, elements=ELEMENTS, seed=1)
    assert set(report.rmse["train"]) == {"energy", "forces"}
    assert np.isnan(potential.process.noise[2:]).all() and np.isfinite(potential.grades([known[0].frame])).all()
    broken = LabeledFrame(known[0].frame, replace(known[0].label, forces=np.full((2, 3), np.nan)))
    with pytest.raises(InputError, match=r"training frame 1 \(.*\): forces are not finite"):
        FAMILY.fit([known[1], broken], elements=ELEMENTS, seed=1)


def test_an_atom_alone_has_the_energy_of_its_species(fitted):
    alone = Frame(("Fe",), 20.0 * np.eye(3), np.zeros((1, 3)))
    told = fitted[0].predict([alone])
    assert told.energy[0] == pytest.approx(fitted[0].process.coefficients[1])
    assert np.array_equal(told.forces, np.zeros((1, 3))) and np.array_equal(told.stress, np.zeros((1, 6)))
    assert np.isfinite(fitted[0].deviations([alone]).forces).all()


def test_files_are_small_whole_and_of_their_own_kind(fitted):
    data, unseen = fitted[0].to_bytes(), frames(4, 2)
    assert len(data) < 8 * (40 * fitted[0].form.size + 42 * 21 + 200)
    loaded = FlareFamily().load(data)
    for name in ("energy", "forces", "stress"):
        assert np.array_equal(getattr(loaded.predict(unseen), name), getattr(fitted[0].predict(unseen), name))
        assert np.array_equal(getattr(loaded.deviations(unseen), name), getattr(fitted[0].deviations(unseen), name))
    for family, other in ((MmtpFamily(), data), (FlareFamily(), b"\x00" + data), (FlareFamily(), data[:-40])):
        with pytest.raises(InputError):
            family.load(other)


def test_starts_of_another_form_are_refused_by_name(fitted, known):
    for change, name in (({"n_max": 3}, "n_max"), ({"power": 3}, "power"), ({"descriptor": "B1"}, "descriptor")):
        with pytest.raises(InputError, match=f"the warm start differs in {name}"):
            FlareFamily(**FAMILY.model_dump() | change).fit(known, elements=ELEMENTS, seed=1, start=fitted[0])
    with pytest.raises(InputError, match="the warm start differs in species"):
        FAMILY.fit(known[::2], elements=("Fe",), seed=1, start=fitted[0])


def test_too_little_memory_is_told_before_anything_is_fitted(known, monkeypatch):
    form = Form(ELEMENTS, Descriptor.B3, 8, 3, 5.0)
    needed = memory_needed(form, 300, [item.frame for item in known])
    assert 8 * 60 * 816 * 34 < needed < 10 * memory_needed(replace(form, n_max=4), 300, [known[0].frame])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": needed - 1})())
    with pytest.raises(InputError, match=r"would not fit into the memory.*GiB for 27744 descriptors.*300 environments"):
        FlareFamily(descriptor="B3", environments=300).fit(known, elements=ELEMENTS, seed=1)
