"""Runs of molecular dynamics: what they note, and how they go on after a kill."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from exact_potentials import ModelPotential, alone, bcc
from magflow.core.dynamics import Limits
from magflow.core.statistics import CellMotion, Statistics
from magflow.errors import InputError
from magflow.explore.health import HealthReason
from magflow.explore.propagation import propagator
from magflow.explore.starting import Conditions
from magflow.properties import runs as machinery
from magflow.properties.base import Work
from magflow.properties.measurement import Moments
from magflow.properties.runs import planned, run, supercell
from magflow.properties.subject import Subject
from mmtp_iron import iron_ensemble

WARM = Conditions(Statistics.NPT, 300.0, cell=CellMotion.LENGTHS)


@pytest.fixture(scope="module")
def native():
    return Subject(iron_ensemble(2), "bcc-Fe", bcc(2.84, moment=2.2), Moments.RELAXED, {"Fe": 3.0})


def plan(subject, steps, conditions=WARM, atoms=16, **how):
    frame = supercell(subject, atoms)
    return planned(subject, frame, [conditions], (1, 2), steps, **{"look_every": 20, "positions": True} | how)


def same(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.records.tobytes() == b.records.tobytes()
        assert a.looks.tobytes() == b.looks.tobytes()
        assert np.array_equal(a.end.velocities, b.end.velocities) and a.reason == b.reason


class TestNotes:
    def test_records_are_what_is_seen(self, native, tmp_path):
        """Each family notes at every step what an observation of it says."""
        for subject in (native, Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.2), Moments.FIXED)):
            asked = plan(subject, 3, atoms=2)
            moving = propagator(subject.ensemble, asked.motions)
            moving.record(1)
            for step in (1, 2, 3):
                moving.advance(step)
                for k in range(2):
                    (noted,), (seen,) = moving.recorded(k), moving.observe(k).record
                    for name in noted.dtype.names:
                        assert noted[name] == pytest.approx(seen[name], rel=1e-9, abs=1e-11), name

    def test_a_track_has_the_observables(self, native, tmp_path):
        subject = replace(native, moments=Moments.FIXED)
        (track, _) = run(subject.ensemble, plan(subject, 40, record_every=2), Work(tmp_path))
        assert track.records["step"].tolist() == list(range(2, 41, 2))
        assert track.looks["step"].tolist() == [0, 20, 40]
        seen = propagator(native.ensemble, [track.end]).observe(0)
        assert track.temperature[-1] == pytest.approx(seen.motion.temperature)
        assert track.stress[-1, :3].mean() == pytest.approx(-seen.pressure)
        assert track.volume[-1] == pytest.approx(seen.motion.frame.volume)
        assert np.array_equal(track.looks["positions"][-1], seen.motion.frame.positions)
        assert track.picoseconds == pytest.approx(0.08)
        assert not track.unstable

    def test_moments_follow_the_atoms(self, native, tmp_path):
        (track, _) = run(native.ensemble, plan(native, 20), Work(tmp_path))
        assert np.abs(native.ensemble.predict([track.end.frame]).mean.magnetic_forces).max() < 2e-3
        assert np.ptp(track.looks["magmoms"][-1]) > 1e-3

    def test_fixed_moments_stay(self, native, tmp_path):
        subject = replace(native, moments=Moments.FIXED)
        (track, _) = run(subject.ensemble, plan(subject, 20), Work(tmp_path))
        assert np.all(track.looks["magmoms"] == 2.2)

    def test_moments_relaxed_once_stay_at_rest_of_the_crystal(self, native, tmp_path):
        subject = replace(native, moments=Moments.RELAXED_ONCE)
        (track, _) = run(subject.ensemble, plan(subject, 20), Work(tmp_path))
        assert np.ptp(track.looks["magmoms"]) < 1e-3
        at_rest = subject.ensemble.predict([track.start.frame]).mean.magnetic_forces
        assert np.abs(at_rest).max() < 2e-3


def _until_killed(subject, asked, path):
    machinery.SAVE_EVERY = 0.0
    real = machinery._Runs._save

    def save(self):
        real(self)
        if self.motions[0].step >= 40:
            (path / "records-0.bin").open("ab").write(b"half a rec")
            os.kill(os.getpid(), signal.SIGKILL)

    machinery._Runs._save = save
    run(subject.ensemble, asked, Work(path))


class TestGoingOn:
    @pytest.mark.parametrize("family", ["native", "any"])
    def test_a_killed_run_ends_as_one_that_was_not(self, native, tmp_path, family):
        any_family = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.2), Moments.RELAXED)
        subject, atoms = (native, 16) if family == "native" else (any_family, 2)
        asked = plan(subject, 90, atoms=atoms)
        whole = run(subject.ensemble, asked, Work(tmp_path / "whole"))
        child = multiprocessing.get_context("fork").Process(
            target=_until_killed, args=(subject, asked, tmp_path / "killed")
        )
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        same(run(subject.ensemble, asked, Work(tmp_path / "killed")), whole)

    def test_a_finished_run_can_be_asked_for_more(self, native, tmp_path):
        whole = run(native.ensemble, plan(native, 80), Work(tmp_path / "whole"))
        run(native.ensemble, plan(native, 40), Work(tmp_path / "parts"))
        same(run(native.ensemble, plan(native, 80), Work(tmp_path / "parts")), whole)

    def test_other_runs_are_refused(self, native, tmp_path):
        run(native.ensemble, plan(native, 20), Work(tmp_path))
        with pytest.raises(InputError, match="holds other runs"):
            run(native.ensemble, plan(native, 20, record_every=2), Work(tmp_path))

    def test_damage_is_told(self, native, tmp_path):
        run(native.ensemble, plan(native, 20), Work(tmp_path))
        (tmp_path / "runs.npz").write_bytes(b"PK nothing")
        with pytest.raises(InputError, match="damaged"):
            run(native.ensemble, plan(native, 20), Work(tmp_path))


def test_an_explosion_is_a_result_and_the_others_go_on(native, tmp_path):
    asked = plan(native, 60)
    hot = replace(asked.motions[0], limits=Limits(max_kinetic=asked.motions[0].kinetic * 0.9))
    tracks = run(native.ensemble, replace(asked, motions=[hot, asked.motions[1]]), Work(tmp_path))
    assert [t.reason for t in tracks] == [HealthReason.TEMPERATURE_EXPLOSION, HealthReason.COMPLETED]
    assert tracks[0].unstable.startswith("unstable at 300 K after 0.0")
    assert np.isfinite(tracks[0].end.frame.positions).all()
    assert tracks[1].records["step"][-1] == 60
    again = run(native.ensemble, replace(asked, motions=[hot, asked.motions[1]]), Work(tmp_path))
    same(again, tracks)


def test_a_supercell_grows_where_it_is_narrow(native):
    assert np.diag(supercell(native, 100).cell) == pytest.approx([4 * 2.84] * 3)
    assert np.diag(supercell(native, 90).cell) == pytest.approx([4 * 2.84, 4 * 2.84, 3 * 2.84])
    assert len(supercell(native, 2)) == 2
