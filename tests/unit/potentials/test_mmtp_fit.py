from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mmtp_toy import random_frames, toy_labels
from pydantic import ValidationError

from magflow.core.label import LabeledFrame
from magflow.errors import InputError
from magflow.potentials.mmtp import MmtpFamily, MmtpWeights
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.prior import magnetic_scale
from magflow.potentials.mmtp.task import energy_reference, unique_items

# the toy is smooth and free of noise: a weaker prior than that for DFT labels
FAMILY = MmtpFamily(level=6, cutoff=4.5, n_radial=6, radial_growth=2.0, magnetic_growth=4.0, max_iterations=25)
ELEMENTS = ("Al", "Fe")


@pytest.fixture(scope="module")
def labels():
    return toy_labels(60, seed=1)


@pytest.fixture(scope="module")
def fitted(labels):
    return FAMILY.fit(labels[:48], elements=ELEMENTS, seed=3)


def with_label(item: LabeledFrame, **changes: object) -> LabeledFrame:
    return LabeledFrame(item.frame, replace(item.label, **changes))


def test_fit_learns_the_toy(labels, fitted):
    potential, report = fitted
    test = labels[48:]
    prediction = potential.predict([item.configuration for item in test])
    forces = np.concatenate([item.label.forces for item in test])
    magnetic = np.concatenate([item.label.magnetic_forces for item in test])
    energy = np.array([item.label.energy for item in test])
    assert np.sqrt(np.mean((prediction.energy - energy) ** 2)) < 0.02
    assert np.sqrt(np.mean((prediction.forces - forces) ** 2)) < 0.1 * forces.std()
    assert np.sqrt(np.mean((prediction.magnetic_forces - magnetic) ** 2)) < 0.1 * magnetic.std()
    assert set(report.rmse["train"]) == {"energy", "forces", "stress", "magnetic_forces"}
    assert report.cost.cpu_seconds > 0 and report.iterations > 0
    objectives = [row["objective"] for row in report.history]
    assert objectives == sorted(objectives, reverse=True)


def test_same_seed_same_model_and_other_seed_other_model(labels, fitted):
    again, _ = FAMILY.fit(labels[:48], elements=ELEMENTS, seed=3)
    other, _ = FAMILY.fit(labels[:48], elements=ELEMENTS, seed=4)
    assert again.to_bytes() == fitted[0].to_bytes()
    assert not np.allclose(other.model.parameters, fitted[0].model.parameters)


def test_repeats_weigh_more(labels):
    items, counts = unique_items([labels[0], labels[1], labels[0]])
    assert [i.label_id for i in items] == [labels[0].label_id, labels[1].label_id]
    assert counts.tolist() == [2, 1]
    short = FAMILY.model_copy(update={"max_iterations": 3})
    once, _ = short.fit(labels[:6], elements=ELEMENTS, seed=0)
    repeated, _ = short.fit([*labels[:6], labels[0]], elements=ELEMENTS, seed=0)
    assert not np.allclose(once.model.parameters, repeated.model.parameters)


def test_warm_start_goes_on(labels, fitted):
    potential, report = FAMILY.model_copy(update={"max_iterations": 3}).fit(
        labels, elements=ELEMENTS, seed=3, start=fitted[0]
    )
    assert report.history[0]["objective"] < 2.0 * fitted[1].history[-1]["objective"] + 50.0
    assert potential.model.max_moment.tolist() == fitted[0].model.max_moment.tolist()


def test_warm_start_of_another_shape(labels, fitted):
    with pytest.raises(InputError, match="level"):
        MmtpFamily(level=8, cutoff=4.5, n_radial=6).fit(labels, elements=ELEMENTS, seed=0, start=fitted[0])


def test_early_stop_keeps_the_best_validation_loss(labels):
    family = FAMILY.model_copy(update={"patience": 3, "max_iterations": 40, "tolerance": 0.0})
    _, report = family.fit(labels[:10], elements=ELEMENTS, seed=0, validation=labels[40:])
    monitor = [row["monitor"] for row in report.history]
    assert report.iterations < 40
    assert int(np.argmin(monitor)) == len(monitor) - 1 - 3
    assert "validation" in report.rmse


def test_labels_take_part_with_what_they_have(labels):
    no_stress = [with_label(item, stress=None) for item in labels[:20]]
    partial = []
    for item in labels[20:40]:
        magnetic = item.label.magnetic_forces.copy()
        magnetic[1] = np.nan
        partial.append(with_label(item, magnetic_forces=magnetic))
    potential, report = FAMILY.fit([*no_stress, *partial], elements=ELEMENTS, seed=0)
    assert np.isfinite(potential.model.parameters).all()
    assert report.rmse["train"]["magnetic_forces"] < 0.1
    energies_only = [with_label(i, stress=None, forces=None, magnetic_forces=None) for i in labels]
    _, report = FAMILY.fit(energies_only, elements=ELEMENTS, seed=0)
    assert set(report.rmse["train"]) == {"energy"}


def test_non_magnetic_labels_give_a_non_magnetic_potential():
    labels = toy_labels(30, seed=5, magnetic=False)
    potential, report = FAMILY.fit(labels, elements=ELEMENTS, seed=0)
    assert not potential.magnetic
    assert potential.predict([labels[0].configuration]).magnetic_forces is None
    assert report.rmse["train"]["forces"] < 0.02


def test_pulay_stress_is_told_apart_from_the_energy():
    constants = {"Al": 0.2, "Fe": 0.35}
    labels = []
    for item in toy_labels(50, seed=6):
        stress = item.label.stress.copy()
        stress[:3] += sum(constants[s] for s in item.frame.species) / item.frame.volume
        labels.append(with_label(item, stress=stress))
    potential, report = FAMILY.fit(labels, elements=ELEMENTS, seed=0)
    found = report.details["pulay_constant_ev"]
    assert {s: pytest.approx(v, abs=0.06) for s, v in constants.items()} == found
    frames = [item.configuration for item in labels]
    labelled = np.array([item.label.stress for item in labels])
    predicted = potential.predict(frames).stress + potential.label_stress_offset(frames)
    assert np.sqrt(np.mean((predicted - labelled) ** 2)) < 0.1 * labelled.std()


def test_paper_form_fits_and_is_symmetric(labels):
    family = FAMILY.model_copy(update={"form": Form.PAPER, "max_iterations": 10})
    potential, _ = family.fit(labels[:20], elements=ELEMENTS, seed=0)
    frame = labels[0].configuration
    pair = potential.predict([frame, frame.time_reversed()])
    assert pair.energy[0] == pytest.approx(pair.energy[1], abs=1e-10)


def test_progress_is_told(labels):
    seen: list[float] = []
    FAMILY.model_copy(update={"max_iterations": 4}).fit(
        labels[:10], elements=ELEMENTS, seed=0, progress=lambda fraction, text: seen.append(fraction)
    )
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) >= 3


def test_energy_reference(labels):
    reference = energy_reference(labels, ELEMENTS)
    compositions = np.array([[i.frame.species.count(s) for s in ELEMENTS] for i in labels])
    residual = compositions @ reference - np.array([i.label.energy for i in labels])
    np.testing.assert_allclose(compositions.T @ residual, 0.0, atol=1e-9)


def test_magnetic_scale_orders_the_species(labels, fitted):
    scale = magnetic_scale(labels, fitted[0].model)
    assert scale[1] == 1.0 and 0.0 < scale[0] < 1.0


class TestBadInput:
    def test_no_labels(self):
        with pytest.raises(InputError, match="no labels"):
            FAMILY.fit([], elements=ELEMENTS, seed=0)

    def test_unknown_element(self, labels):
        with pytest.raises(InputError, match="does not know"):
            FAMILY.fit(labels, elements=("Fe",), seed=0)

    def test_mixed_labels(self, labels):
        with pytest.raises(InputError, match="with and without moments"):
            FAMILY.fit([*labels, *toy_labels(2, seed=9, magnetic=False)], elements=ELEMENTS, seed=0)

    def test_missing_moments(self, fitted):
        with pytest.raises(InputError, match="needs moments"):
            fitted[0].predict(random_frames(1, 0, magnetic=False))

    def test_non_collinear(self, fitted):
        frame = random_frames(1, 0)[0]
        with pytest.raises(InputError, match="non-collinear"):
            fitted[0].predict([frame.replace(magmoms=np.ones((2, 3)))])

    def test_atoms_on_top_of_each_other(self, fitted):
        frame = random_frames(1, 0)[0]
        close = frame.positions.copy()
        close[1] = close[0] + [0.1, 0, 0]
        with pytest.raises(InputError, match="too close"):
            fitted[0].predict([frame.replace(positions=close)])

    def test_forces_that_are_not_finite_are_left_out(self, labels):
        forces = labels[0].label.forces.copy()
        forces[0, 0] = np.nan
        potential, _ = FAMILY.model_copy(update={"max_iterations": 2}).fit(
            [with_label(labels[0], forces=forces), *labels[1:8]], elements=ELEMENTS, seed=0
        )
        assert np.isfinite(potential.model.parameters).all()

    @pytest.mark.parametrize(
        "settings",
        [{"level": 22}, {"cutoff": -1.0}, {"r_min": 6.0}, {"n_psi": 9}, {"levle": 8}, {"max_moment": {"Fe": 0.0}}],
    )
    def test_settings(self, settings):
        with pytest.raises(ValidationError):
            MmtpFamily(**settings)

    def test_weights(self):
        with pytest.raises(ValidationError):
            MmtpWeights(energy=-1.0)
