"""The daemon of a cluster: pilot jobs as long as there is work, lost jobs offered again.

It keeps nothing of its own. What it does in a round follows from the LaunchPad and from Slurm alone, so one that was
killed is replaced by starting another.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from magflow.core.files import replace_file
from magflow.core.masking import mask
from magflow.core.release import __version__, replaced
from magflow.errors import MagflowError, StoreError
from magflow.execution.cluster import slurm
from magflow.execution.cluster.directory import ClusterDirectory
from magflow.execution.cluster.slurm import Phase, SlurmJob
from magflow.execution.daemon.lease import Lease
from magflow.execution.daemon.pilots import PilotSender, wanted
from magflow.execution.fireworks.launchpad import SETTINGS, connect, remove_orphans
from magflow.execution.fireworks.recovery import (
    OURS,
    Loss,
    Run,
    end_lost_run,
    finish_half_done,
    release_reservations,
    runs,
)
from magflow.execution.fireworks.workflows import GivenUpError

if TYPE_CHECKING:
    from fireworks import LaunchPad

_log = logging.getLogger("magflow.daemon")

STATE = "daemon.json"
"""File in the cluster's folder that says what the daemon saw in its last round; for people, nobody relies on it."""

_LONGEST_PAUSE = 60.0  # seconds between two tries to reach a database that is away
_MEND_EVERY = 60.0  # seconds between two searches for ends that were only half written down

_INNOCENT = {
    "NODE_FAIL": "its node was lost",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "its Slurm job was preempted",
    "CANCELLED": "its Slurm job was cancelled",
    "REVOKED": "its Slurm job was revoked",
}
"""Ends of a Slurm job that its work cannot be blamed for."""
_GUILTY = {
    "TIMEOUT": "its Slurm job hit its walltime",
    "DEADLINE": "its Slurm job hit its deadline",
    "OUT_OF_MEMORY": "its Slurm job ran out of memory",
    slurm.UNKNOWN: "its Slurm job has vanished",  # nobody knows why: else a job that crashes could do so for ever
}


@dataclass
class Round:
    """What one round saw and did."""

    at: float = field(default_factory=time.time)
    categories: dict[str, dict[str, int]] = field(default_factory=dict)
    sent: int = 0
    offered_again: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


def fate(job: SlurmJob) -> Loss | None:
    """What became of a run on the pilot `job`; None while it may be running."""
    if job.phase is Phase.RUNNING:
        return None
    if job.phase is Phase.PENDING:  # Slurm has put it back into the queue
        return Loss("its Slurm job was requeued", blamed=False)
    if job.state in _INNOCENT:
        return Loss(_INNOCENT[job.state], blamed=False)
    return Loss(_GUILTY.get(job.state, f"its Slurm job ended as {job.state}"), blamed=True)


class Daemon:
    """Rounds over LaunchPad and Slurm until told to stop.

    Parameters
    ----------
    cluster
        What it looks after.
    """

    def __init__(self, cluster: ClusterDirectory) -> None:
        self.cluster, self.settings = cluster, cluster.spec.daemon
        self.senders = [PilotSender(cluster, category) for category in cluster.spec.categories]
        self.lease = Lease(cluster, max(60.0, 4 * self.settings.interval_s))
        self._stop = threading.Event()
        self._mended = 0.0
        self._in_touch_since = 0.0

    def stop(self) -> None:
        """End after the step that is under way; a workflow's lock is waited for no longer."""
        self._stop.set()

    def run(self) -> None:
        """Look after the cluster until :meth:`stop` is called.

        Raises
        ------
        CampaignError
            If another daemon looks after the same LaunchPad.
        """
        import magflow.execution.fireworks.task  # noqa: F401 - now: the files may be those of another version later

        launchpad = self._reach()
        if launchpad is None:
            return
        self.lease.take(launchpad)
        _log.info("looking after %s", self.cluster.path)
        while not self._stop.is_set():
            try:
                self.lease.renew(launchpad)
                done = self.round(launchpad)
            except PyMongoError as error:
                _log.warning("the database is away: %s", mask(str(error))[:300])
                if self._reach(launchpad) is None:
                    break
            else:
                self._note(done)
            self._stop.wait(self.settings.interval_s)
        with suppress(PyMongoError):
            self.lease.give_up(launchpad)
        _log.info("stopped")

    def round(self, launchpad: LaunchPad) -> Round:
        """One look at everything, and what follows from it."""
        done = Round()
        if replaced():
            done.trouble.append(
                f"this daemon is of magflow {__version__}, which is no longer what is installed: restart it"
            )
        for step in (self._end_lost_runs, self._release, self._mend, self._send_pilots):
            try:
                step(launchpad, done)
            except PyMongoError:
                raise
            except GivenUpError:
                break
            except MagflowError as error:  # Slurm does not answer, or a file was edited and is wrong now
                _log.error("%s", error)
                done.trouble.append(str(error))
            except Exception as error:  # the next round may do better; to give up helps nobody
                _log.exception("a step of this round failed")
                done.trouble.append(f"{type(error).__name__}: {error}; the log has more")
        return done

    def _release(self, launchpad: LaunchPad, done: Round) -> None:
        for name in release_reservations(launchpad, self.settings.reservation_s, self._stop.is_set):
            _log.warning("%s was claimed and never started: offered again", name)
            done.offered_again.append(f"{name}: claimed and never started; offered again")

    def _mend(self, launchpad: LaunchPad, done: Round) -> None:
        if time.monotonic() - self._mended < min(_MEND_EVERY, self.settings.silence_s):
            return
        for name in finish_half_done(launchpad, self._stop.is_set):
            _log.warning("%s: what its worker had begun to write down was carried through", name)
            done.offered_again.append(f"{name}: its end was carried through")
        if removed := remove_orphans(launchpad, {"state": {"$ne": "COMPLETED"}, **OURS}):
            _log.warning("%d jobs whose submission was cut short were removed; they are submitted again", removed)
        self._mended = time.monotonic()
        oldest = time.time() - 86400 * self.settings.keep_days
        for path in self.cluster.pilots.glob("*-*.*"):
            with suppress(OSError):
                if path.suffix in (".out", ".error") and path.stat().st_mtime < oldest:
                    path.unlink()

    def _end_lost_runs(self, launchpad: LaunchPad, done: Round) -> None:
        # the LaunchPad before Slurm: a run that is still there once its Slurm job has ended is lost
        found = runs(launchpad)
        numbers = {run.worker: number for run in found if (number := self.cluster.slurm_job(run.worker)) is not None}
        try:
            known = slurm.states(numbers.values())
        except MagflowError as error:  # silence can be judged all the same
            _log.warning("%s", error)
            known = {}
        for run in found:
            number = numbers.get(run.worker)
            loss = fate(known[number]) if number in known else None
            if loss is None:
                loss = self._silent(run, number if number in known else None)
            if loss is None:
                continue
            try:
                verdict = end_lost_run(launchpad, run, loss, self.settings.max_crashes, self._stop.is_set)
            except (ValueError, RuntimeError):  # FireWorks': the job's workflow cannot be read; go on with the others
                _log.exception("%s cannot be offered again", run.name)
                done.trouble.append(f"{run.name} (job {run.fw_id}) cannot be offered again; see the log")
                continue
            if verdict is not None:
                _log.warning("%s", verdict)
                done.offered_again.append(str(verdict))

    def _silent(self, run: Run, pilot: int | None) -> Loss | None:
        """Whether a run must be given up because its worker gives no sign of life; its pilot is ended then.

        Nobody could give a sign while the database was away, so silence counts from its return.
        """
        heartbeat = min(float(SETTINGS["PING_TIME_SECS"]), self.settings.silence_s / 5)
        listening = time.monotonic() - self._in_touch_since
        if run.silence() < self.settings.silence_s or listening < 2 * heartbeat:
            return None
        if pilot is not None:
            slurm.cancel([pilot])
        return Loss(f"no sign of life for {run.silence():.0f} s", blamed=True)

    def _send_pilots(self, launchpad: LaunchPad, done: Round) -> None:
        jobs = slurm.jobs_named(f"{self.cluster.spec.name}-")
        for sender in self.senders:
            sender.learn(launchpad, jobs)
            demand = sender.demand(launchpad, jobs)
            sent = sender.send(wanted(demand, sender.bounds))
            done.sent += sent
            done.categories[str(sender.category)] = asdict(demand) | {"sent": sent}
            if sender.trouble:
                done.trouble.append(f"{sender.category}: {sender.trouble}")

    def _reach(self, launchpad: LaunchPad | None = None) -> LaunchPad | None:
        """The LaunchPad, waited for; None if told to stop."""
        pause = min(1.0, self.settings.interval_s)
        while not self._stop.is_set():
            try:
                launchpad = launchpad or connect(self.cluster.launchpad)
                launchpad.fw_id_assigner.find_one({})
            except (StoreError, PyMongoError) as error:
                said = mask(str(error))[:300]
                self._note(Round(trouble=[said]))
                _log.warning("%s; next try in %.0f s", said, pause)
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._in_touch_since = time.monotonic()
                return launchpad
        return None

    def _note(self, done: Round) -> None:
        """Leave what was seen for `magflow daemon status`."""
        try:
            replace_file(self.cluster.path / STATE, mask(json.dumps(asdict(done), indent=1)).encode())
        except StoreError as error:
            _log.warning("%s", error)


def last_round(cluster: ClusterDirectory) -> dict[str, Any] | None:
    """What the daemon saw in its last round; None if there was none."""
    try:
        content = json.loads((cluster.path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return dict(content) if isinstance(content, dict) else None
