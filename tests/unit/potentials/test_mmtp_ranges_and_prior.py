"""The numbers a fit starts from, each by itself: ranges, magnetic scale, prior, first values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential
from mmtp_toy import label, random_frames, toy_labels

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.mmtp.prior import FREE, magnetic_scale, prior_and_starts, radial_degrees, radial_size
from magflow.potentials.mmtp.ranges import largest_moments, moment_ranges, radial_start, widened

FAMILY = MmtpFamily(level=8, cutoff=4.5, n_radial=5, radial_ridge=0.03, radial_growth=5.0, magnetic_growth=12.0)
MODEL = random_potential().model
NO_SCALE = np.ones(2)


class OneRow:
    """Least squares whose normal matrix is the identity: what is left is what the prior and the start add."""

    def normal(self, unknowns):
        return np.eye(len(unknowns)), np.zeros(len(unknowns)), 0.0


def prior(model=MODEL, *, family=FAMILY, energies=(-3.0, -5.0), magnetic=NO_SCALE, seed=1, warm=False):
    found, starts = prior_and_starts(family, model, OneRow(), np.array(energies), magnetic, seed=seed, warm=warm)
    return found, starts[0]


def test_a_fresh_fit_has_several_starts_and_a_warm_one_has_its_own():
    family = FAMILY.model_copy(update={"starts": 4})
    options = {"energies": np.array([-3.0, -5.0]), "magnetic": NO_SCALE, "seed": 1}
    one, starts = prior_and_starts(family, MODEL, OneRow(), **options, warm=False)
    assert len(starts) == 4 and len({start.tobytes() for start in starts}) == 4
    same, again = prior_and_starts(family, MODEL, OneRow(), **options, warm=False)
    assert [a.tobytes() for a in again] == [s.tobytes() for s in starts]
    warm, (only,) = prior_and_starts(family, MODEL, OneRow(), **options, warm=True)
    np.testing.assert_array_equal(only, np.concatenate([MODEL.parameters, MODEL.pulay]))
    for other in (same, warm):
        np.testing.assert_array_equal(other.precision, one.precision)


def test_largest_moments_are_sizes_not_values():
    cell, at = 3 * np.eye(3), [[0, 0, 0], [1.5, 1.5, 1.5]]
    frames = [Frame(("Fe", "Al"), cell, at, m) for m in ([-2.5, 0.1], [1.0, -0.3])]
    assert largest_moments([*frames, frames[0].non_magnetic()], ("Al", "Cr", "Fe")).tolist() == [0.3, 0.0, 2.5]


def test_ranges_go_beyond_the_data_and_have_a_least_width():
    assert moment_ranges(np.array([2.0, 0.0])).tolist() == pytest.approx([2.1, 0.1])
    assert radial_start(2.0, 5.0) == pytest.approx(1.9)
    assert radial_start(0.1, 5.0) == 0.5
    assert radial_start(np.inf, 5.0) == pytest.approx(4.0)


def test_only_the_range_that_is_too_narrow_is_widened():
    frame = random_frame(0)
    frame = frame.replace(magmoms=[3.5 if s == "Fe" else 0.01 for s in frame.species])
    wide = widened(MODEL, [frame])
    assert wide.max_moment.tolist() == pytest.approx([0.2, 1.05 * 3.5])
    assert wide.r_min == MODEL.r_min


def test_magnetic_scale_is_force_times_range_relative_to_the_largest():
    frame = random_frames(2, 0)[1]  # Fe, Al
    forces = np.zeros((2, 3))
    forces[:, 2] = -0.5, 1.5
    one = label(frame)
    item = LabeledFrame(frame, replace(one.label, magnetic_forces=forces))
    model = replace(MODEL, max_moment=np.array([0.2, 2.0]))
    assert magnetic_scale([item], model).tolist() == pytest.approx([1.5 * 0.2 / (0.5 * 2.0), 1.0])
    unknown = forces.copy()
    unknown[1] = np.nan
    item = LabeledFrame(frame, replace(one.label, magnetic_forces=unknown))
    assert magnetic_scale([item], model).tolist() == [1.0, 1.0], "no labelled force: no scale"
    assert magnetic_scale([LabeledFrame(frame, replace(one.label, magnetic_forces=None))], model).tolist() == [1, 1]
    forces[1, 2] = 1e-9
    item = LabeledFrame(frame, replace(one.label, magnetic_forces=forces))
    assert magnetic_scale([item], model).tolist() == [1e-3, 1.0]


def test_radial_size_counts_the_species_whose_moment_enters():
    magnetic = np.array([0.1, 1.0])
    _, _, shape = radial_degrees(MODEL)
    size = radial_size(MODEL, magnetic).reshape(shape) * (MODEL.cutoff - MODEL.r_min) ** 2
    for p, (beta, gamma) in enumerate(MODEL.pairs.tolist()):
        for i, j in ((0, 1), (1, 0), (0, 0)):
            expected = (magnetic[i] if beta else 1.0) * (magnetic[j] if gamma else 1.0)
            np.testing.assert_allclose(size[i, j, :, :, p], expected)


def test_the_prior_grows_with_each_degree_by_its_own_factor():
    precision = prior()[0].precision[: MODEL.n_radial]
    _, _, shape = radial_degrees(MODEL)
    size = (MODEL.cutoff - MODEL.r_min) ** -2
    found = precision.reshape(shape) * size**2 / 0.03
    for p, pair in enumerate(MODEL.pairs.tolist()):
        for zeta in range(MODEL.n_phi):
            np.testing.assert_allclose(found[:, :, :, zeta, p], 5.0**zeta * 12.0 ** sum(pair))


def test_the_prior_is_centred_on_the_energies_of_the_species_alone():
    found, _ = prior()
    atoms = slice(MODEL.n_radial + MODEL.basis.n_scalar, len(MODEL.parameters))
    assert found.centre[atoms].tolist() == [-3.0, -5.0]
    assert not np.delete(found.centre, atoms).any()
    assert (found.precision[atoms] == FREE).all() and (found.precision[-2:] == FREE).all()
    linear = found.precision[MODEL.n_radial : atoms.start]
    np.testing.assert_allclose(linear, FAMILY.linear_ridge + 1e-12)


def test_a_fresh_fit_starts_from_smooth_and_hardly_magnetic_radial_functions():
    starts = np.array([prior(seed=s)[1][: MODEL.n_radial] for s in range(200)])
    zeta, degree, _ = radial_degrees(MODEL)
    spread = starts.std(axis=0) * (MODEL.cutoff - MODEL.r_min) ** 2
    for z in range(MODEL.n_phi):
        for magnetic, factor in ((False, 1.0), (True, 0.2)):
            mine = (zeta == z) & ((degree > 0) == magnetic)
            assert spread[mine].mean() == pytest.approx(0.3 * 0.6**z * factor, rel=0.05)


def test_a_warm_start_is_the_model_with_its_pulay_constants_under_the_same_prior():
    model = replace(MODEL, pulay=np.array([0.3, -0.7]))
    (cold, _), (warm, start) = prior(model), prior(model, warm=True)
    np.testing.assert_array_equal(start, [*model.parameters, 0.3, -0.7])
    np.testing.assert_array_equal(warm.precision, cold.precision)
    np.testing.assert_array_equal(warm.centre, cold.centre)


def test_the_cost_of_a_fit_holds_that_of_killed_attempts(tmp_path):
    labels = toy_labels(12, seed=0)
    family = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=3, starts=1)
    given = {"elements": ("Al", "Fe"), "seed": 1, "workdir": tmp_path}
    from magflow.potentials.mmtp.checkpoint import Checkpoint

    def killed(fraction, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        family.fit(labels, **given, progress=killed)
    (path,) = tmp_path.glob("*.npz")
    key = str(np.load(path)["header"].tobytes()).split('"key": "')[1][:24]
    checkpoint = Checkpoint(tmp_path, key)
    state, cost = checkpoint.load()
    checkpoint.save(state, replace(cost, cpu_seconds=1000.0, wall_seconds=2000.0), now=True)
    report = family.fit(labels, **given)[1]
    assert 1000.0 < report.cost.cpu_seconds < 1100.0
    assert 2000.0 < report.cost.wall_seconds < 2100.0
