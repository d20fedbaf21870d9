"""Joint relaxation: known minima, agreement with ASE, honest flags, and what is held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from relax_cases import BOUNDS, cube, distorted
from scipy.optimize import minimize

from magflow.core.prediction import EnsemblePrediction
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.dft.spin_lattice import FE_AL, SpinLatticeModel, calculator
from magflow.errors import InputError
from magflow.explore.health import HealthReason
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.joint import relax, relax_many
from magflow.explore.relaxation.settings import RelaxSettings
from magflow.io.ase_atoms import to_atoms

MODEL = SpinLatticeModel()
TIGHT = RelaxSettings(forces_tolerance=1e-5, magnetic_forces_tolerance=1e-5, stress_tolerance_gpa=1e-4)


class Counted:
    """The model Hamiltonian, counting what it is asked."""

    def __init__(self, spoil=lambda prediction, call: prediction):
        self.calls, self.frames, self.spoil = 0, 0, spoil

    def predict(self, frames):
        self.calls += 1
        self.frames += len(frames)
        return self.spoil(MODEL.predict(frames), self.calls)


def ideal_minimum(species, a, moments):
    """Lattice parameter, moments and energy of the undistorted cell, without any gradient."""

    def energy(x):
        return float(MODEL.predict([cube(species, x[0], x[1:])]).energy[0])

    found = minimize(energy, [a, *moments], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    return found.x[0], found.x[1:], found.fun


class TestKnownMinima:
    @pytest.mark.parametrize(
        ("species", "a", "moments"), [(("Fe", "Fe"), 2.83, (2.2, 2.2)), (("Fe", "Al"), 2.88, (0.7, -0.03))]
    )
    def test_the_same_from_several_distorted_starts(self, species, a, moments):
        a, m, energy = ideal_minimum(species, a, moments)
        starts = [distorted(species, seed, a=a, moments=moments) for seed in range(4)]
        for r in relax_many(starts, MODEL, BOUNDS, TIGHT):
            assert r.converged
            assert r.enthalpy == pytest.approx(energy, abs=1e-7)
            assert r.frame.volume == pytest.approx(a**3, rel=1e-4)
            assert r.frame.magmoms[:, 2] == pytest.approx(m, abs=1e-3)

    def test_reversed_moments_end_at_the_reverse(self):
        start = distorted(("Fe", "Al"), 5, moments=(1.0, -0.1))
        one, other = relax_many([start, start.time_reversed()], MODEL, BOUNDS)
        assert other.frame == one.frame
        assert np.array_equal(other.frame.magmoms, -one.frame.magmoms)
        assert other.evaluations == one.evaluations

    def test_a_target_pressure_is_reached(self):
        r = relax(distorted(("Fe", "Fe"), 1), MODEL, BOUNDS, RelaxSettings(pressure_gpa=20.0))
        end = MODEL.predict([r.frame])
        assert r.converged
        assert -end.stress[0, :3].mean() * EV_PER_A3_IN_GPA == pytest.approx(20.0, abs=0.01)
        assert r.enthalpy == pytest.approx(end.energy[0] + 20.0 / EV_PER_A3_IN_GPA * r.frame.volume)

    def test_sixteen_atoms_take_a_few_dozen_predictions(self):
        r = relax(distorted(("Fe", "Al"), 2, repeats=2, displacement=0.08, strain=0.03), MODEL, BOUNDS)
        assert r.converged
        assert r.evaluations < 60


@pytest.mark.parametrize("seed", range(2))
def test_at_fixed_moments_it_agrees_with_ase(seed):
    frame = distorted(("Fe", "Al"), seed, moments=(1.0, 0.0))
    ours = relax(frame, MODEL, None, replace(TIGHT, held={Held.MOMENTS}))
    atoms = to_atoms(frame)
    atoms.calc = calculator(MODEL)
    optimiser = BFGS(FrechetCellFilter(atoms), logfile=None)
    assert optimiser.run(fmax=1e-4, steps=500)
    assert ours.converged
    assert ours.enthalpy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert np.array_equal(ours.frame.magmoms, frame.magmoms)
    assert ours.evaluations < optimiser.nsteps


class TestHonesty:
    def test_cut_short_it_says_which_quantity_is_left_and_by_how_much(self):
        r = relax(distorted(("Fe", "Al"), 3), MODEL, BOUNDS, RelaxSettings(max_evaluations=4))
        end = MODEL.predict([r.frame])
        left = {u.quantity: u.left for u in r.unmet}
        assert not r.converged
        assert r.evaluations == 4
        assert left["force"] == pytest.approx(np.linalg.norm(end.forces, axis=1).max())
        assert left["stress"] == pytest.approx(np.abs(end.stress).max() * EV_PER_A3_IN_GPA)
        assert left["magnetic force"] == pytest.approx(np.abs(end.magnetic_forces).max())
        assert "eV/A, allowed 0.001" in str(next(u for u in r.unmet if u.quantity == "force"))

    @pytest.mark.parametrize(
        ("name", "quantity"),
        [
            ("forces_tolerance", "force"),
            ("stress_tolerance_gpa", "stress"),
            ("magnetic_forces_tolerance", "magnetic force"),
        ],
    )
    def test_each_tolerance_counts_alone(self, name, quantity):
        loose = {"forces_tolerance": 1e3, "stress_tolerance_gpa": 1e3, "magnetic_forces_tolerance": 1e3}
        settings = RelaxSettings(**loose | {name: 1e-3})
        assert relax(distorted(("Fe", "Al"), 3), MODEL, BOUNDS, settings).converged
        short = relax(distorted(("Fe", "Al"), 3), MODEL, BOUNDS, replace(settings, max_evaluations=1))
        assert not short.converged
        assert [u.quantity for u in short.unmet] == [quantity]

    def test_converged_means_that_a_fresh_prediction_agrees(self):
        r = relax(distorted(("Fe", "Al"), 4), MODEL, BOUNDS)
        end = MODEL.predict([r.frame])
        assert r.converged
        assert np.linalg.norm(end.forces, axis=1).max() <= 1e-3
        assert np.abs(end.stress).max() * EV_PER_A3_IN_GPA <= 0.01
        assert np.abs(end.magnetic_forces).max() <= 1e-3

    def test_a_gradient_that_is_wrong_is_not_converged(self):
        def turned(prediction, call):
            return replace(prediction, forces=-prediction.forces)

        r = relax(distorted(("Fe", "Al"), 3), Counted(turned), BOUNDS, RelaxSettings(held={Held.CELL, Held.MOMENTS}))
        assert not r.converged
        assert r.unmet

    def test_a_moment_at_its_bound_is_flagged(self):
        r = relax(distorted(("Fe", "Fe"), 1), MODEL, {"Fe": (0.0, 1.5)})
        assert r.converged
        assert r.frame.magmoms[:, 2] == pytest.approx([1.5, 1.5], abs=1e-12)
        assert (np.abs(np.array([s.frame.magmoms[:, 2] for s in r.steps])) <= 1.5 + 1e-12).all()
        assert HealthReason.MOMENT_AT_BOUND in r.health

    def test_moments_that_are_all_zero_are_flagged(self):
        """Zero is stationary by symmetry, not a minimum."""
        frame = distorted(("Fe", "Fe"), 1)
        r = relax(frame.replace(magmoms=np.zeros(2)), MODEL, BOUNDS)
        assert not r.frame.magmoms.any()
        assert HealthReason.MOMENTS_ALL_ZERO in r.health
        assert relax(frame, MODEL, BOUNDS).enthalpy < r.enthalpy - 0.1


class TestHealth:
    def test_atoms_that_come_too_close_end_it(self):
        settings = RelaxSettings(pressure_gpa=300.0, min_distance=2.3, max_volume_change=0.9)
        r = relax(distorted(("Fe", "Fe"), 1, displacement=0.02), MODEL, BOUNDS, settings)
        assert not r.converged
        assert r.health[0] == HealthReason.MIN_DISTANCE

    def test_a_cell_that_swells_ends_it(self):
        settings = RelaxSettings(pressure_gpa=-60.0, max_volume_change=0.2)
        r = relax(distorted(("Fe", "Fe"), 1), MODEL, BOUNDS, settings)
        assert not r.converged
        assert HealthReason.VOLUME_CHANGE in r.health

    def test_a_hole_in_the_potential_ends_it(self):
        hole = SpinLatticeModel(FE_AL.scaled("landau4", -1.0))
        r = relax(distorted(("Fe", "Fe"), 1), hole, {"Fe": (0.0, 9.0)}, RelaxSettings(energy_window=0.5))
        assert not r.converged
        assert HealthReason.ENERGY_BLOW_UP in r.health

    def test_an_enthalpy_that_falls_far_under_pressure_is_no_hole(self):
        settings = RelaxSettings(pressure_gpa=100.0, energy_window=0.2, max_volume_change=0.9)
        r = relax(cube(("Fe", "Fe"), 2.83, (2.2, 2.2)), MODEL, BOUNDS, settings)
        assert r.converged and HealthReason.ENERGY_BLOW_UP not in r.health
        assert r.steps[0].enthalpy - r.enthalpy > 2 * 0.2
        assert r.steps[-1].energy > r.steps[0].energy

    def test_a_start_without_an_energy(self):
        def spoiled(prediction, call):
            return replace(prediction, energy=np.full(len(prediction), np.nan))

        r = relax(distorted(("Fe", "Fe"), 1), Counted(spoiled), BOUNDS)
        assert not r.converged
        assert r.health == (HealthReason.NOT_FINITE,)
        assert np.isnan(r.enthalpy)

    def test_a_trial_the_model_refuses_is_stepped_back_from(self):
        def refusing(prediction, call):
            if call == 3:
                raise InputError("two atoms are too close for any potential")
            return prediction

        r = relax(distorted(("Fe", "Fe"), 1), Counted(refusing), BOUNDS)
        assert r.converged


class TestMany:
    def test_one_call_serves_all_and_none_depends_on_the_others(self):
        frames = [distorted(("Fe", "Al"), k, repeats=1 + k % 2) for k in range(4)]
        model = Counted()
        together = relax_many(frames, model, BOUNDS)
        assert model.calls == max(r.evaluations for r in together)
        assert model.frames == sum(r.evaluations for r in together)
        for frame, r in zip(frames, together, strict=True):
            alone = relax(frame, MODEL, BOUNDS)
            assert alone.evaluations == r.evaluations
            assert alone.frame == r.frame

    def test_one_refused_trial_does_not_touch_the_others(self):
        def refusing(prediction, call):
            if call == 3 and len(prediction) > 1:
                raise InputError("two atoms are too close for any potential")
            return prediction

        frames = [distorted(("Fe", "Al"), k) for k in range(3)]
        assert [r.frame for r in relax_many(frames, Counted(refusing), BOUNDS)] == [
            r.frame for r in relax_many(frames, MODEL, BOUNDS)
        ]

    def test_no_frames(self):
        assert relax_many([], MODEL, BOUNDS) == []

    def test_progress_ends_near_one_and_tells_what_is_left(self):
        told = []
        relax_many([distorted(("Fe", "Al"), 0)], MODEL, BOUNDS, progress=lambda done, text: told.append((done, text)))
        assert all(0.0 <= done <= 1.0 for done, _ in told)
        assert told[-1][0] > 0.7
        assert "allowed" in told[0][1]


class NonMagnetic:
    """An ensemble that knows no moments."""

    def predict(self, frames):
        p = MODEL.predict([f.non_magnetic() for f in frames])
        return EnsemblePrediction.from_members([replace(p, magnetic_forces=None)])


class TestModels:
    def test_without_moments_atoms_and_cell_relax(self):
        r = relax(distorted(("Fe", "Al"), 1).non_magnetic(), NonMagnetic(), None)
        assert r.converged
        assert r.frame.magmoms is None
        assert r.steps[-1].residuals.magnetic_forces is None

    def test_moments_a_model_does_not_know_stay(self):
        frame = distorted(("Fe", "Al"), 1)
        assert np.array_equal(relax(frame, NonMagnetic(), None).frame.magmoms, frame.magmoms)
        with pytest.raises(InputError, match="knows no moments"):
            relax(frame, NonMagnetic(), BOUNDS)

    def test_free_moments_need_bounds(self):
        with pytest.raises(InputError, match="no bounds"):
            relax(distorted(("Fe", "Al"), 1), MODEL, None)

    def test_noncollinear_moments_are_refused(self):
        frame = distorted(("Fe", "Al"), 1).replace(magmoms=[[1.0, 0, 0], [0, 0, 0]])
        with pytest.raises(InputError, match="non-collinear"):
            relax(frame, MODEL, BOUNDS)

    def test_what_the_model_refuses_at_the_start_is_an_error(self):
        with pytest.raises(InputError, match="no parameters"):
            relax(cube(("Fe", "Ni"), 2.85, [2.0, 0.6]), MODEL, BOUNDS | {"Ni": (0.0, 1.0)})


@pytest.mark.parametrize(
    ("name", "value"),
    [("forces_tolerance", 0.0), ("stress_tolerance_gpa", -1.0), ("pressure_gpa", np.nan), ("min_distance", 0.0)],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(InputError):
        RelaxSettings(**{name: value})
