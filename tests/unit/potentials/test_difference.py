"""A potential that is kept and a correction to it, as one potential."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mmtp_toy import toy_labels
from pydantic import ValidationError

from magflow.core.dataset import Dataset
from magflow.core.label import LabelKind, ignoring_moments
from magflow.errors import InputError
from magflow.potentials.difference import DifferenceFamily, DifferencePotential
from magflow.potentials.difference.potential import less
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.training import EnsembleTask, train_ensemble

QUICK = {"level": 6, "cutoff": 4.5, "n_radial": 5, "max_iterations": 8}
ELEMENTS = ("Al", "Fe")


@pytest.fixture(scope="module")
def base():
    """With a Pulay constant, so that its labelled stresses are not those of its energy."""
    plain, _ = MmtpFamily(**QUICK).fit(toy_labels(20, 1, magnetic=False), elements=ELEMENTS, seed=1)
    return replace(plain, model=replace(plain.model, pulay=np.array([0.3, -0.2])))


@pytest.fixture(scope="module")
def whole(base) -> DifferencePotential:
    return DifferenceFamily(settings=QUICK).fit(toy_labels(12, 2), elements=ELEMENTS, seed=1, start=base)[0]


def test_the_base_stays_and_the_parts_add(base, whole):
    assert whole.base is base and whole.magnetic and whole.species == ELEMENTS
    assert whole.cutoff == 4.5 and whole.r_min == max(base.r_min, whole.correction.r_min)
    assert whole.max_moment == whole.correction.max_moment
    frames = [item.frame for item in toy_labels(4, 3)]
    one, two, both = (p.predict(frames) for p in (base, whole.correction, whole))
    for name in ("energy", "forces", "stress"):
        assert np.array_equal(getattr(both, name), getattr(one, name) + getattr(two, name))
    assert np.array_equal(both.magnetic_forces, two.magnetic_forces) and both.magnetic_forces.any()
    offset = whole.label_stress_offset(frames) - whole.correction.label_stress_offset(frames)
    assert np.allclose(offset, base.label_stress_offset(frames), atol=1e-15) and offset.any()


def test_what_is_taken_off_labels_is_what_the_base_expects_them_to_say(base):
    """Less it and plus its expectation they are themselves again, the Pulay stress of labels included."""
    items = toy_labels(4, 3)
    said = as_labelled(PotentialEnsemble((base,), "mmtp"), items).mean
    for k, (item, left) in enumerate(zip(items, less(items, base), strict=True)):
        mine = said.frame(k)
        assert left.label.energy + mine.energy[0] == pytest.approx(item.label.energy, abs=1e-12)
        assert np.allclose(left.label.forces + mine.forces, item.label.forces, atol=1e-12)
        assert np.allclose(left.label.stress + mine.stress[0], item.label.stress, atol=1e-12)
        assert np.array_equal(left.label.magnetic_forces, item.label.magnetic_forces)
    with_moments, _ = MmtpFamily(**QUICK).fit(items, elements=ELEMENTS, seed=1)
    (left,) = less(items[:1], with_moments)
    expected = items[0].label.magnetic_forces - with_moments.predict([items[0].frame]).magnetic_forces
    assert np.allclose(left.label.magnetic_forces, expected, atol=1e-12)


def test_a_small_correction_learns_a_small_difference(base):
    """Labels that lie a constant force field away from the base: few of them are enough, where from scratch they are
    not; its errors in the report are those of the whole.
    """
    items = [ignoring_moments(item) for item in toy_labels(6, 2, magnetic=False)]
    test = [ignoring_moments(item) for item in toy_labels(20, 3, magnetic=False)]
    shifted = [replace(i, label=replace(i.label, energy=i.label.energy + 0.1 * len(i.frame))) for i in items]
    unseen = [replace(i, label=replace(i.label, energy=i.label.energy + 0.1 * len(i.frame))) for i in test]
    small = DifferenceFamily(settings={**QUICK, "level": 2})
    whole, report = small.fit(shifted, elements=ELEMENTS, seed=1, start=base, validation=unseen)
    scratch, _ = MmtpFamily(**QUICK).fit(shifted, elements=ELEMENTS, seed=1)

    def error(potential) -> float:
        found = potential.predict([i.frame for i in unseen]).energy - [i.label.energy for i in unseen]
        return float(np.sqrt(np.mean((found / 2) ** 2)))

    assert not whole.magnetic and whole.predict([items[0].frame]).magnetic_forces is None
    assert error(whole) < 0.5 * error(scratch)
    assert report.rmse["validation"]["energy"] == pytest.approx(error(whole), rel=1e-6)
    assert report.details["base"] == "mmtp"


def test_an_ensemble_starts_from_one_of_another_family_and_is_saved(base, tmp_path):
    start = PotentialEnsemble((base,), "mmtp")
    family = DifferenceFamily(settings={**QUICK, "n_psi": 1})
    assert not family.magnetic and not family.needs_moments
    level = replace(toy_labels(1, 2)[0].label.level_of_theory, kind=LabelKind.SPIN_POLARISED)
    items = [replace(i, label=replace(i.label, level_of_theory=level)) for i in toy_labels(8, 2)]
    task = EnsembleTask(family, Dataset(items), ELEMENTS, 1, 1, bagging=False, start=start)
    ensemble, _ = train_ensemble(task, tmp_path / "fit")
    loaded = PotentialEnsemble.load(ensemble.save(tmp_path / "saved"))
    frames = [item.frame for item in items]
    assert loaded.family_name == "difference" and not loaded.magnetic
    assert np.array_equal(loaded.predict(frames).mean.forces, ensemble.predict(frames).mean.forces)
    (member,) = loaded.members
    assert isinstance(member, DifferencePotential) and member.base.to_bytes() == base.to_bytes()


def test_a_fit_that_starts_from_a_difference_keeps_its_base(base, whole):
    again, report = DifferenceFamily(settings=QUICK).fit(toy_labels(14, 2), elements=ELEMENTS, seed=1, start=whole)
    assert again.base is base and report.iterations > 0
    assert not np.array_equal(again.correction.model.parameters, whole.correction.model.parameters)


def test_what_is_no_difference_is_refused(base, whole):
    family = DifferenceFamily(settings=QUICK)
    with pytest.raises(InputError, match="to another potential"):
        family.fit(toy_labels(4, 2), elements=ELEMENTS, seed=1)
    with pytest.raises(InputError, match="does not know an element"):
        family.fit(toy_labels(4, 2), elements=("Al", "Cr", "Fe"), seed=1, start=base)
    with pytest.raises(ValidationError, match="another one than difference"):
        DifferenceFamily(family="difference")
    with pytest.raises(ValidationError, match="colour"):
        DifferenceFamily(settings={"colour": 1})
    with pytest.raises(InputError, match="unknown name"):
        DifferenceFamily(family="none")
    other, _ = MmtpFamily(**QUICK).fit(
        [i for i in toy_labels(8, 1) if "Al" not in i.frame.species], elements=("Fe",), seed=1
    )
    with pytest.raises(InputError, match="different elements"):
        DifferencePotential(base, other)
