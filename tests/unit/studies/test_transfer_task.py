"""Replay, the transfer curve and what it saves, on the model Hamiltonian."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import Cost, LabeledFrame, LabelKind
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import InputError
from magflow.potentials.difference import DifferenceFamily
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.replay import at_zero_moments, check_same_surface, with_replay
from magflow.potentials.training import EnsembleTask, train_ensemble
from magflow.studies.transfer.ceiling import Given
from magflow.studies.transfer.question import Question, remarks
from magflow.studies.transfer.result import Bought, TransferCurve, TransferPoint, measured
from magflow.studies.transfer.saving import Bound, Price, labels_for, saving
from magflow.studies.transfer.task import TransferTask
from magflow.studies.transfer.ways import Arm, TransferSchedule, doubled, ways

FAMILY = MmtpFamily(level=6, cutoff=4.5, n_radial=5, max_iterations=6)
CORRECTION, SMALLER = (
    DifferenceFamily(settings={"level": n, "cutoff": 4.5, "n_radial": 4, "max_iterations": 3}) for n in (4, 2)
)


def frames(n: int, seed: int) -> list[Frame]:
    rng = np.random.default_rng(seed)
    out = []
    for k in range(n):
        cell = 2.86 * (np.eye(3) + rng.normal(0, 0.015, (3, 3)))
        positions = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) @ cell + rng.normal(0, 0.06, (2, 3))
        moments = np.array([rng.uniform(0, 2.5), rng.uniform(-0.1, 0.1) if k % 2 else rng.uniform(-2.5, 2.5)])
        out.append(Frame(("Fe", "Al" if k % 2 else "Fe"), cell, positions, moments))
    return out


def labels(n: int, seed: int, kind: LabelKind = LabelKind.CONSTRAINED) -> Dataset:
    engine = SpinLatticeEngine(kind=kind)
    level = engine.level_of_theory(["Al", "Fe"])
    plain = kind is LabelKind.NON_MAGNETIC
    items = []
    for frame in frames(n, seed):
        frame = frame.non_magnetic() if plain else frame
        label = replace(engine.label(frame, level, Path()), cost=Cost(1.0 if plain else 4.0, 2.0 if plain else 8.0))
        items.append(LabeledFrame(frame, label))
    return Dataset(items)


@pytest.fixture(scope="module")
def parts() -> dict[str, Dataset]:
    return {"non_magnetic": labels(40, 1, LabelKind.NON_MAGNETIC), "pool": labels(16, 2), "test": labels(20, 3)}


def task(parts, **changes) -> TransferTask:
    settings = {"pretraining": FAMILY, "family": FAMILY, "sizes": (4, 8), "seeds": (1, 2), "workdir": Path()}
    return TransferTask(**{**settings, **parts, **changes})


def test_a_non_magnetic_label_is_the_constrained_one_at_zero_moments():
    """On the model Hamiltonian, where both can be computed."""
    plain = labels(6, 1, LabelKind.NON_MAGNETIC)
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    for item in at_zero_moments(plain):
        assert item.frame.magmoms is not None and not item.configuration.magmoms.any()
        expected = engine.label(item.frame, level, Path())
        assert item.label.energy == pytest.approx(expected.energy, abs=1e-12)
        assert np.abs(item.label.forces - expected.forces).max() < 1e-12
        assert np.abs(item.label.stress - expected.stress).max() < 1e-12
        assert np.abs(expected.magnetic_forces).max() < 1e-12 and item.label.magnetic_forces is None
        assert item.label.level_of_theory.kind is LabelKind.NON_MAGNETIC
    with pytest.raises(InputError, match="only non-magnetic"):
        at_zero_moments(labels(1, 1))


def test_magnetic_forces_of_a_non_magnetic_label_are_left_out():
    (item,) = labels(1, 1, LabelKind.NON_MAGNETIC)
    zeros = np.zeros((len(item.frame), 3))
    given = LabeledFrame(item.frame, replace(item.label, magnetic_forces=zeros))
    assert at_zero_moments([given])[0].label.magnetic_forces is None


def test_replay_mixes_kinds_on_purpose_and_takes_a_share(parts):
    mixed = with_replay(parts["pool"], parts["non_magnetic"])
    assert mixed.mixed and mixed.kinds == (LabelKind.CONSTRAINED, LabelKind.NON_MAGNETIC)
    assert len(mixed) == 56 and list(mixed)[:16] == list(parts["pool"])
    some = with_replay(parts["pool"], parts["non_magnetic"], share=0.25, seed=3)
    assert len(some) == 26 and {i.label_id for i in some} < {i.label_id for i in mixed}
    assert some.fingerprint == with_replay(parts["pool"], parts["non_magnetic"], share=0.25, seed=3).fingerprint
    assert some.fingerprint != with_replay(parts["pool"], parts["non_magnetic"], share=0.25, seed=4).fingerprint


def test_only_the_kind_may_differ():
    plain, constrained = (
        SpinLatticeEngine(kind=kind).level_of_theory(["Fe"]) for kind in (LabelKind.NON_MAGNETIC, LabelKind.CONSTRAINED)
    )
    spheres = replace(constrained, parameters={**constrained.parameters, "ratsph_bohr": 2.2})
    check_same_surface(plain, spheres)
    refused = {
        "functional": replace(plain, functional="LDA"),
        "version": replace(plain, version="0"),
        "stoner": replace(plain, parameters={**plain.parameters, "stoner": [0.0, 0.0]}),
        "ecut_ha": replace(plain, parameters={**plain.parameters, "ecut_ha": 10}),
    }
    for name, other in refused.items():
        with pytest.raises(InputError, match=name):
            check_same_surface(other, constrained)
    with pytest.raises(InputError, match="dataset of Fe"):
        check_same_surface(replace(plain, datasets={"Fe": "a"}), replace(constrained, datasets={"Fe": "b"}))
    with pytest.raises(InputError, match="free moments"):
        check_same_surface(plain, replace(constrained, kind=LabelKind.SPIN_POLARISED))


def test_the_curve_has_every_point_with_its_errors_and_price(parts, tmp_path):
    told = []
    plan = task(parts, arms=tuple(Arm), workdir=tmp_path, correction=CORRECTION, scratch_sizes=(16,))
    curve = plan.run(lambda fraction, text, *, milestone: told.append(text))
    assert len(curve.points) == 2 * (2 * len(Arm) + 1) == len(told) - 1 and told[-1] == "22/22: done"
    assert {p.arm for p in curve.points if p.magnetic_labels == 16} == {Arm.SCRATCH}
    for p in curve.points:
        assert set(p.rmse) == {"energy", "forces", "stress", "magnetic_forces"} and min(p.rmse.values()) > 0.0
        assert p.non_magnetic_labels == (0 if p.arm is Arm.SCRATCH else 40)
        assert p.cpu_hours == pytest.approx((4 * p.magnetic_labels + p.non_magnetic_labels) / 3600)
        assert p.core_hours == pytest.approx(2 * p.cpu_hours)
    assert TransferCurve.from_dict(json.loads(json.dumps(curve.as_dict()))).as_dict() == curve.as_dict()
    assert curve.about["question"] == Question.MOMENTS_READ and curve.about["correction"]["family"] == "mmtp"
    assert {e.magnetic_labels for e in curve.ceiling if e.given is Given.NOTHING} == {4, 8, 16}
    again = task(parts, arms=tuple(Arm), workdir=tmp_path, correction=SMALLER, sizes=(4,), seeds=(1,)).run()
    first = curve.of(Arm.DIFFERENCE, 1)[0]
    assert again.of(Arm.DIFFERENCE, 1)[0] != first, "another correction is another point"
    assert again.of(Arm.TUNED, 1) == curve.of(Arm.TUNED, 1)[:1]


def test_finished_points_are_kept_and_sizes_may_be_added(parts, tmp_path, monkeypatch):
    first = task(parts, sizes=(4,), seeds=(1,), workdir=tmp_path).run()
    fitted = []
    original = MmtpFamily.fit

    def counted(self, train, **kwargs):
        fitted.append(len(train))
        return original(self, train, **kwargs)

    monkeypatch.setattr(MmtpFamily, "fit", counted)
    again = task(parts, sizes=(4, 8), seeds=(1,), workdir=tmp_path).run()
    assert fitted == [8, 8, 48, 56], "only the new points and their ceiling, and no second pre-training"
    assert [p for p in again.points if p.magnetic_labels == 4] == list(first.points)
    with pytest.raises(InputError, match="other labels or settings"):
        task(parts, schedule=TransferSchedule(replay=0.5), workdir=tmp_path).run()


def test_labels_are_nested_within_a_seed_and_differ_between_seeds(parts):
    plan = task(parts)
    few, more, other = ({i.label_id for i in plan.magnetic(*pair)} for pair in ((4, 1), (8, 1), (8, 2)))
    assert few < more and more != other and len(more) == len(other) == 8


def test_what_cannot_be_compared_is_refused(parts):
    with pytest.raises(InputError, match="out of range"):
        task(parts, sizes=(4, 17))
    with pytest.raises(InputError, match="to be tested on"):
        task(parts, test=parts["pool"])
    with pytest.raises(InputError, match="nothing to work with"):
        task(parts, seeds=())
    for name, other in (("non_magnetic", "pool"), ("pool", "non_magnetic"), ("test", "non_magnetic")):
        with pytest.raises(InputError, match="wrong kind"):
            task(parts, **{name: parts[other]})
    with pytest.raises(InputError, match="free moments"):
        task(parts, pool=labels(16, 2, LabelKind.SPIN_POLARISED))
    free = labels(16, 2, LabelKind.SPIN_POLARISED)
    assert task(parts, pool=free, arms=(Arm.SCRATCH, Arm.TUNED)).arms == (Arm.SCRATCH, Arm.TUNED)

    class Other(MmtpFamily):
        name = "other"

    with pytest.raises(InputError, match="another family"):
        task(parts, family=Other())

    class Needy(MmtpFamily):
        needs_moments = True

    with pytest.raises(InputError, match="cannot be pre-trained"):
        task(parts, pretraining=Needy(), family=Needy())
    assert task(parts, pretraining=Needy(), family=Needy(), arms=(Arm.SCRATCH, Arm.JOINT))
    with pytest.raises(InputError, match="go together"):
        task(parts, arms=(Arm.SCRATCH, Arm.DIFFERENCE))
    with pytest.raises(InputError, match="out of range"):
        task(parts, scratch_sizes=(17,))


def test_fits_from_scratch_go_on_by_doubling():
    assert doubled((4, 8), 50) == (16, 32, 50) and doubled((5,), 10) == (10,) and doubled((5,), None) == ()
    with pytest.raises(InputError, match="no further than the sizes"):
        doubled((4, 8), 8)


def test_a_result_says_which_question_it_answers(tmp_path):
    """And, of a family that reads no moments, whether its labels lie on one magnetic branch."""
    bare = MmtpFamily(level=2, cutoff=4.5, n_radial=4, n_psi=1, max_iterations=3)
    plain, free = labels(8, 1, LabelKind.NON_MAGNETIC), labels(8, 2, LabelKind.SPIN_POLARISED)
    given = {"non_magnetic": plain, "pool": free, "test": labels(6, 3, LabelKind.SPIN_POLARISED)}
    small = {"pretraining": bare, "family": bare, "sizes": (4,), "seeds": (1,), "arms": (Arm.SCRATCH, Arm.TUNED)}
    curve = task(given, **small, workdir=tmp_path).run()
    assert curve.about["question"] == Question.MOMENTS_FREE and not curve.ceiling
    assert all("magnetic_forces" not in p.rmse for p in curve.points)
    assert dict(remarks(curve.about))["magnetic labels"].startswith("fewer than 20")
    mixed = {"labels": 40, "spread": 0.05, "without_moments": 0.04, "with_moments": 0.001, "evidence": 50.0}
    told = dict(remarks(curve.about | {"magnetic_states": mixed}))
    assert "several magnetic states" in told["warning"] and "moments" in told["question"]
    one = dict(remarks(curve.about | {"magnetic_states": mixed | {"without_moments": 0.001}}))
    assert "follow from the geometry" in one["magnetic labels"] and "warning" not in one
    assert remarks({"test_labels": 8}) == []


def test_the_ways_to_fit_follow_from_the_family_and_the_replay():
    assert ways(FAMILY, None) == ((Arm.SCRATCH, Arm.TUNED, Arm.REPLAYED), 1.0)
    assert ways(MmtpFamily(n_psi=1), None) == ((Arm.SCRATCH, Arm.TUNED), 0.0)
    assert ways(FAMILY, 0.0) == ((Arm.SCRATCH, Arm.TUNED), 0.0)
    assert ways(FAMILY, 0.5, joint=True, difference=True) == (tuple(Arm), 0.5)
    with pytest.raises(InputError, match="which is replay"):
        ways(FAMILY, 0.0, joint=True)


def test_a_point_pays_for_both_kinds_of_label(parts, tmp_path):
    ensemble, _ = train_ensemble(EnsembleTask(FAMILY, parts["pool"], ("Al", "Fe"), 1, 1, bagging=False), tmp_path)
    magnetic, beside = Bought.of(parts["pool"]), Bought.of(parts["non_magnetic"])
    point = measured(Arm.TUNED, 7, ensemble, list(parts["test"]), magnetic=magnetic, beside=beside, fit_cpu_seconds=3.0)
    assert (point.magnetic_labels, point.non_magnetic_labels, point.seed) == (16, 40, 7)
    assert point.cpu_hours == pytest.approx((16 * 4.0 + 40 * 1.0) / 3600)
    assert point.core_hours == pytest.approx((16 * 8.0 + 40 * 2.0) / 3600)
    assert TransferPoint.from_dict(json.loads(json.dumps(asdict(point)))) == point


def point(arm: Arm, size: int, error: float, seed: int = 1, price: float = 3.0) -> TransferPoint:
    plain = 0 if arm is Arm.SCRATCH else 10
    return TransferPoint(arm, seed, size, plain, {"energy": error}, price * size + plain, 0.0, 0.0)


def test_the_saving_of_power_laws_is_their_ratio():
    """Errors 1/N and 1/(4 N): four times fewer labels wherever the curves meet."""
    sizes = (10, 20, 40, 80, 160)
    points = [point(Arm.SCRATCH, n, 1.0 / n, seed) for n in sizes for seed in (1, 2)]
    points += [point(Arm.REPLAYED, n, 1.0 / (4 * n), seed) for n in sizes for seed in (1, 2)]
    found = {s.magnetic_labels: s for s in saving(TransferCurve(tuple(points), {}), "energy")}
    for n in (80, 160):
        assert found[n].labels.value == pytest.approx(4.0) and found[n].labels.bound is Bound.EQUAL
        assert found[n].cost.value == pytest.approx(3.0 * n / (3.0 * n / 4 + 10))
    assert found[20].labels.bound is Bound.MORE and found[20].labels.value == pytest.approx(2.0)
    assert str(found[20].labels) == "> 2"
    assert not saving(TransferCurve(tuple(points), {}), "forces")
    assert not saving(TransferCurve(tuple(points), {}), "energy", Arm.TUNED)
    free = saving(TransferCurve(tuple(points), {}), "energy", price=Price.CPU_HOURS)
    assert np.isnan(free[0].cost.value)


def test_a_transfer_that_never_gets_there_is_a_bound_and_seeds_make_the_spread():
    scratch = [point(Arm.SCRATCH, n, 1.0 / n, seed) for n in (10, 20) for seed in (1, 2, 3)]
    worse = [point(Arm.REPLAYED, n, 2.0 / n, seed) for n in (10, 20) for seed in (1, 2)]
    better = [point(Arm.REPLAYED, n, 0.5 / n, 3) for n in (10, 20)]
    found = saving(TransferCurve((*scratch, *worse, *better), {}), "energy")
    assert found[1].labels.bound is Bound.LESS and found[1].labels.value == pytest.approx(1.0)
    assert found[1].labels.low == pytest.approx(1.0) and found[1].labels.high == pytest.approx(2.0)


def test_an_error_that_rises_with_more_labels_does_not_count_against_the_fewer():
    points = [point(Arm.REPLAYED, n, e) for n, e in ((10, 1.0), (20, 0.5), (40, 0.8), (80, 0.25))]
    assert labels_for(points, "energy", 0.5) == (pytest.approx(20.0), Bound.EQUAL)
    assert labels_for(points, "energy", 0.8)[0] == pytest.approx(10.0 * 2 ** (np.log(0.8) / np.log(0.5)))
    assert labels_for(points, "energy", 0.25)[0] == pytest.approx(80.0)
    beyond = np.log(0.35 / 0.5) / np.log(0.25 / 0.5)  # on from the best so far, which 20 labels gave
    assert labels_for(points, "energy", 0.35)[0] == pytest.approx(40.0 * 2**beyond)
