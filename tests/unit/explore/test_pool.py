"""Frames of solids and liquids: their order, their geometry, their density."""

import numpy as np
import pytest
from pydantic import ValidationError

from magflow.core.moments import Ordering
from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.explore.geometry import nearest_distance
from magflow.explore.pool import PoolSettings
from magflow.potentials.ensemble import PotentialEnsemble

MODEL = PotentialEnsemble((SpinLatticeModel(),), "spin-lattice")
BCC = {"structure": "bcc", "species": ["Fe"], "a": 2.84}
STILL = {"volume": (0.0, 0.0), "strain": 0.0, "displacement": 0.0}


def pool(**sources):
    return PoolSettings(**sources).candidates(MODEL, {"Fe": 2.5}, seed=1)


def solid(name, count, **more):
    return {"name": name, "builder": BCC, "count": count, **more}


def test_small_cells_come_first_and_every_beginning_holds_its_sources_in_proportion():
    found = pool(solids=[solid("large", 4, supercell=(3, 2, 1)), solid("many", 12), solid("few", 4)])
    names = [c.source for c in found]
    assert names[16:] == ["large"] * 4
    for end in range(4, 17, 4):
        assert names[:end].count("few") == end // 4
    assert all(c.frame.ordering is Ordering.FM and np.allclose(c.frame.magmoms[:, 2], 2.5) for c in found)


def test_the_same_seed_draws_the_same_frames_whatever_else_is_drawn():
    alone = [c.frame for c in pool(solids=[solid("a", 3)])]
    beside = [c.frame for c in pool(solids=[solid("b", 2), solid("a", 3)]) if c.source == "a"]
    assert alone == beside


def test_a_vacancy_is_a_site_of_the_crystal_without_its_atom():
    whole, holed = pool(solids=[solid("whole", 1, domain=STILL), solid("holed", 1, domain=STILL, vacancies=1)])
    if len(whole.frame) == 1:
        whole, holed = holed, whole
    assert (len(whole.frame), len(holed.frame)) == (2, 1)
    assert np.allclose(whole.frame.cell, holed.frame.cell)
    assert np.allclose(whole.frame.positions[1:], holed.frame.positions)


def test_a_melt_has_the_density_asked_for_and_no_order_left():
    liquid = {
        "name": "melt",
        "builder": BCC,
        "supercell": (2, 2, 2),
        "count": 3,
        "densities": [7.0, 6.0],
        "temperatures_k": [3000],
        "melting_steps": 120,
        "interval": 40,
    }
    frames = [c.frame for c in pool(liquids=[liquid])]
    grams = [16 * 55.845 * 1.66053906660 / f.volume for f in frames]
    assert np.allclose(grams, [7.0, 6.0, 7.0], atol=2e-3)
    assert all(1.6 < nearest_distance(f) < 2.4 for f in frames), "a crystal of this density has 2.58 A"
    assert len(set(frames)) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "solids, liquids or both"),
        ({"solids": [solid("a", 1), solid("a", 1)]}, "two sources are called a"),
        ({"solids": [solid("a", 1, vacancies=2)]}, "no atom is left"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        PoolSettings(**settings)
