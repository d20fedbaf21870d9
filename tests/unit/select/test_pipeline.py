"""The pipeline: what is refused, the first batch, exhaustion and filling."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.select.batch import Pool, choose
from magflow.select.pipeline import Offered, select
from magflow.select.reasons import Reason
from magflow.select.settings import SelectSettings

TARGETS = {"energy": 0.005}


def frames(n: int, seed: int = 0) -> list[Frame]:
    rng = np.random.default_rng(seed)
    return [
        Frame(
            ("Fe", "Al"),
            np.eye(3) * rng.uniform(2.7, 3.0),
            np.array([[0, 0, 0], [1.43, 1.43, 1.43]]) + rng.normal(0, 0.05, (2, 3)),
            [rng.uniform(0.2, 2.8), 0.0],
        )
        for _ in range(n)
    ]


def offered(energy: list[float], **kwargs: object) -> Offered:
    return Offered(frames(len(energy)), ["test"] * len(energy), {"energy": np.array(energy)}, **kwargs)


def test_the_first_batch_is_diverse_and_has_its_own_size():
    pool = frames(200)
    settings = SelectSettings(initial=30, batch=5, diversity={"initial_fraction": 1.0})
    found = select(Offered(pool, [""] * 200), settings=settings, targets=TARGETS)
    assert len(found.selected) == 30
    assert np.isnan(found.score).all()
    assert dict(found.trust) == {}

    def reach(indices):
        volumes = np.array([f.volume for f in pool])
        moments = np.array([f.magmoms[0, 2] for f in pool])
        grid = np.stack([volumes / np.ptp(volumes), moments / np.ptp(moments)], axis=1)
        return np.linalg.norm(grid[:, None] - grid[None, indices], axis=2).min(axis=1).max()

    random = [np.random.default_rng(s).choice(200, 30, replace=False) for s in range(20)]
    assert reach(found.selected) < np.mean([reach(r) for r in random])

    drawn = select(Offered(pool, [""] * 200), settings=SelectSettings(initial=30, random_share=0.2), targets=TARGETS)
    assert len(drawn.selected) == 30
    assert Counter(drawn.reasons) == {Reason.DRAWN: 6, Reason.SELECTED: 24, Reason.NOT_DRAWN: 170}


def test_nothing_above_the_lower_level_means_exhausted():
    for fill in (False, True):
        found = select(offered([0.001] * 10), settings=SelectSettings(fill=fill), targets=TARGETS)
        assert found.exhausted
        assert found.selected.size == 0
        assert set(found.reasons) == {Reason.BELOW_TRUST}
    assert not select(offered([0.01] * 10), settings=SelectSettings(), targets=TARGETS).exhausted
    assert not select(offered([0.001]), settings=SelectSettings(), targets=TARGETS, budget=0).exhausted


def test_fill_completes_a_short_batch_with_accurate_frames():
    pool = offered([0.01] * 3 + [0.001] * 20)
    found = select(pool, settings=SelectSettings(batch=8, fill=True, random_share=0.0), targets=TARGETS)
    assert sorted(found.selected.tolist())[:3] == [0, 1, 2]
    assert [found.reasons[i] for i in found.selected].count(Reason.FILLED) == 5


def test_the_highest_scores_come_first_without_diversity():
    pool = offered([0.01, 0.03, 0.02, 0.04, 0.006])
    settings = SelectSettings(batch=3, random_share=0.0, diversity={"enabled": False}, quotas={"enabled": False})
    found = select(pool, settings=settings, targets=TARGETS, budget=2)
    assert found.selected.tolist() == [3, 1]
    assert [str(r) for r in found.reasons] == ["outranked", "selected", "over-budget", "selected", "outranked"]


def test_what_fills_a_batch_keeps_away_from_what_is_in_it():
    energy = [0.01] + [0.001] * 10
    pool = offered(energy, descriptors=np.linspace(0, 1, 11)[:, None])
    found = select(pool, settings=SelectSettings(batch=2, fill=True), targets=TARGETS)
    assert found.selected.tolist() == [0, 10]


def test_strata_take_turns_in_proportion_to_their_quotas():
    pool = Pool(
        np.array(["a"] * 4 + ["b"] * 2, dtype=object), np.arange(6.0)[:, None], np.zeros((0, 1)), -np.arange(6.0)
    )
    settings = SelectSettings(diversity={"enabled": False}, quotas={"minimum_share": 0.0})
    assert choose(pool, 6, settings).chosen.tolist() == [0, 4, 1, 2, 5, 3]  # a b a a b a


def test_of_two_alike_one_is_labelled_and_the_other_told_apart():
    one, other = frames(2)
    twin = one.replace(positions=one.positions + 0.3)
    pool = Offered([one, other, twin], ["test"] * 3, {"energy": np.full(3, 0.01)})
    found = select(pool, settings=SelectSettings(random_share=0.0), targets=TARGETS)
    assert sorted(map(str, found.reasons)) == ["duplicate-in-pool", "selected", "selected"]
    assert found.reasons[1] is Reason.SELECTED and len(found.selected) == 2


def test_the_target_decides_who_is_a_candidate():
    common = {"settings": SelectSettings(), "targets": TARGETS}
    assert select(offered([0.6 * TARGETS["energy"]] * 5), **common).exhausted
    assert len(select(offered([1.2 * TARGETS["energy"]] * 5), **common).selected) == 5


def test_nan_is_never_certain():
    found = select(offered([np.nan, 0.01, np.inf, 0.001]), settings=SelectSettings(random_share=0.0), targets=TARGETS)
    assert found.reasons[0] is found.reasons[2] is Reason.UNKNOWN_DEVIATION
    assert found.selected.tolist() == [1]


def test_known_frames_repel():
    """With descriptors given, a pick keeps away from the training set."""
    n = 21
    line = np.linspace(0, 1, n)[:, None]
    pool = offered([0.01] * n, descriptors=line)
    known = frames(1, seed=99)
    settings = SelectSettings(batch=1, diversity={"fraction": 1.0})
    for taken, pick in ((0.0, n - 1), (1.0, 0)):
        found = select(pool, known=known, known_descriptors=np.array([[taken]]), settings=settings, targets=TARGETS)
        assert found.selected.tolist() == [pick]


def test_an_empty_pool_selects_nothing():
    found = select(Offered([], [], {"energy": np.zeros(0)}), settings=SelectSettings(), targets=TARGETS)
    assert found.exhausted
    assert found.reasons == ()
    assert found.counts == {}


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"deviations\.energy"):
        Offered(frames(3), [""] * 3, {"energy": np.zeros(2)})
    with pytest.raises(InputError, match="known_descriptors"):
        select(
            offered([0.01], descriptors=np.zeros((1, 3))),
            known=frames(1, 5),
            known_descriptors=np.zeros((1, 4)),
            settings=SelectSettings(),
            targets=TARGETS,
        )
    with pytest.raises(InputError, match="negative"):
        select(offered([0.01]), settings=SelectSettings(), targets=TARGETS, budget=-1)


def test_the_only_candidate_of_a_stratum_is_taken():
    found = select(offered([0.01]), known=frames(4, 5), settings=SelectSettings(), targets=TARGETS)
    assert found.selected.tolist() == [0]
