"""Several magnetic states at alike geometries: what of the energies no potential without moments can learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, ignoring_moments
from magflow.dft.spin_lattice import SpinLatticeEngine, SpinLatticeModel
from magflow.io.importing.environments import environments, magnetism
from magflow.io.importing.magnetic_states import FEWEST, MagneticStates, magnetic_states
from magflow.io.importing.unexplained import unexplained
from magflow.potentials.mmtp import MmtpFamily

LEVEL = SpinLatticeEngine().level_of_theory(["Al", "Fe"])
CRYSTALS = {"Fe": bulk("Fe", "bcc", a=2.836, cubic=True), "FeAl": bulk("FeAl", "cesiumchloride", a=2.884)}


def labels(n: int, crystals: list[str], states: list[float], seed: int, strain: float = 0.02) -> list[LabeledFrame]:
    """Strained, displaced two-atom cells whose iron carries one of some moments; a second one < 0 is antiparallel."""
    rng, frames = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = CRYSTALS[crystals[rng.integers(len(crystals))]]
        turned = strain * rng.normal(size=(3, 3))
        deform = np.eye(3) + 0.5 * (turned + turned.T)
        size = states[rng.integers(len(states))]
        moments = np.where(atoms.numbers == 26, np.array([abs(size), size]), 0.0)
        positions = atoms.positions @ deform + 0.08 * rng.normal(size=(2, 3))
        frames.append(Frame(tuple(atoms.get_chemical_symbols()), atoms.cell.array @ deform, positions, moments))
    said = SpinLatticeModel().predict(frames)

    def label(k: int) -> Label:
        one, frame = said.frame(k), frames[k]
        return Label(
            frame.frame_id,
            LEVEL,
            frame.orientation,
            energy=float(one.energy[0]),
            forces=one.forces,
            stress=one.stress[0],
            magmoms=frame.magmoms,
        )

    return [LabeledFrame(frame, label(k)) for k, frame in enumerate(frames)]


def test_noise_is_told_from_a_smooth_function():
    rng = np.random.default_rng(0)
    x, group = rng.normal(size=(400, 3)), rng.integers(2, size=400)
    smooth = np.sin(x[:, 0]) + x[:, 1] * x[:, 2]
    fixed = np.eye(2)[group]
    for noise in (0.1, 0.5):
        found = unexplained([x], fixed, 100.0 * group + smooth + noise * rng.normal(size=400))
        assert found.noise == pytest.approx(noise, rel=0.12)
        assert found.spread == pytest.approx(np.hypot(smooth.std(), noise), rel=0.1)
    assert unexplained([x], fixed, x @ [1.0, 2.0, 3.0]).noise < 1e-2
    alone = unexplained([x], fixed, rng.normal(size=400))
    assert alone.noise == pytest.approx(alone.spread, rel=0.05)


def test_evidence_prefers_the_feature_that_matters():
    rng = np.random.default_rng(1)
    x, hidden = rng.normal(size=(150, 2)), rng.normal(size=(150, 1))
    y = x[:, 0] + hidden[:, 0] + 0.1 * rng.normal(size=150)
    bare, aware = (unexplained(blocks, np.ones((150, 1)), y) for blocks in ([x], [x, hidden]))
    assert aware.evidence - bare.evidence > 50.0
    assert (bare.noise, aware.noise) == (pytest.approx(1.0, rel=0.15), pytest.approx(0.1, rel=0.2))


def test_features_do_not_turn_with_the_frame_and_know_no_choice_of_cell():
    (item,) = labels(1, ["FeAl"], [2.0], 3)
    frame = item.frame
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    doubled = np.concatenate([frame.positions, frame.positions + frame.cell[0]])
    alike = [
        frame.replace(cell=frame.cell @ turn, positions=frame.positions @ turn),
        Frame(frame.species[::-1], frame.cell, frame.positions[::-1], frame.magmoms[::-1]),
        Frame(frame.species * 2, np.diag([2, 1, 1]) @ frame.cell, doubled, np.concatenate([frame.magmoms] * 2)),
        frame.time_reversed(),
    ]
    for look in (environments, magnetism):
        first, *others = look([frame, *alike], ["Al", "Fe"])
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-9 * np.abs(first).max())
    other = frame.replace(magmoms=frame.magmoms * 0.5)
    assert np.array_equal(environments([other], ["Al", "Fe"]), environments([frame], ["Al", "Fe"]))
    assert not np.allclose(*magnetism([frame, other], ["Al", "Fe"]))


def test_the_floor_is_what_a_potential_without_moments_ends_with():
    learnt, unseen = (labels(n, ["Fe", "FeAl"], [2.2, 1.8], seed) for n, seed in ((160, 1), (200, 2)))
    found = magnetic_states(learnt)
    potential, _ = MmtpFamily(level=6).fit([ignoring_moments(i) for i in learnt], elements=["Al", "Fe"], seed=1)
    said = potential.predict([i.frame.non_magnetic() for i in unseen]).energy_per_atom
    error = np.sqrt(np.mean((said - [i.label.energy / 2 for i in unseen]) ** 2))
    assert found.floor == pytest.approx(error, rel=0.2)
    assert found.mixed
    assert "cannot be learnt without reading moments" in found.meaning


def area(pure: list[float], mixed: list[float]) -> float:
    """Of the receiver operating characteristic."""
    return float(np.mean([(m > p) + 0.5 * (m == p) for m in mixed for p in pure]))


def compared(sets: int, size: int) -> tuple[list[list[MagneticStates]], list[list[MagneticStates]]]:
    """What is found in pure and in mixed sets: with moments, and without."""
    known, unknown = [[], []], [[], []]
    for k in range(2 * sets):
        rng = np.random.default_rng(k)
        mixed, first = k % 2, rng.uniform(1.5, 2.3)
        second = first - rng.uniform(0.2, 1.2) if rng.random() < 0.5 else -first
        crystals = [["Fe"], ["Fe", "FeAl"]][rng.integers(2)]
        strain = rng.choice([0.01, 0.02, 0.04])
        items = labels(size, crystals, [first, second] if mixed else [first], k, strain)
        known[mixed].append(magnetic_states(items))
        unknown[mixed].append(magnetic_states([ignoring_moments(i) for i in items]))
    return known, unknown


def check_told_apart(sets: int, size: int) -> None:
    for pure, mixed in compared(sets, size):
        assert area([s.floor for s in pure], [s.floor for s in mixed]) >= 0.95
        assert np.mean([s.mixed for s in pure]) <= 0.05
        assert np.mean([s.mixed for s in mixed]) >= 0.9


def test_mixed_sets_are_told_from_pure_ones():
    check_told_apart(8, 50)


@pytest.mark.slow
def test_many_mixed_sets_are_told_from_pure_ones():
    check_told_apart(60, 120)


def test_what_one_composition_hides_is_not_spread_over_the_others():
    """One noise for all took 80 meV/atom of FeAl for a function of the geometry, beside 8 of iron."""
    iron, mixed = labels(60, ["Fe"], [2.2], 1), labels(60, ["FeAl"], [2.2, 1.8], 2)
    alone, both = magnetic_states(mixed), magnetic_states([*iron, *mixed])
    assert both.floor == pytest.approx(alone.floor / np.sqrt(2.0), rel=0.02)


def test_few_labels_say_nothing_and_rare_compositions_are_left_out():
    items = labels(FEWEST, ["Fe"], [2.2, -2.2], 1)
    assert magnetic_states(items[:-1]) is None
    assert magnetic_states([*items, *labels(3, ["FeAl"], [2.0], 2)]).labels == FEWEST


def test_labels_of_other_levels_of_theory_are_left_out():
    items = labels(2 * FEWEST, ["Fe"], [2.2], 1)
    other = replace(LEVEL, functional="other")
    shifted = [
        LabeledFrame(i.frame, replace(i.label, level_of_theory=other, energy=i.label.energy + 5.0)) for i in items
    ]
    found = magnetic_states([*items, *shifted[: FEWEST + 5]])
    assert found.labels == 2 * FEWEST
    assert found.floor < 1e-3


def test_it_survives_json_with_the_floor_beside_it():
    found = MagneticStates(40, 0.1, 0.05, 0.03, 80.0)
    assert found.as_dict() | {"floor": pytest.approx(0.04), "mixed": True} == found.as_dict()
    assert not MagneticStates(40, 0.1, 0.05, 0.03, 1.0).mixed  # the moments explain it no better than chance
    assert MagneticStates(40, 0.1, 0.05).mixed
    assert not MagneticStates(40, 0.9, 0.05).mixed  # without moments, as much may be a matter of shape
