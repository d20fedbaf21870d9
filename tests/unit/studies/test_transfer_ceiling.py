"""The most that non-magnetic labels can save, on a linear model where it can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from magflow.core.undecided import Rows
from magflow.potentials.mmtp import MmtpFamily
from magflow.studies.transfer.ceiling import Expected, Given, Linearised, expected_errors
from magflow.studies.transfer.result import TransferCurve
from magflow.studies.transfer.saving import Bound, most_saved
from magflow.testing.springs import springs, two_atoms

ITEMS = [springs(frame) for frame in two_atoms(64, seed=1)]


@dataclass(frozen=True)
class Two:
    """Two unknowns: energies tell the first and, as moments do, the second; magnetic forces the second alone."""

    plain: bool = False
    unknowns: int = 2

    def rows(self, frames: Sequence[object], directions: object = None) -> Rows:
        one = np.zeros((15, 2))
        one[0] = [1.0, 0.0] if self.plain else [1.0, 1.0]
        one[13:] = 0.0 if self.plain else [0.0, 1.0]
        return Rows(np.tile(one, (len(frames), 1)), 15 * np.arange(len(frames) + 1))


def variances(n: int, known: float) -> tuple[float, float]:
    """Of an energy and a magnetic force with n magnetic labels and `known` of the first unknown."""
    inverse = np.linalg.inv(np.array([[1.0 + known + n, n], [n, 1.0 + 3.0 * n]]))
    return inverse.sum(), inverse[1, 1]


def linearised(zero: int) -> Linearised:
    plain = Linearised.of(Two(plain=True), ITEMS[:zero], ITEMS[:4])
    return Linearised(Two(), plain.non_magnetic, Linearised.of(Two(), [], ITEMS[:4]).asked)


def test_expected_errors_are_those_of_the_posterior():
    found = linearised(3).expected(ITEMS, (2, 8), Given.LABELS, 5)
    for e in found:
        energy, force = variances(e.magnetic_labels, 3.0)
        assert (e.seed, e.rmse["energy"]) == (5, pytest.approx(np.sqrt(energy)))
        assert e.rmse["magnetic_forces"] == pytest.approx(np.sqrt(force))
        assert set(e.rmse) == {"energy", "magnetic_forces"}, "nothing is said of forces here"
    assert Expected.from_dict(found[0].__dict__) == found[0]


def test_the_factor_is_the_ratio_of_labels_at_equal_variance():
    expected = expected_errors(linearised(30), {1: ITEMS, 2: ITEMS}, (16, 32, 64))
    curve = TransferCurve((), {}, expected)
    labels, surface = (most_saved(curve, "energy", given) for given in (Given.LABELS, Given.SURFACE))
    target = variances(64, 0.0)[0]
    fewer = np.array([variances(n, 30.0)[0] for n in range(1, 65)])
    needed = np.interp(-target, -fewer, np.arange(1, 65))
    assert labels[64].bound is Bound.EQUAL and labels[64].value == pytest.approx(64 / needed, rel=0.05)
    assert list(labels) == [16, 32, 64] and surface[64].value > labels[64].value > 1.0
    looked_at = {e.magnetic_labels for e in expected if e.given is Given.LABELS}
    assert looked_at > {16, 32, 64}, "a ceiling between other numbers of labels could lie below one"
    forces = most_saved(curve, "magnetic_forces", Given.SURFACE)
    # with the first unknown known a label tells three of the second, without it two: v = 1 / (3 n), 1 / (2 n)
    assert forces[64].value == pytest.approx(1.5, rel=0.02) and forces[64].value < labels[64].value
    assert most_saved(TransferCurve((), {}), "energy", Given.LABELS) == {}


def test_rows_at_zero_moments_of_an_mmtp_say_nothing_of_magnetic_forces():
    """The variance at zero moments falls with them, that of magnetic forces elsewhere stays near what it was."""
    family = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=4)
    potential, _ = family.fit(ITEMS[:20], elements=("Al", "Fe"), seed=1)
    undecided = family.undecided_before(ITEMS[:20], elements=("Al", "Fe"), seed=1, around=potential)
    frames = [item.frame.replace(magmoms=np.zeros((2, 3))) for item in ITEMS[20:30]]
    rows = undecided.rows(frames)
    kinds = np.tile(np.repeat(np.arange(4), [1, 6, 6, 2]), len(frames))
    assert not rows.values[kinds == 3].any() and rows.values[kinds == 0].any()
    first = undecided.rows([ITEMS[0].frame]).values
    again = family.undecided_before(ITEMS[:20], elements=("Al", "Fe"), seed=9, around=potential).rows([ITEMS[0].frame])
    assert np.isfinite(first).all() and again.values.shape == first.shape
