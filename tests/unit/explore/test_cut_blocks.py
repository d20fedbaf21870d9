"""Blocks of unit cells out of large cells: what they keep, where they begin, what gives none."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from magflow.core.frame import Frame
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.explore.blocks import closed, cut, displacements, most_uncertain
from magflow.explore.candidate import Candidate
from magflow.explore.geometry import nearest_distance, repeated
from magflow.explore.health import HealthReason
from magflow.explore.md import MdSettings, run_md

UNIT = Frame(("Fe", "Al"), 2.9 * np.eye(3), np.array([[0.0, 0.0, 0.0], [1.45, 1.45, 1.45]]), np.array([2.0, 0.1]))
REPEATS = (4, 4, 4)
ATOMS = 128


def shaken(size: float = 0.08, seed: int = 0, drift: float = 0.0) -> Frame:
    """Moved atoms in a large, strained cell, wrapped into it."""
    rng = np.random.default_rng(seed)
    whole = repeated(UNIT, REPEATS)
    strain = np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3))
    moved = (whole.positions + rng.normal(0.0, size, (len(whole), 3)) + drift) @ strain
    cell = whole.cell @ strain
    inside = (moved @ np.linalg.inv(cell)) % 1.0 @ cell
    return Frame(whole.species, cell, inside, rng.uniform(-2.0, 2.0, len(whole)))


class Known:
    """An ensemble whose deviation of the forces the test gives."""

    members = ()

    def __init__(self, of_atoms: np.ndarray) -> None:
        self.of_atoms = of_atoms

    def predict(self, frames):
        counts = np.array([len(f) for f in frames])
        n = counts.sum()
        zero = Prediction(counts, np.zeros(len(frames)), np.zeros((n, 3)), np.zeros((len(frames), 6)))
        spread = Prediction(counts, zero.energy, np.tile(self.of_atoms, (len(frames), 1)), zero.stress)
        return EnsemblePrediction(zero, spread)


def block(frame: Frame, size, origin=(0, 0, 0)) -> Frame:
    return closed(frame, displacements(frame, UNIT, REPEATS), UNIT, REPEATS, size, origin)


class TestWhatABlockKeeps:
    @pytest.mark.parametrize("origin", [(0, 0, 0), (3, 2, 1)])
    def test_all_of_the_crystal_is_the_same_configuration(self, origin):
        frame, model = shaken(), SpinLatticeModel()
        whole, again = model.predict([frame]), model.predict([block(frame, REPEATS, origin)])
        assert again.energy == pytest.approx(whole.energy, abs=1e-9)
        assert again.stress == pytest.approx(whole.stress, abs=1e-9)
        assert np.sort(again.forces.ravel()) == pytest.approx(np.sort(whole.forces.ravel()), abs=1e-9)

    def test_of_a_crystal_at_rest_it_is_the_smaller_crystal(self):
        found, small = block(repeated(UNIT, REPEATS), (2, 1, 2), (3, 2, 2)), repeated(UNIT, (2, 1, 2))
        assert found.frame_id == small.frame_id

    def test_distances_within_it_are_those_of_the_large_cell(self):
        frame, origin, size = shaken(), (3, 1, 2), (2, 2, 2)
        found = block(frame, size, origin)
        cells = [(np.array(c) + origin) % REPEATS for c in np.ndindex(size)]
        atoms = [int(np.ravel_multi_index(tuple(c), REPEATS)) * len(UNIT) + a for c in cells for a in range(len(UNIT))]
        for i, j in combinations(range(len(found)), 2):
            far = frame.positions[atoms[j]] - frame.positions[atoms[i]]
            fractions = far @ np.linalg.inv(frame.cell)
            nearest = np.linalg.norm((fractions - np.rint(fractions)) @ frame.cell)
            assert np.linalg.norm(found.positions[j] - found.positions[i]) == pytest.approx(nearest, abs=1e-9)
        assert found.species == tuple(frame.species[i] for i in atoms)
        assert (found.magmoms == frame.magmoms[atoms]).all()
        assert found.volume == pytest.approx(frame.volume * 8 / 64)

    def test_a_drift_of_the_whole_changes_nothing(self):
        assert displacements(shaken(drift=7.3), UNIT, REPEATS) == pytest.approx(
            displacements(shaken(), UNIT, REPEATS), abs=1e-9
        )


class TestWhereItBegins:
    @given(atom=st.integers(0, ATOMS - 1), size=st.tuples(*[st.integers(1, 4)] * 3))
    def test_the_most_uncertain_atom_is_in_it(self, atom, size):
        deviation = np.zeros((ATOMS, 3))
        deviation[atom] = 0.3
        begin = most_uncertain(deviation, REPEATS, size)
        inside = [(np.array(c) + begin) % REPEATS for c in np.ndindex(size)]
        assert any((c == np.unravel_index(atom // 2, REPEATS)).all() for c in inside)

    def test_it_is_the_block_of_the_largest_sum(self):
        deviation = np.random.default_rng(1).random((ATOMS, 3))
        cells = (deviation**2).reshape(*REPEATS, -1).sum(axis=-1)
        sums = {
            begin: sum(cells[tuple((np.array(c) + begin) % REPEATS)] for c in np.ndindex(2, 2, 1))
            for begin in np.ndindex(REPEATS)
        }
        assert most_uncertain(deviation, REPEATS, (2, 2, 1)) == max(sums, key=sums.__getitem__)


class TestWhatGivesNone:
    def test_a_melt_is_no_crystal(self):
        frames = [shaken(), shaken(size=0.9)]
        found, reasons = cut(frames, UNIT, REPEATS, (2, 2, 2), Known(np.ones((ATOMS, 3))), 0.6)
        assert [len(f) for f in found] == [16]
        assert reasons == [HealthReason.NO_CRYSTAL]

    def test_faces_that_meet_too_closely(self):
        frame = repeated(UNIT, REPEATS)
        corner, body = 0, int(np.ravel_multi_index((1, 1, 1), REPEATS)) * len(UNIT) + 1
        apart, uncertain = frame.positions.copy(), np.zeros((ATOMS, 3))
        apart[corner] -= 0.3
        apart[body] += 0.3
        uncertain[[corner, body]] = 1.0
        apart = frame.replace(positions=apart)
        found, reasons = cut([apart], UNIT, REPEATS, (2, 2, 2), Known(uncertain), least=0.75)
        assert nearest_distance(apart) > 0.75 * nearest_distance(UNIT)
        assert not found
        assert reasons == [HealthReason.CUT_TOO_CLOSE]

    def test_no_frames(self):
        assert cut([], UNIT, REPEATS, (1, 1, 1), Known(np.ones((ATOMS, 3))), 0.6) == ([], [])


class TestInDynamics:
    LARGE = MdSettings(
        steps=20, temperatures_k=(600.0,), snapshot_interval=5, supercell=(3, 3, 3), label_cell=(2, 2, 1)
    )

    def test_blocks_are_offered(self, quick, ensemble, moments):
        starts = [Candidate(p.frame, f"perturbation:{p.label}") for p in quick]
        outcome = run_md(starts, ensemble, self.LARGE, moments, 1)
        assert Counter(c.source for c in outcome.candidates) == {f"md-block:{p.label}:600K": 4 for p in quick}
        assert {len(c.frame) for c in outcome.candidates} == {4 * len(p.frame) for p in quick}
        assert len({c.frame for c in outcome.candidates}) == len(outcome.candidates)

    @pytest.mark.parametrize("size", [(4, 1, 1), (0, 1, 1)])
    def test_a_block_larger_than_the_cell_is_refused(self, size):
        with pytest.raises(ValidationError, match=r"at most those of supercell, \(3, 3, 3\)"):
            MdSettings(supercell=(3, 3, 3), label_cell=size)
