"""Solid solutions: composition, randomness of the pairs, reproducibility, and how a campaign takes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.explore.builders import BuilderSettings, from_builder
from magflow.explore.geometry import repeated
from magflow.explore.prototypes import PrototypeSettings
from magflow.explore.substitution import Substitution, substituted

BCC = from_builder(BuilderSettings(structure="bcc", species=("Fe",), a=2.86), "here")
MIXED = {"replace": "Fe", "by": "Cr", "fraction": 0.25}


def neighbours(frame: Frame, reach: float) -> float:
    """Share of the pairs within `reach` that are both Cr."""
    from vesin import NeighborList

    i, j = NeighborList(cutoff=reach, full_list=False).compute(frame.positions, frame.cell, True, quantities="ij")
    chromium = np.array(frame.species) == "Cr"
    return float(np.mean(chromium[i.astype(int)] & chromium[j.astype(int)]))


@given(fraction=st.floats(0.1, 0.9), seed=st.integers(0, 2**32))
def test_composition_and_sites_are_kept(fraction, seed):
    whole = repeated(BCC, (2, 2, 1))
    found = substituted(whole, Substitution(replace="Fe", by="Cr", fraction=fraction, seed=seed), "here")
    assert len(found) == 1 and found[0].species.count("Cr") == round(8 * fraction)
    np.testing.assert_array_equal(found[0].positions, whole.positions)
    again = substituted(whole, Substitution(replace="Fe", by="Cr", fraction=fraction, seed=seed), "here")
    assert again[0].species == found[0].species


def test_pairs_are_nearer_to_a_random_alloy_than_those_of_a_random_draw():
    whole = repeated(BCC, (3, 3, 3))
    expected = 14 * 13 / (54 * 53)
    best = substituted(whole, Substitution(**MIXED), "here")[0]
    assert abs(neighbours(best, 2.6) - expected) < 0.01
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(50):
        species = np.array(["Fe"] * 54)
        species[rng.permutation(54)[:14]] = "Cr"
        drawn.append(abs(neighbours(Frame(tuple(species), whole.cell, whole.positions), 5.0) - expected))
    assert abs(neighbours(best, 5.0) - expected) < np.median(drawn)


def test_configurations_differ_in_their_pairs_and_another_seed_gives_others():
    whole = repeated(BCC, (2, 2, 2))
    found = substituted(whole, Substitution(**MIXED, configurations=4), "here")
    assert len({f.species for f in found}) == 4 and all(f.species.count("Cr") == 4 for f in found)
    pairs = {tuple(round(neighbours(f, reach), 6) for reach in (2.6, 3.0, 4.2)) for f in found}
    assert len(pairs) == 4
    other = substituted(whole, Substitution(**MIXED, configurations=4, seed=1), "here")
    assert {f.species for f in other} != {f.species for f in found}


def test_a_cell_with_one_arrangement_gives_one():
    assert len(substituted(BCC, Substitution(replace="Fe", by="Cr", fraction=0.5, configurations=5), "here")) == 1


@pytest.mark.parametrize("fraction", [0.1, 0.9])
def test_a_share_of_no_whole_atom_is_refused(fraction):
    with pytest.raises(InputError, match="none or all"):
        substituted(BCC, Substitution(replace="Fe", by="Cr", fraction=fraction), "here")
    with pytest.raises(InputError, match="none or all"):
        substituted(BCC, Substitution(replace="Ni", by="Cr", fraction=0.5), "here")


def test_a_prototype_with_configurations_is_so_many_of_a_share_each(build):
    settings = {
        "name": "bcc-FeCr",
        "builder": {"structure": "bcc", "species": ["Fe"], "a": 2.86},
        "supercell": [2, 2, 2],
        "substitution": {**MIXED, "configurations": 3},
        "orderings": ["FM", "DLM"],
        "weight": 3.0,
    }
    moments = {"Fe": (0.0, 2.8), "Cr": (0.0, 1.6)}
    found = build(PrototypeSettings(**settings), elements=["Cr", "Fe"], moments=moments)
    assert [p.label for p in found] == [f"bcc-FeCr-{k}:{order}" for k in (1, 2, 3) for order in ("FM", "DLM")]
    assert {p.weight for p in found} == {1.0} and all(p.frame.formula == "Cr4Fe12" for p in found)
    assert sorted({float(m) for m in found[0].frame.magmoms[:, 2]}) == [1.6, 2.8]
    with pytest.raises(InputError, match="not in the campaign"):
        build(PrototypeSettings(**settings), elements=["Fe"], moments=moments)
    single = settings | {"name": "bcc-FeCr-2", "substitution": MIXED}
    with pytest.raises(InputError, match="the same name"):
        build(PrototypeSettings(**settings), PrototypeSettings(**single), elements=["Cr", "Fe"], moments=moments)
