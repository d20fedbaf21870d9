"""Sign patterns up to the space group and time reversal."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.explore.geometry import repeated
from magflow.explore.orderings import PrototypeOrdering, named, sign_patterns

UNIT = Frame(("Fe", "Fe"), np.eye(3) * 2.836, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) * 2.836)


def exchange_fingerprint(frame: Frame, signs: np.ndarray) -> tuple[float, ...]:
    """Sums of s_i s_j over shells of neighbours: the same for equivalent patterns."""
    from vesin import NeighborList

    i, j, d = NeighborList(cutoff=6.0, full_list=True, n_threads=1).compute(
        points=frame.positions, box=frame.cell, periodic=True, quantities="ijd"
    )
    shells = np.unique(np.round(d, 3))
    return tuple(float((signs[i] * signs[j])[np.isclose(d, r, atol=2e-3)].sum()) for r in shells)


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 1, 1)])
def test_patterns_cover_every_state_once(repeats):
    frame = repeated(UNIT, repeats)
    n = len(frame)
    found = [exchange_fingerprint(frame, p) for p in sign_patterns(frame, np.ones(n, bool), np.diag(repeats))]
    states = {
        exchange_fingerprint(frame, np.array((1, *rest))) for rest in itertools.product((1, -1), repeat=n - 1)
    }  # fmt: skip
    assert set(found) == states


def test_patterns_are_not_repeated():
    assert [p.tolist() for p in sign_patterns(UNIT, np.ones(2, bool), np.diag((1, 1, 1)))] == [[1, 1], [1, -1]]
    # the four-atom chain along x: FM, single layers, double layers, one up against three
    assert len(sign_patterns(repeated(UNIT, (2, 1, 1)), np.ones(4, bool), np.diag((2, 1, 1)))) == 4


def test_only_magnetic_sites_get_a_sign():
    frame = repeated(Frame(("Fe", "Al"), UNIT.cell, UNIT.positions), (2, 1, 1))
    patterns = sign_patterns(frame, np.array([True, False, True, False]), np.diag((2, 1, 1)))
    assert [p.tolist() for p in patterns] == [[1, 0, 1, 0], [1, 0, -1, 0]]
    assert sign_patterns(frame, np.zeros(4, bool), np.diag((2, 1, 1))) == []


def test_large_cells_get_layered_orders():
    frame = repeated(UNIT, (2, 2, 2))
    patterns = sign_patterns(frame, np.ones(16, bool), np.diag((2, 2, 2)))
    assert named(patterns[0], frame.species) is PrototypeOrdering.FM
    afm = [p for p in patterns if named(p, frame.species) is PrototypeOrdering.AFM]
    assert any((p.reshape(-1, 2) == [1, -1]).all() for p in afm)  # corner against centre
    assert len({exchange_fingerprint(frame, p) for p in patterns}) == len(patterns) >= 4


def test_names():
    iron = ("Fe", "Fe", "Fe")
    assert named(np.array([1, 1, 0]), iron) is PrototypeOrdering.FM
    assert named(np.array([1, -1, 0]), iron) is PrototypeOrdering.AFM
    assert named(np.array([1, 1, -1]), iron) is PrototypeOrdering.FIM
    assert named(np.array([0, 0, 0]), iron) is PrototypeOrdering.NM


def test_antiparallel_elements_are_a_ferrimagnet():
    assert named(np.array([1, -1]), ("Fe", "Co")) is PrototypeOrdering.FIM
    assert named(np.array([1, 1, -1, -1]), ("Fe", "Fe", "Co", "Co")) is PrototypeOrdering.FIM
    assert named(np.array([1, -1, 1, -1]), ("Fe", "Fe", "Co", "Co")) is PrototypeOrdering.AFM


def test_a_large_supercell_takes_no_time_and_holds_the_simple_antiferromagnet():
    repeats = (4, 4, 4)
    frame = repeated(UNIT, repeats)
    begin = time.perf_counter()
    patterns = sign_patterns(frame, np.ones(128, bool), np.diag(repeats))
    assert time.perf_counter() - begin < 2.0
    assert any((p.reshape(-1, 2) == [1, -1]).all() for p in patterns)


def test_two_magnetic_elements_in_a_large_cell():
    frame = repeated(Frame(("Fe", "Co"), UNIT.cell, UNIT.positions), (2, 2, 2))
    found = {named(p, frame.species) for p in sign_patterns(frame, np.ones(16, bool), np.diag((2, 2, 2)))}
    assert found == {PrototypeOrdering.FM, PrototypeOrdering.FIM, PrototypeOrdering.AFM}
