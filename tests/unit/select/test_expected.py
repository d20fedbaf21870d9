"""The batch of least expected error within the pipeline: what may be chosen and stands for the domain, quotas."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.undecided import Rows
from magflow.select.pipeline import Offered, select
from magflow.select.reasons import Reason
from magflow.select.settings import SelectSettings

TARGETS = {"energy": 0.005}


class Linear:
    """Test double of a family linear in what its rows say: volume, moment and a hidden number of each frame."""

    unknowns = 3
    asked: int = 0

    def rows(self, frames, directions=None) -> Rows:
        Linear.asked += len(frames)
        values = np.array([[f.volume / 10.0 - 2.3, f.magmoms[0, 2], np.sin(1e4 * f.volume)] for f in frames])
        onto = np.eye(3) if directions is None else directions
        return Rows(values.reshape(-1, 3) @ onto, np.arange(len(frames) + 1))


def frames(n: int, seed: int = 0, second: str = "Al", sign: int = 1) -> list[Frame]:
    rng = np.random.default_rng(seed)
    sites = np.array([[0, 0, 0], [1.43, 1.43, 1.43]])
    out = []
    for _ in range(n):
        moments = [rng.uniform(0.2, 2.8), 0.0 if second == "Al" else sign * 1.5]
        positions = sites + rng.normal(0, 0.05, (2, 3))
        out.append(Frame(("Fe", second), np.eye(3) * rng.uniform(2.7, 3.0), positions, moments))
    return out


def offered(pool: list[Frame], energy: np.ndarray | None = None, **known: object) -> Offered:
    deviations = None if energy is None else {"energy": energy}
    return Offered(pool, ["test"] * len(pool), deviations, undecided=Linear(), **known)


def choose(pool: Offered, **changes: object):
    settings = SelectSettings(
        **({"batch": 5, "initial": 5, "random_share": 0.0, "quotas": {"minimum_share": 0.2}} | changes)
    )
    return select(pool, settings=settings, targets=TARGETS, seed=1)


def test_the_first_batch_beats_random_ones_of_the_same_size_at_what_it_is_chosen_for():
    pool = frames(120)
    found = choose(offered(pool))
    rows = Linear().rows(pool).values
    aim = rows.T @ rows

    def left(indices) -> float:
        return float(np.trace(np.linalg.inv(np.eye(3) + rows[indices].T @ rows[indices]) @ aim))

    rng = np.random.default_rng(2)
    assert left(found.selected) < min(left(rng.choice(120, 5, replace=False)) for _ in range(200))
    assert Counter(found.reasons) == {Reason.SELECTED: 5, Reason.OUTRANKED: 115}
    assert [pool[i].frame_id for i in found.selected] == [
        pool[::-1][i].frame_id for i in choose(offered(pool[::-1])).selected
    ]


def test_accurate_frames_are_chosen_only_where_batches_are_filled():
    energy = np.where(np.arange(60) < 6, 0.02, 0.001)
    found = choose(offered(frames(60), energy))
    assert set(found.selected) < set(range(6)) and len(found.selected) == 5
    assert found.reasons.count(Reason.BELOW_TRUST) == 54
    filled = choose(offered(frames(60), energy), fill=True)
    assert Reason.FILLED in [filled.reasons[i] for i in filled.selected]
    certain = choose(offered(frames(60), np.full(60, 0.001)))
    assert certain.exhausted and not len(certain.selected)


def test_shares_are_kept_and_nothing_else_rations_the_batch():
    pool = [*frames(40), *frames(40, 1, "Fe"), *frames(40, 2, "Fe", -1)]
    shares = {"Al1Fe1 FM": 3, "Fe2 FM": 2, "Fe2 FiM": 0, "Fe2 AFM": 0}
    found = choose(offered(pool), quotas={"shares": shares, "minimum_share": 0.0})
    assert Counter(found.strata[i] for i in found.selected) == {"Al1Fe1 FM": 3, "Fe2 FM": 2}
    assert Reason.QUOTA_FULL in found.reasons
    free = choose(offered(pool))
    assert Counter(free.reasons) == {Reason.SELECTED: 5, Reason.OUTRANKED: 115}


def test_the_weight_of_a_stratum_draws_the_batch_to_it():
    pool = [*frames(40), *frames(40, 1, "Fe")]

    class Apart(Linear):
        """Each composition has unknowns of its own."""

        unknowns = 2

        def rows(self, frames, directions=None) -> Rows:
            mine = np.array([[f.species.count("Al"), 2 - len(set(f.species))] for f in frames], dtype=float)
            onto = np.eye(2) if directions is None else directions
            return Rows(mine * 0.3 @ onto, np.arange(len(frames) + 1))

    def chosen(weights: dict[str, float]) -> Counter[str]:
        found = choose(Offered(pool, [""] * 80, undecided=Apart()), stratum_weights=weights, batch=6, initial=6)
        return Counter(found.strata[i].split()[0] for i in found.selected)

    assert chosen({}) == {"Al1Fe1": 3, "Fe2": 3}
    assert chosen({"Fe2 FM": 100.0})["Fe2"] == 6


def test_what_a_label_costs_divides_what_it_teaches():
    pool = frames(60)
    dear = choose(offered(pool)).selected
    costs = np.where(np.isin(np.arange(60), dear), 1e6, 1.0)
    assert not set(choose(offered(pool, costs=costs)).selected) & set(dear)


@pytest.mark.parametrize("limit", [20, 1])
def test_of_a_large_pool_a_part_is_looked_at_uncertain_and_random_frames_alike(limit, monkeypatch):
    monkeypatch.setattr("magflow.select.expected.CANDIDATE_ROWS", 15 * limit)
    monkeypatch.setattr("magflow.select.expected.DOMAIN_ROWS", 15 * 30)
    energy = np.random.default_rng(0).uniform(0.006, 0.02, 200)
    Linear.asked = 0
    found = choose(offered(frames(200), energy))
    assert Linear.asked == 30 + limit
    seen = [i for i, r in enumerate(found.reasons) if r in (Reason.SELECTED, Reason.OUTRANKED)]
    assert len(seen) == limit
    by_score = np.argsort(-energy)
    assert by_score[0] in seen
    if limit == 20:
        assert set(by_score[:9]) <= set(seen)
        assert energy[seen].min() < np.median(energy)
