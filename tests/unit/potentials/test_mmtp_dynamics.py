"""The native loop against the generic one, against ASE, and against what the integrator promises."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from mmtp_models import random_frame, random_potential

from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.dynamics import (
    Integration,
    Limits,
    Motion,
    Pistons,
    Stop,
    at_rest,
    in_ase_time,
    masses,
    piston_mass,
)
from magflow.errors import InputError
from magflow.explore.propagation import PredictionPropagator
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.dynamics import MmtpPropagator
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.native import kernel
from mmtp_iron import iron, iron_ensemble

TIMESTEP = in_ase_time(1.0)
BATHS = 10.0 / in_ase_time(1000.0)


@pytest.fixture(scope="module")
def ensemble():
    return iron_ensemble()


def started(frame, *, friction=0.0, pistons=Pistons.NONE, temperature=300.0, timestep=TIMESTEP, key=5, **limits):
    mass = piston_mass(frame, temperature, in_ase_time(300.0), pistons) if pistons else 0.0
    how = Integration(timestep, friction, temperature, 0.02, pistons, mass, key)
    motion = Motion.start(frame, how, Limits(**limits))
    return replace(motion, velocities=at_rest(motion.velocities, motion.masses))


def cells():
    return [started(iron(k, repeats=1 + k % 3), friction=BATHS, key=2**63 + k) for k in range(5)]


def models(ensemble):
    return [member.model for member in ensemble.members]


def moved(ensemble, motions, steps, **options):
    propagator = MmtpPropagator(models(ensemble), motions, **options)
    propagator.advance(steps)
    return [propagator.observe(k) for k in range(len(motions))]


def raw(ensemble):
    """The same members with the form that is evaluated at both signs of the moments."""
    members = tuple(replace(m, model=replace(m.model, symmetrise=True)) for m in ensemble.members)
    return PotentialEnsemble(members, "mmtp")


class TestAgreement:
    @pytest.mark.parametrize("pistons", list(Pistons))
    @pytest.mark.parametrize("friction", [0.0, BATHS])
    def test_with_the_generic_loop(self, ensemble, friction, pistons):
        motions = [started(iron(k, repeats=1 + k % 2), friction=friction, pistons=pistons, key=k) for k in range(3)]
        generic = PredictionPropagator(ensemble, motions)
        generic.advance(40)
        for k, native in enumerate(moved(ensemble, motions, 40)):
            other = generic.observe(k)
            for name in ("frame.positions", "frame.cell", "velocities", "piston", "heat"):
                mine, theirs = native.motion, other.motion
                for part in name.split("."):
                    mine, theirs = getattr(mine, part), getattr(theirs, part)
                np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)
            for name in ("energy", "forces", "stress", "energy_deviation", "forces_deviation", "conserved"):
                np.testing.assert_allclose(getattr(native, name), getattr(other, name), rtol=0, atol=1e-10)

    def test_with_the_generic_loop_where_both_signs_of_the_moments_are_evaluated(self, ensemble):
        motion = started(iron(1), friction=BATHS)
        generic = PredictionPropagator(raw(ensemble), [motion])
        generic.advance(20)
        (native,) = moved(raw(ensemble), [motion], 20)
        np.testing.assert_allclose(native.motion.frame.positions, generic.observe(0).motion.frame.positions, atol=1e-11)

    @pytest.mark.parametrize("instruction_set", kernel().instruction_sets())
    def test_with_ase(self, ensemble, instruction_set):
        motion = started(iron(3, repeats=2))
        frame = motion.frame
        atoms = Atoms(frame.species, frame.positions, cell=frame.cell, pbc=True, magmoms=frame.magmoms[:, 2])
        atoms.calc = ensemble.calculator()
        atoms.set_velocities(motion.velocities)
        VelocityVerlet(atoms, units.fs).run(100)
        (native,) = moved(ensemble, [motion], 100, instruction_set=instruction_set)
        np.testing.assert_allclose(native.motion.frame.positions, atoms.positions, rtol=0, atol=1e-9)
        np.testing.assert_allclose(native.motion.velocities, atoms.get_velocities(), rtol=0, atol=1e-9)

    def test_deviations_are_calibrated(self, ensemble):
        known = Calibration({"forces": ErrorModel(2.0, 0.1), "energy": ErrorModel(3.0, 0.01)})
        (plain,), (scaled,) = (moved(ensemble, [started(iron(1))], 3, calibration=c) for c in (Calibration(), known))
        assert scaled.forces_deviation == pytest.approx(np.hypot(2 * plain.forces_deviation, np.sqrt(3) * 0.1))
        assert scaled.energy_deviation == pytest.approx(np.hypot(3 * plain.energy_deviation, 0.01))
        said = replace(ensemble, calibration=known).predict([scaled.motion.frame])
        assert scaled.forces_deviation == pytest.approx(said.frame_deviation("forces")[0])

    def test_what_is_noted_and_what_ends_a_run_is_calibrated(self, ensemble):
        known = Calibration({"forces": ErrorModel(2.0, 0.1), "energy": ErrorModel(3.0, 0.01)})
        (seen,) = moved(ensemble, [started(iron(1))], 1, calibration=known)
        for factor, expected in ((0.999, Stop.DEVIATION), (1.001, None)):
            motion = started(iron(1))
            limits = replace(motion.limits, max_deviation=factor * seen.forces_deviation)
            moving = MmtpPropagator(models(ensemble), [replace(motion, limits=limits)], calibration=known)
            moving.record(1)
            moving.advance(1)
            noted = moving.recorded(0)[-1]
            assert noted["forces_deviation"] == pytest.approx(seen.forces_deviation)
            assert noted["energy_deviation"] == pytest.approx(seen.energy_deviation)
            assert moving.stop(0) is expected


class TestIntegrator:
    def test_error_of_the_energy_is_of_second_order(self, ensemble):
        def spread(femtoseconds):
            motion = started(iron(1, repeats=2), timestep=in_ase_time(femtoseconds), temperature=600.0)
            propagator = MmtpPropagator(models(ensemble), [motion])
            energies = []
            for step in range(round(160 / femtoseconds) + 1):
                propagator.advance(step)
                energies.append(propagator.observe(0).conserved)
            return np.std(energies)

        assert spread(4.0) / spread(2.0) == pytest.approx(4.0, rel=0.15)

    @pytest.mark.parametrize("pistons", [Pistons.VOLUME, Pistons.LENGTHS])
    def test_the_extended_energy_is_of_second_order(self, ensemble, pistons):
        def spread(femtoseconds):
            motion = started(iron(1, repeats=2), timestep=in_ase_time(femtoseconds), pistons=pistons)
            propagator = MmtpPropagator(models(ensemble), [motion])
            energies = []
            for step in range(round(160 / femtoseconds) + 1):
                propagator.advance(step)
                energies.append(propagator.observe(0).conserved)
            return np.std(energies)

        assert spread(4.0) / spread(2.0) == pytest.approx(4.0, rel=0.2)

    @pytest.mark.parametrize("pistons", list(Pistons))
    def test_it_runs_backwards(self, ensemble, pistons):
        start = started(iron(2, repeats=2), pistons=pistons)
        (there,) = moved(ensemble, [start], 200)
        back = replace(there.motion, velocities=-there.motion.velocities, piston=-there.motion.piston, step=0)
        (again,) = moved(ensemble, [back], 200)
        assert abs(there.motion.frame.positions - start.frame.positions).max() > 0.05
        np.testing.assert_allclose(again.motion.frame.positions, start.frame.positions, rtol=0, atol=1e-9)
        np.testing.assert_allclose(again.motion.frame.cell, start.frame.cell, rtol=0, atol=1e-9)
        np.testing.assert_allclose(again.motion.velocities, -start.velocities, rtol=0, atol=1e-9)

    def test_momentum_is_conserved(self, ensemble):
        (end,) = moved(ensemble, [started(iron(1, repeats=2))], 200)
        assert abs((masses(end.motion.frame) * end.motion.velocities).sum(axis=0)).max() < 1e-10


class TestIndependence:
    def test_of_the_other_runs_to_the_last_bit(self, ensemble):
        motions = cells()
        together = moved(ensemble, motions, 60)
        for k, motion in enumerate(motions):
            (alone,) = moved(ensemble, [motion], 60)
            np.testing.assert_array_equal(alone.motion.frame.positions, together[k].motion.frame.positions)
            np.testing.assert_array_equal(alone.motion.velocities, together[k].motion.velocities)
            assert alone.energy == together[k].energy

    def test_of_the_species_beside_it_to_the_last_bit(self):
        members = tuple(random_potential(form, n_phi=8, n_psi=2) for form in (Form.EVEN, Form.PAPER))
        unlike = PotentialEnsemble(members, "mmtp")
        motions = [started(random_frame(k, n=1 + k % 4), timestep=in_ase_time(0.05)) for k in range(9)]
        together = moved(unlike, motions, 10)
        for k, motion in enumerate(motions):
            (alone,) = moved(unlike, [motion], 10)
            np.testing.assert_array_equal(alone.forces, together[k].forces)

    def test_of_runs_that_end(self, ensemble):
        motions = cells()
        together = moved(ensemble, motions, 60)
        motions[1] = replace(motions[1], limits=Limits(max_kinetic=0.0))
        stopped = moved(ensemble, motions, 60)
        assert stopped[1].motion.step == 1
        np.testing.assert_array_equal(stopped[0].motion.frame.positions, together[0].motion.frame.positions)

    def test_of_the_skin(self, ensemble):
        hot = started(iron(1, repeats=2), friction=BATHS, temperature=1500.0)
        thin, thick = (moved(ensemble, [hot], 100, skin=skin)[0] for skin in (0.02, 0.8))
        np.testing.assert_allclose(thin.motion.frame.positions, thick.motion.frame.positions, rtol=0, atol=1e-9)

    def test_of_interruptions_to_the_last_bit(self, ensemble):
        hot = started(iron(1, repeats=2), friction=BATHS, pistons=Pistons.VOLUME, temperature=1500.0)
        (straight,) = moved(ensemble, [hot], 120)
        (half,) = moved(ensemble, [hot], 70)
        (resumed,) = moved(ensemble, [half.motion], 120)
        np.testing.assert_array_equal(straight.motion.frame.positions, resumed.motion.frame.positions)
        np.testing.assert_array_equal(straight.motion.piston, resumed.motion.piston)
        assert straight.conserved == pytest.approx(resumed.conserved, abs=1e-12)


class TestStops:
    @pytest.mark.parametrize(
        ("limits", "stop"),
        [
            ({"min_distance": 2.4}, Stop.MIN_DISTANCE),
            ({"max_energy": -1e9}, Stop.ENERGY),
            ({"min_energy": 1e9}, Stop.ENERGY),
            ({"max_kinetic": 1e-6}, Stop.TEMPERATURE),
            ({"max_deviation": 1e-9}, Stop.DEVIATION),
        ],
    )
    def test_each_limit_ends_its_run_alone(self, ensemble, limits, stop):
        frame = iron(1, displacement=0.0)
        motions = [started(frame, temperature=3000.0, **limits), started(frame, temperature=3000.0)]
        propagator = MmtpPropagator(models(ensemble), motions)
        propagator.advance(60)
        assert (propagator.stop(0), propagator.stop(1)) == (stop, None)
        assert propagator.observe(0).motion.step < propagator.observe(1).motion.step == 60

    def test_infinite_velocities(self, ensemble):
        motion = started(iron(1))
        broken = replace(motion, velocities=np.full_like(motion.velocities, np.inf))
        propagator = MmtpPropagator(models(ensemble), [broken, motion])
        propagator.advance(5)
        assert (propagator.stop(0), propagator.stop(1)) == (Stop.NOT_FINITE, None)

    def test_a_retired_run_stays(self, ensemble):
        propagator = MmtpPropagator(models(ensemble), [started(iron(1)), started(iron(2))])
        propagator.advance(3)
        propagator.retire(0)
        propagator.advance(6)
        assert [propagator.observe(k).motion.step for k in (0, 1)] == [3, 6]

    def test_moments_are_needed(self, ensemble):
        with pytest.raises(InputError, match="needs moments"):
            MmtpPropagator(models(ensemble), [started(iron(1).non_magnetic())])

    def test_other_elements(self, ensemble):
        frame = iron(1)
        with pytest.raises(InputError, match="does not know"):
            MmtpPropagator(
                models(ensemble), [started(type(frame)(("Fe", "Co"), frame.cell, frame.positions, frame.magmoms))]
            )


@pytest.mark.parametrize("native", [True, False], ids=["native", "generic"])
def test_other_moments_count_as_heat(ensemble, native):
    motions = [started(iron(1)), started(iron(2))]
    propagator = MmtpPropagator(models(ensemble), motions) if native else PredictionPropagator(ensemble, motions)
    propagator.advance(5)
    before, beside = propagator.observe(0), propagator.observe(1)
    propagator.set_magmoms({0: before.motion.frame.magmoms * 0.5})
    after = propagator.observe(0)
    assert after.energy == pytest.approx(float(ensemble.predict([after.motion.frame]).mean.energy[0]), abs=1e-10)
    assert abs(after.energy - before.energy) > 1e-3
    assert after.conserved == pytest.approx(before.conserved, abs=1e-12)
    assert propagator.observe(1).energy == beside.energy


@pytest.mark.parametrize("form", [PotentialEnsemble, raw])
def test_threads_change_no_bit(ensemble, form):
    members = raw(ensemble) if form is raw else ensemble
    motions = [started(iron(k, repeats=repeats), friction=BATHS, key=k) for k, repeats in enumerate((6, 2))]
    alone, shared = (moved(members, motions, 12, threads=threads) for threads in (1, 3))
    for one, other in zip(alone, shared, strict=True):
        assert np.array_equal(one.motion.frame.positions, other.motion.frame.positions)
        assert np.array_equal(one.forces, other.forces)
        assert np.array_equal(one.stress, other.stress)
        assert (one.energy, one.forces_deviation) == (other.energy, other.forces_deviation)


def test_a_large_cell_is_summed_in_parts(ensemble):
    motion = started(iron(3, repeats=7))
    seen, expected = moved(ensemble, [motion], 0, threads=2)[0], ensemble.predict([motion.frame])
    assert seen.energy == pytest.approx(expected.mean.energy[0], rel=1e-12)
    assert np.abs(seen.forces - expected.mean.forces).max() < 1e-12
    assert np.abs(seen.stress - expected.mean.stress[0]).max() < 1e-13


def test_threads_are_set_for_the_process(ensemble, monkeypatch):
    monkeypatch.setenv("MAGFLOW_MMTP_THREADS", "0")
    with pytest.raises(InputError, match="mmtp_threads"):
        moved(ensemble, [started(iron(0))], 1)


def test_an_interrupt_is_heeded_between_two_steps(ensemble):
    propagator = MmtpPropagator(models(ensemble), [started(iron(1, repeats=2))])
    begin = time.monotonic()
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            propagator.advance(10**9)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - begin < 5.0
    step = propagator.observe(0).motion.step
    (straight,) = moved(ensemble, [started(iron(1, repeats=2))], step + 5)
    propagator.advance(step + 5)
    np.testing.assert_array_equal(propagator.observe(0).motion.frame.positions, straight.motion.frame.positions)
