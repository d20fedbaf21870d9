"""Supercells of all shapes."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.explore.geometry import nearest_distance
from magflow.explore.prototypes import PrototypeSettings
from magflow.explore.shapes import cells_of

CUBIC = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]])
BCC = Frame(("Fe",), 1.43 * (np.ones((3, 3)) - 2 * np.eye(3)), [[0, 0, 0]])
TETRAGONAL = Frame(("Fe",), np.diag([2.8, 2.8, 3.1]), [[0, 0, 0]])


@pytest.mark.parametrize(
    ("frame", "numbers"),
    [(BCC, [1, 2, 3, 7, 5, 10, 7, 20]), (CUBIC, [1, 3, 3, 9, 5, 13, 7, 24]), (TETRAGONAL, [1, 5, 5, 17])],
)
def test_as_many_as_published(frame, numbers):
    """Hart and Forcade, Phys. Rev. B 77, 224115 (2008), table IV: bcc, simple cubic and simple tetragonal lattices."""
    assert [len(cells_of(frame, n + 1)) for n in range(len(numbers))] == numbers


@pytest.mark.parametrize("frame", [BCC, CUBIC])
def test_each_is_the_same_crystal(frame):
    for cell in cells_of(frame, 4):
        assert len(cell) == 4 * len(frame)
        assert cell.volume == pytest.approx(4 * frame.volume)
        assert np.linalg.det(cell.cell) > 0
        assert nearest_distance(cell) == pytest.approx(nearest_distance(frame))
        shifts = np.linalg.solve(frame.cell.T, (cell.positions[:: len(frame)] - frame.positions[0]).T)
        assert shifts == pytest.approx(np.rint(shifts), abs=1e-9)


def test_vectors_are_short():
    """The cell of four atoms that holds the zone boundary along 111 in all directions is a cube of face diagonals."""
    edges = [np.linalg.norm(c.cell, axis=1) / 2.86 for c in cells_of(BCC, 4)]
    assert any(e == pytest.approx([2**0.5] * 3) for e in edges)
    assert max(e.max() for e in edges) < 2.9


class TestPrototypes:
    def test_names_and_weights(self, build, b2_feal):
        found = build(b2_feal(sizes=[1, 2], weight=2.0))
        assert [p.name for p in found] == ["B2-FeAl-1a", "B2-FeAl-2a", "B2-FeAl-2b", "B2-FeAl-2c"]
        assert sum(p.weight for p in found) == pytest.approx(2.0)

    def test_orderings_of_a_cell_that_is_no_repeat(self, build):
        builder = {"structure": "bcc", "species": ["Fe"], "a": 2.86, "cubic": False}
        found = build(PrototypeSettings(name="Fe", builder=builder, sizes=[2, 16], orderings=["FM", "AFM"]))
        two = [p.label for p in found if len(p.frame) == 2]
        assert two == ["Fe-2a:FM", "Fe-2a:AFM", "Fe-2b:FM", "Fe-2b:AFM"]
        large = [p for p in found if len(p.frame) == 16 and p.ordering == "AFM"]
        assert large
        for p in large:
            assert sum(p.pattern) == 0

    def test_substitution_in_every_shape(self, build):
        builder = {"structure": "bcc", "species": ["Fe"], "a": 2.86, "cubic": False}
        half = {"replace": "Fe", "by": "Al", "fraction": 0.5}
        found = build(PrototypeSettings(name="x", builder=builder, sizes=[2], substitution=half))
        assert [p.name for p in found] == ["x-2a", "x-2b"]
        assert all(sorted(p.frame.species) == ["Al", "Fe"] for p in found)

    def test_sizes_and_supercell_exclude_each_other(self, b2_feal):
        with pytest.raises(ValueError, match="either supercell or sizes"):
            b2_feal(sizes=[2], supercell=(1, 1, 2))

    def test_one_name_twice(self, build, b2_feal):
        with pytest.raises(InputError, match="same name"):
            build(b2_feal(sizes=[1, 1]), b2_feal(sizes=[1]))
