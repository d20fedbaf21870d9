"""MD on the ensemble: statistics, stops, health, and what is offered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from magflow.core.dynamics import Pistons, in_ase_time
from magflow.core.prediction import EnsemblePrediction
from magflow.core.units import EV_PER_A3_IN_GPA, KB
from magflow.explore.candidate import Candidate
from magflow.explore.geometry import nearest_distance
from magflow.explore.md import MdSettings, _motion, run_md

SHORT = MdSettings(steps=40, temperatures_k=(600.0,), snapshot_interval=5)


def starts(prototypes):
    return [Candidate(p.frame, f"perturbation:{p.label}") for p in prototypes]


class TestOffers:
    def test_a_quiet_run_completes_and_offers_snapshots(self, quick, ensemble, moments):
        outcome = run_md(starts(quick), ensemble, SHORT, moments, 1)
        assert outcome.health == {"completed": 3}
        assert Counter(c.source for c in outcome.candidates) == {f"md:{p.label}:600K": 8 for p in quick}
        assert len({c.frame for c in outcome.candidates}) == 24

    def test_moments_are_relaxed_first_and_then_fixed(self, quick, ensemble, moments):
        outcome = run_md(starts(quick), ensemble, SHORT, moments, 1)
        for label, expected in (("bcc-Fe:FM", (2.2, 2.2)), ("bcc-Fe:AFM", (1.6, -1.6)), ("B2-FeAl:FM", (0.7, -0.03))):
            found = np.array([c.frame.magmoms[:, 2] for c in outcome.candidates if label in c.source])
            assert found[0] == pytest.approx(expected, abs=0.1)
            assert (found == found[0]).all()

    def test_moments_stay_as_they_are_if_asked(self, quick, ensemble, moments):
        outcome = run_md(starts(quick), ensemble, SHORT.model_copy(update={"relax_moments": False}), moments, 1)
        assert {tuple(c.frame.magmoms[:, 2]) for c in outcome.candidates if "AFM" in c.source} == {(2.8, -2.8)}

    def test_non_magnetic_runs_stay_without_moments(self, build, bcc_fe, ensemble, moments):
        outcome = run_md(starts(build(bcc_fe(orderings=["NM"]))), ensemble, SHORT, moments, 1)
        assert outcome.candidates
        assert all(c.frame.magmoms is None for c in outcome.candidates)

    def test_supercell(self, quick, ensemble, moments):
        settings = SHORT.model_copy(update={"supercell": (2, 1, 1), "steps": 5})
        outcome = run_md(starts(quick[:1]), ensemble, settings, moments, 1)
        assert len(outcome.candidates[0].frame) == 4

    def test_snapshots_are_bounded_and_spread_over_the_run(self, quick, ensemble, moments):
        settings = SHORT.model_copy(update={"steps": 200, "snapshot_interval": 1, "max_snapshots": 7})
        everything = settings.model_copy(update={"max_snapshots": 1000})
        kept = run_md(starts(quick[:1]), ensemble, settings, moments, 1).candidates
        path = [c.frame for c in run_md(starts(quick[:1]), ensemble, everything, moments, 1).candidates]
        steps = [path.index(c.frame) for c in kept]
        assert len(path) == 200
        assert 5 <= len(kept) <= 7
        assert steps == sorted(steps)
        assert steps[-4:] == [196, 197, 198, 199]
        assert steps[0] == 0
        assert max(np.diff(steps)) <= 128

    def test_seed(self, quick, ensemble, moments):
        a, b, c = (run_md(starts(quick), ensemble, SHORT, moments, seed).candidates for seed in (1, 1, 2))
        assert [x.frame for x in a] == [x.frame for x in b]
        assert not {x.frame for x in a} & {x.frame for x in c}

    def test_a_run_does_not_depend_on_those_beside_it(self, quick, ensemble, moments):
        alone = run_md(starts(quick[:1]), ensemble, SHORT, moments, 1).candidates
        beside = run_md(starts(quick), ensemble, SHORT, moments, 1).candidates
        expected = [c.frame.positions for c in beside if "B2" in c.source]
        assert np.array([c.frame.positions for c in alone]) == pytest.approx(np.array(expected), abs=1e-9)

    def test_a_start_keeps_its_temperature_when_one_before_it_falls_out(self, quick, ensemble, moments):
        class Unrelaxed:
            members = ensemble.members

            def predict(self, frames):
                p = ensemble.predict(frames)
                owner = np.repeat([len(set(f.species)) for f in frames], [len(f) for f in frames])
                pull = np.where(owner[:, None] == 2, np.nan, p.mean.magnetic_forces)
                return EnsemblePrediction(replace(p.mean, magnetic_forces=pull), p.deviation)

        settings = SHORT.model_copy(update={"temperatures_k": (100.0, 200.0, 300.0), "steps": 5})
        found = {c.source for c in run_md(starts(quick), Unrelaxed(), settings, moments, 1).candidates}
        assert found == {"md:bcc-Fe:FM:200K", "md:bcc-Fe:AFM:300K"}

    def test_no_starts(self, ensemble, moments):
        assert run_md([], ensemble, SHORT, moments, 1).candidates == []


def test_a_run_moves_and_ends_as_its_settings_say(quick, ensemble):
    frame = quick[0].frame
    mean = ensemble.predict([frame]).mean
    settings = MdSettings(pressure_gpa=5.0, friction_per_ps=8.0, timestep_fs=1.5, energy_window=2.0, heat_factor=4.0)
    motion = _motion(frame, mean, settings, 600.0, 7)
    how, limits = motion.integration, motion.limits
    assert (how.timestep, how.friction) == pytest.approx((in_ase_time(1.5), 8.0 / in_ase_time(1000.0)))
    assert (how.temperature, how.key, how.pistons) == (600.0, 7, Pistons.VOLUME)
    assert how.pressure == pytest.approx(5.0 / EV_PER_A3_IN_GPA)
    energy = float(mean.energy[0])
    assert (limits.min_energy, limits.max_energy) == pytest.approx((energy - 4.0, energy + 4.0))  # of two atoms
    assert limits.max_kinetic == pytest.approx(1.5 * 2 * KB * 2400.0)
    assert limits.min_distance == pytest.approx(0.6 * nearest_distance(frame))
    assert limits.max_deviation == 0.5
    assert _motion(frame, mean, MdSettings(), 600.0, 7).integration.pistons is Pistons.NONE


class TestStatistics:
    def test_displacements_follow_the_temperature(self, build, bcc_fe, ensemble, moments):
        """In a nearly harmonic crystal <u^2> is proportional to T."""
        (p,) = build(bcc_fe())
        spread = {}
        for temperature in (50.0, 200.0):
            settings = MdSettings(
                steps=600,
                temperatures_k=(temperature,),
                snapshot_interval=5,
                max_snapshots=200,
                forces_deviation_break=99.0,
                friction_per_ps=30.0,
            )
            found = run_md(starts([p]), ensemble, settings, moments, 3).candidates[20:]
            apart = np.array([c.frame.positions[1] - c.frame.positions[0] for c in found])
            spread[temperature] = ((apart - apart.mean(axis=0)) ** 2).sum(axis=1).mean()
        assert 2.0 < spread[200.0] / spread[50.0] < 8.0

    def test_pressure_squeezes_the_cell(self, build, bcc_fe, ensemble, moments):
        (p,) = build(bcc_fe())
        settings = MdSettings(
            steps=600, temperatures_k=(100.0,), pressure_gpa=20.0, forces_deviation_break=99.0, max_snapshots=60
        )
        kept = run_md(starts([p]), ensemble, settings, moments, 1).candidates[20:]
        volume = np.mean([c.frame.volume for c in kept])
        assert volume / p.frame.volume == pytest.approx(1 - 20 / 200, abs=0.03)


class Spoiled:
    """An ensemble whose mean is altered."""

    def __init__(self, ensemble, change):
        self.members, self.ensemble, self.change = ensemble.members, ensemble, change

    def predict(self, frames):
        p = self.ensemble.predict(frames)
        return EnsemblePrediction(replace(p.mean, **self.change(p.mean)), p.deviation)


class TestStops:
    settings = MdSettings(steps=60, temperatures_k=(600.0,), snapshot_interval=5, relax_moments=False)

    def test_deviation(self, quick, ensemble, moments):
        settings = self.settings.model_copy(update={"forces_deviation_break": 0.01, "snapshot_interval": 1})
        outcome = run_md(starts(quick), ensemble, settings, moments, 1)
        assert outcome.health == {"forces-deviation": 3}
        for source in {c.source for c in outcome.candidates}:
            frames = [c.frame for c in outcome.candidates if c.source == source]
            deviations = ensemble.predict(frames).frame_deviation("forces")
            assert deviations[-1] > 0.01
            assert (deviations[:-1] <= 0.01).all()

    def test_grade(self, quick, graded, moments):
        grading = graded(lambda frames: np.array([20.0 if len(set(f.species)) == 2 else 1.0 for f in frames]))
        outcome = run_md(starts(quick), grading, self.settings, moments, 1)
        assert outcome.health == {"completed": 2, "extrapolation-grade": 1}
        assert Counter(c.source for c in outcome.candidates)["md:B2-FeAl:FM:600K"] == 1

    def test_a_family_without_grades_runs_on_its_deviation(self, quick, ungraded_family, moments):
        outcome = run_md(starts(quick), ungraded_family, self.settings, moments, 1)
        assert outcome.health == {"completed": 3}

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda mean: {"forces": np.full_like(mean.forces, np.nan)}, "not-finite"),
            (lambda mean: {"energy": np.full_like(mean.energy, np.inf)}, "not-finite"),
            (lambda mean: {"forces": mean.forces * 0 + [[3e4, 0, 0], [-3e4, 0, 0]]}, "temperature-explosion"),
        ],
    )
    def test_broken_forces(self, quick, ensemble, moments, change, reason):
        outcome = run_md(starts(quick[:1]), Spoiled(ensemble, change), self.settings, moments, 1)
        assert set(outcome.health) <= {reason, "min-distance"}
        assert outcome.candidates == []

    def test_energy_blow_up(self, quick, ensemble, moments):
        drifting = Spoiled(ensemble, lambda mean: {"energy": mean.energy + drifting.calls()})
        counter = iter(range(10_000))
        drifting.calls = lambda: float(next(counter))
        outcome = run_md(starts(quick[:1]), drifting, self.settings, moments, 1)
        assert outcome.health == {"energy-blow-up": 1}

    def test_atoms_too_close(self, quick, ensemble, moments):
        def pull(mean):
            return {"forces": np.array([[2.0, 2.0, 2.0], [-2.0, -2.0, -2.0]])}

        settings = self.settings.model_copy(
            update={"min_distance_factor": 0.8, "energy_window": 99.0, "heat_factor": 1e4, "snapshot_interval": 1}
        )
        outcome = run_md(starts(quick[:1]), Spoiled(ensemble, pull), settings, moments, 1)
        assert outcome.health == {"min-distance": 1}
        shortest = 0.8 * nearest_distance(quick[0].frame)
        assert all(nearest_distance(c.frame) >= shortest for c in outcome.candidates)

    def test_moments_that_do_not_relax_are_counted_and_not_run(self, quick, ensemble, moments):
        bad = Spoiled(ensemble, lambda mean: {"magnetic_forces": np.full_like(mean.magnetic_forces, np.nan)})
        outcome = run_md(starts(quick[:2]), bad, SHORT, moments, 1)
        assert outcome.health == {"moments-not-relaxed": 2, "not-finite": 2}
        assert outcome.candidates == []


@pytest.mark.parametrize(
    "bad",
    [{"temperatures_k": ()}, {"temperatures_k": (-1.0,)}, {"steps": 0}, {"supercell": (0, 1, 1)}, {"temperature": 1}],
)
def test_settings_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValidationError):
        MdSettings.model_validate(bad)
