"""One round of exploration, as the campaign calls it."""

from __future__ import annotations

from collections import Counter

from magflow.explore.md import MdSettings
from magflow.explore.run import explore
from magflow.explore.settings import ExploreSettings

SETTINGS = ExploreSettings(candidates=20, md=MdSettings(steps=20, starts=4, snapshot_interval=5))


def frames(exploration):
    return {c.frame for c in exploration.candidates}


def test_first_iteration_without_an_ensemble(quick, moments):
    found = explore(quick, SETTINGS, moments)
    kinds = Counter(c.source.split(":")[0] for c in found.candidates)
    assert kinds == {"prototype": 3, "perturbation": 20}
    assert found.health == {}
    assert found.seconds > 0


def test_md_joins_once_there_is_an_ensemble(quick, moments, ensemble):
    found = explore(quick, SETTINGS, moments, ensemble=ensemble, iteration=1, seed=3)
    kinds = Counter(c.source.split(":")[0] for c in found.candidates)
    assert kinds["perturbation"] == 20
    assert kinds["md"] > 0
    assert "prototype" not in kinds
    assert sum(found.health.get(k, 0) for k in ("completed", "forces-deviation", "moments-not-relaxed")) == 4


def test_iterations_bring_new_frames(quick, moments, ensemble):
    rounds = [frames(explore(quick, SETTINGS, moments, ensemble=ensemble, iteration=i, seed=3)) for i in range(3)]
    assert len(set.union(*rounds)) == sum(map(len, rounds))


def test_reproducible_and_different_between_seeds(quick, moments, ensemble):
    a, b, c = (frames(explore(quick, SETTINGS, moments, ensemble=ensemble, iteration=2, seed=s)) for s in (3, 3, 4))
    assert a == b
    assert not a & c


def test_md_can_be_off(quick, moments, ensemble):
    found = explore(quick, ExploreSettings(candidates=5), moments, ensemble=ensemble, iteration=1)
    assert len(found.candidates) == 5
