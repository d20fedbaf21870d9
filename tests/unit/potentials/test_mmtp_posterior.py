"""What a fit leaves undecided, and the grade that follows from it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.statistics import Statistics
from magflow.core.uncertainty import Uncertainty, require_told
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.explore.starting import Conditions, started
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily, MmtpPotential
from magflow.potentials.mmtp.grade import select_active_set
from magflow.potentials.mmtp.leverage import DRAWS, REACH, PosteriorDraws
from magflow.potentials.mmtp.native import kernel
from magflow.potentials.mmtp.objective import Prior
from magflow.potentials.mmtp.posterior import Posterior
from magflow.potentials.mmtp.residuals import MmtpWeights, RowLayout
from magflow.potentials.mmtp.scope import Scope
from magflow.potentials.mmtp.task import FitTask, prepare

FAMILY = MmtpFamily(max_iterations=20)
ENGINE = SpinLatticeEngine()
LEVEL = ENGINE.level_of_theory(["Al", "Fe"])


def labelled(frames):
    return [LabeledFrame(frame, ENGINE.label(frame, LEVEL, Path())) for frame in frames]


def strained(n: int, seed: int) -> list[Frame]:
    """Two-atom cells of Fe2 and FeAl, strained, displaced and with any moments."""
    rng, frames = np.random.default_rng(seed), []
    for k in range(n):
        cell = 2.86 * (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3)))
        positions = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) @ cell + rng.normal(0, 0.07, (2, 3))
        second = ("Fe", "Al")[k % 2]
        frames.append(Frame(("Fe", second), cell, positions, rng.uniform(0, 1, 2) * [2.8, 0.1 if k % 2 else 2.8]))
    return frames


ITEMS = labelled(strained(30, seed=0))


@cache
def fitted():
    potential = FAMILY.fit(ITEMS, elements=("Al", "Fe"), seed=1)[0]
    ready = prepare(FAMILY, FitTask(ITEMS, (), ("Al", "Fe"), 1))
    unknowns = np.concatenate([potential.model.parameters, potential.model.pulay])
    return potential, ready, Posterior.of(replace(ready.problem, model=potential.model), ready.prior, unknowns)


def test_the_factor_is_the_root_of_the_covariance():
    _, ready, posterior = fitted()
    normal, _, _ = ready.problem.normal(posterior.unknowns)
    normal += np.diag(ready.prior.precision)
    scale = np.sqrt(np.diag(normal))
    correlated = (normal / scale / scale[:, None]) @ (posterior.factor @ posterior.factor.T * scale * scale[:, None])
    np.testing.assert_allclose(correlated, np.eye(len(normal)), atol=1e-4)


def test_a_straight_line_has_the_textbook_posterior():
    """y = a + b x at 3 points with unit noise and a prior of variance 1/4: the covariance by hand."""
    x = np.array([-1.0, 0.0, 1.0])
    design, y = np.stack([np.ones(3), x], axis=1), np.array([0.0, 1.0, 2.0])

    class Line:
        known = 3

        def normal(self, p):
            r = design @ p - y
            return design.T @ design, design.T @ r, float(r @ r)

    prior = Prior(np.full(2, 4.0), np.zeros(2))
    posterior = Posterior.of(Line(), prior, np.zeros(2))
    np.testing.assert_allclose(posterior.factor @ posterior.factor.T, np.diag([1 / 7, 1 / 6]))
    assert posterior.effective == pytest.approx(3 / 7 + 2 / 6)
    assert posterior.noise == pytest.approx(5 / (3 - 3 / 7 - 2 / 6))
    draws = posterior.draw(20_000, seed=0)
    np.testing.assert_allclose(np.cov(draws.T), np.diag([1 / 7, 1 / 6]), atol=5e-3)


def test_training_rows_have_leverages_below_one_and_they_sum_to_the_effective_unknowns():
    potential, ready, posterior = fitted()
    frames = [item.configuration for item in ready.items]
    rows = posterior.rows(potential.model, frames, FAMILY.weights)
    leverages = (rows**2).sum(axis=1)
    assert 0.3 < leverages.max() < 1.0
    assert leverages.sum() == pytest.approx(posterior.effective, rel=1e-6)


def test_draws_give_the_leverages_of_the_rows(monkeypatch):
    potential, ready, posterior = fitted()
    monkeypatch.setattr("magflow.potentials.mmtp.leverage.DRAWS", 300)
    draws = PosteriorDraws.of(posterior, ready.problem, FAMILY.weights, seed=3)
    frames = [rattled(2, 0.05, 1), rattled(8, 0.05, 2)]
    geometry = potential.geometry(frames)
    layout = RowLayout.of(geometry)
    exact = (posterior.rows(potential.model, frames, FAMILY.weights) ** 2).sum(axis=1)
    atoms, alone = draws.squares(potential, geometry)
    of_energy, of_force, of_stress, of_moment = 1.0 / REACH**2
    of_atoms = np.maximum(of_force * exact[layout.positions].sum(axis=1), of_moment * exact[layout.moments])
    np.testing.assert_allclose(np.sqrt(atoms / of_atoms), 1.0, atol=0.15)
    stress = exact_stress(potential, posterior, geometry).max(axis=1)
    of_frames = np.maximum(of_energy * exact[layout.begin[:-1]], of_stress * stress)
    np.testing.assert_allclose(np.sqrt(alone / of_frames), 1.0, atol=0.15)
    worst = [max(atoms[:2].max(), alone[0]), max(atoms[2:].max(), alone[1])]
    np.testing.assert_allclose(draws.frame_grades(potential, geometry), np.sqrt(worst))


def exact_stress(potential, posterior, geometry):
    """(n, 6) leverages of the potential's own stress: without the Pulay constants of the labels."""
    layout, n = RowLayout.of(geometry), len(potential.model.parameters)
    design = kernel().Design(potential.model.spec, *geometry.design_arguments)
    weights = np.zeros(layout.begin[-1])
    weights[layout.strain] = (FAMILY.weights.stress / geometry.counts)[:, None]
    arguments = (potential.model.spec, potential.model.parameters, 0, len(geometry.counts), weights, True)
    _, jacobian = design.jacobian(*arguments)
    return ((jacobian @ posterior.factor[:n]) ** 2).sum(axis=1)[layout.strain]


def rattled(n: int, size: float, seed: int) -> Frame:
    """bcc Fe, or with an odd seed B2 FeAl, of `n` atoms (2, 8 or 16), displaced by `size` A rms, ferromagnetic."""
    kind = bulk("Fe", "bcc", a=2.836, cubic=True) if seed % 2 == 0 else bulk("FeAl", "cesiumchloride", a=2.884)
    atoms = kind.repeat({2: (1, 1, 1), 8: (1, 2, 2), 16: (2, 2, 2)}[n])
    rng = np.random.default_rng(seed)
    atoms.positions += size / np.sqrt(3.0) * rng.normal(size=(n, 3))
    moments = np.where(atoms.numbers == 26, 2.2, 0.0)
    return Frame(tuple(atoms.get_chemical_symbols()), np.array(atoms.cell), atoms.positions, moments)


def errors(ensemble, frames):
    """(n,) largest error of a force of each frame, eV/A."""
    found, known = ensemble.predict(frames).mean, labelled(frames)
    error = found.forces - np.concatenate([item.label.forces for item in known])
    return found.atom_max(np.linalg.norm(error, axis=1))


def test_a_training_set_of_two_atoms_does_not_hold_larger_cells():
    """Forces wrong by 0.3 eV/A are called outside, those right to 0.06 inside, of cells of 2 to 16 atoms alike."""
    data = Dataset(ITEMS)
    members = tuple(fit_member(FAMILY, data, elements=("Al", "Fe"), seed=2, member=k)[0] for k in range(3))
    ensemble = PotentialEnsemble(members, "mmtp")
    frames = [rattled(n, size, seed) for n in (2, 8, 16) for size in (0.02, 0.06, 0.12) for seed in range(4)]
    error, grades = errors(ensemble, frames), ensemble.grades(frames)
    wrong, right = error > 0.3, error < 0.06
    assert min(wrong.sum(), right.sum()) >= 5
    assert (grades[wrong] > 2.0).mean() >= 0.95
    assert (grades[right] > 2.0).mean() <= 0.1


@pytest.mark.parametrize(("kind", "a", "moment"), [("sc", 2.5, 0.5), ("bcc", 3.3, 0.5), ("fcc", 3.2, 2.2)])
def test_a_crystal_without_forces_is_seen_by_its_energy(kind, a, moment):
    potential, _, _ = fitted()
    atoms = bulk("Fe", kind, a=a)
    frame = Frame(("Fe",), np.array(atoms.cell), atoms.positions, [moment])
    assert np.abs(potential.predict([frame]).forces).max() < 1e-8
    assert potential.grades([frame])[0] > 2.0


def test_low_on_the_training_set_and_high_for_other_moments():
    potential, ready, _ = fitted()
    frames = [item.configuration for item in ready.items]
    known = potential.grades(frames)
    assert known.max() < 0.6
    assert np.median(potential.grades([f.replace(magmoms=f.magmoms * 2.0) for f in frames]) / known) > 5.0


def test_invariant_under_what_the_energy_is():
    potential, frame = fitted()[0], rattled(8, 0.05, 4)
    expected = potential.grades([frame])
    np.testing.assert_allclose(potential.grades([frame.time_reversed()]), expected, rtol=1e-5)
    np.testing.assert_allclose(potential.grades([repeated(frame, (2, 1, 1))]), expected, rtol=1e-5)
    turned, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    rotated = frame.replace(cell=frame.cell @ turned, positions=frame.positions @ turned)
    atoms = potential.atom_grades([frame, rotated]).reshape(2, -1)
    np.testing.assert_allclose(atoms[1], atoms[0], rtol=1e-5)


def test_kept_with_the_model_and_damage_is_seen():
    potential, frames = fitted()[0], [rattled(8, 0.05, 5)]
    assert potential.active.scope is Scope.POSTERIOR
    loaded = MmtpPotential.from_bytes(potential.to_bytes())
    np.testing.assert_array_equal(loaded.grades(frames), potential.grades(frames))
    good = potential.active
    for bad in (
        PosteriorDraws(good.directions[:, 1:], good.weights),
        PosteriorDraws(good.directions * np.nan, good.weights),
        PosteriorDraws(good.directions[:0], good.weights),
        PosteriorDraws(good.directions, good.weights[:2]),
    ):
        with pytest.raises(InputError, match="damaged"):
            MmtpPotential.from_bytes(replace(potential, active=bad).to_bytes())


def test_models_of_format_1_keep_their_active_set():
    potential, frames = fitted()[0], [item.frame for item in ITEMS]
    before = replace(potential, active=select_active_set(potential, potential.geometry(frames)))
    with np.load(io.BytesIO(before.to_bytes())) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays.pop("header").tobytes()) | {"format": "magflow-mmtp-1"}
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays)
    old = MmtpPotential.from_bytes(buffer.getvalue())
    assert old.active.scope is Scope.LINEAR
    np.testing.assert_array_equal(old.grades(frames), before.grades(frames))


def test_what_no_label_held_is_not_looked_at():
    items = [replace(i, label=replace(i.label, magnetic_forces=None, stress=None)) for i in ITEMS[:8]]
    active = FAMILY.fit(items, elements=("Al", "Fe"), seed=1)[0].active
    assert (active.weights > 0).tolist() == [True, True, False, False]


def test_environments_alone_have_no_posterior():
    potential = fitted()[0]
    with pytest.raises(InputError, match="posterior follows from labels"):
        select_active_set(potential, potential.geometry([ITEMS[0].frame]), Scope.POSTERIOR)


def test_deviations_are_those_of_the_draws_along_exact_derivatives():
    potential, _, posterior = fitted()
    frames = [rattled(2, 0.05, 1), rattled(8, 0.05, 2)]
    draws = np.random.default_rng(1).normal(size=(DRAWS, len(posterior.factor)))
    exact = posterior.rows(potential.model, frames, MmtpWeights(energy=1, forces=1, stress=1, magnetic_forces=1))
    expected = np.sqrt(posterior.noise * np.mean((exact @ draws.T) ** 2, axis=1))
    found, layout = potential.deviations(frames), RowLayout.of(potential.geometry(frames))
    np.testing.assert_allclose(found.energy / found.counts, expected[layout.begin[:-1]], rtol=0.02)
    np.testing.assert_allclose(found.forces, expected[layout.positions], rtol=0.02, atol=1e-5)
    np.testing.assert_allclose(found.magnetic_forces[:, 2], expected[layout.moments], rtol=0.02, atol=1e-5)
    assert not found.magnetic_forces[:, :2].any()
    shear = np.array([f.volume / len(f) for f in frames])[:, None] * found.stress[:, 3:]
    np.testing.assert_allclose(shear, expected[layout.strain[:, 3:]], rtol=0.02, atol=1e-5)


def test_one_fit_moves_atoms_and_tells_its_deviation():
    potential, _, _ = fitted()
    known = Calibration({"forces": ErrorModel(2.0, 0.01), "energy": ErrorModel(0.5, 0.001)})
    alone = PotentialEnsemble((potential,), "mmtp", known, uncertainty=Uncertainty.LAPLACE)
    frame = rattled(2, 0.05, 1)
    energy = float(potential.predict([frame]).energy[0])
    motion = started(frame, energy, Conditions(Statistics.NVE, 300.0, timestep=1.0), 1)
    moving, plain = alone.dynamics([motion]), PotentialEnsemble((potential,), "mmtp").dynamics([motion])
    for propagator in (moving, plain):
        propagator.advance(20)
    seen, before = moving.observe(0), plain.observe(0)
    np.testing.assert_allclose(seen.motion.frame.positions, before.motion.frame.positions, atol=1e-8)
    said = alone.predict([seen.motion.frame])
    assert seen.forces_deviation == pytest.approx(said.frame_deviation("forces")[0], rel=1e-3)
    assert seen.energy_deviation == pytest.approx(said.frame_deviation("energy")[0], rel=1e-3)
    assert before.forces_deviation == 0.0 < seen.forces_deviation


def test_an_ensemble_takes_either_deviation_or_both(tmp_path):
    members = tuple(FAMILY.fit(ITEMS, elements=("Al", "Fe"), seed=s)[0] for s in (1, 2))
    frames = [rattled(2, 0.05, 1)]
    kinds = {u: PotentialEnsemble(members, "mmtp", uncertainty=u) for u in Uncertainty}
    spread, undecided, both = (kinds[u].predict(frames).deviation.forces for u in Uncertainty)
    each = [m.deviations(frames).forces for m in members]
    np.testing.assert_allclose(undecided**2, (each[0] ** 2 + each[1] ** 2) / 2)
    np.testing.assert_allclose(both**2, (spread**2 + undecided**2) / 2)
    assert kinds[Uncertainty.BOTH].dynamics([]) is None, "nothing native tells it"
    loaded = PotentialEnsemble.load(kinds[Uncertainty.LAPLACE].save(tmp_path))
    assert loaded.uncertainty is Uncertainty.LAPLACE
    np.testing.assert_array_equal(loaded.predict(frames).deviation.forces, undecided)


def test_a_potential_that_does_not_know_its_deviation_says_so():
    potential, _, _ = fitted()
    older = replace(potential, active=replace(potential.active, noise=np.nan))
    again = MmtpPotential.from_bytes(older.to_bytes())
    np.testing.assert_array_equal(again.grades([rattled(2, 0.05, 1)]), potential.grades([rattled(2, 0.05, 1)]))
    with pytest.raises(InputError, match="left undecided"):
        PotentialEnsemble((again,), "mmtp", uncertainty=Uncertainty.LAPLACE).predict([rattled(2, 0.05, 1)])
    require_told(Uncertainty.LAPLACE, FAMILY, 1)
    for family, members in ((MmtpFamily(grade="linear"), 5), (FAMILY, 1)):
        with pytest.raises(InputError):
            require_told(Uncertainty.BOTH, family, members)
