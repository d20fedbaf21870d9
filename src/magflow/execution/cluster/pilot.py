"""The body of a Slurm pilot job: `magflow cluster pilot DIR CATEGORY`.

It takes jobs of one category from the LaunchPad, one after the other, until there are none for a while, too little of
its walltime is left for another one, or magflow was upgraded: ``rlaunch rapidfire`` with an end, a sign of life that
outlasts an outage of the database, and a name that leads back to the Slurm job.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pymongo.errors import PyMongoError

from magflow.core.masking import mask
from magflow.core.release import replaced
from magflow.errors import InputError, MagflowError, StoreError
from magflow.execution.cluster.directory import ClusterDirectory
from magflow.execution.cluster.files import URI_VARIABLE
from magflow.execution.fireworks.launchpad import SETTINGS
from magflow.execution.fireworks.recovery import Loss, end_lost_run, runs
from magflow.makers.roles import Category

if TYPE_CHECKING:
    from fireworks import LaunchPad

_log = logging.getLogger("magflow.pilot")

_AWAY = Loss("the database went away before the job's end could be noted", blamed=False)

_LOOK = 2.0  # seconds between two looks at a LaunchPad that has no work
_LONGEST_PAUSE = 30.0  # seconds between two tries to reach a database that is away
_TOLERATED = 10  # errors of FireWorks itself that a pilot outlives
_STARTING = 60.0  # seconds that may lie between the start of the Slurm job and of this process


class Pilot:
    """Works on one category until its time is up.

    Parameters
    ----------
    cluster
        What it belongs to.
    category
        Of the jobs it takes.
    slurm_job
        The Slurm job it is.
    """

    def __init__(self, cluster: ClusterDirectory, category: Category, slurm_job: int) -> None:
        daemon, bounds = cluster.spec.daemon, cluster.spec.categories[category]
        self.cluster, self.idle_s, self.max_crashes = cluster, daemon.idle_s, daemon.max_crashes
        self.heartbeat_s = min(float(SETTINGS["PING_TIME_SECS"]), daemon.silence_s / 5)
        self.fworker = cluster.fworker(category)
        self.fworker.name = cluster.worker_name(category, slurm_job)
        walltime = cluster.walltime(category)
        spare = min(_STARTING, (walltime - bounds.longest_seconds) / 2)
        self.last_start = time.monotonic() + walltime - bounds.longest_seconds - spare

    def run(self) -> int:
        """Work; returns the number of jobs done."""
        from magflow.execution.cluster.launchpad import InterruptedRunError

        launchpad = self._reach()
        heart = threading.Thread(target=self._beat, args=(launchpad,), daemon=True)
        heart.start()
        done, troubles, idle_since = 0, 0, time.monotonic()
        while time.monotonic() < self.last_start:
            if replaced():  # its modules and those on the disk are no longer of one piece
                _log.info("magflow was upgraded: the end, after %d jobs", done)
                return done
            try:
                if self._one(launchpad):
                    done, idle_since = done + 1, time.monotonic()
                elif time.monotonic() - idle_since >= self.idle_s:
                    _log.info("no work for %.0f s: the end, after %d jobs", self.idle_s, done)
                    return done
                else:
                    time.sleep(min(_LOOK, max(0.1, self.idle_s / 5)))
            except PyMongoError as error:
                _log.warning("the database is away: %s", mask(str(error))[:200])
                launchpad, idle_since = self._reach(launchpad), time.monotonic()
            except InterruptedRunError as error:
                cause = mask(str(error))[:200]
                _log.warning("interrupted: %s", cause)
                loss = _AWAY if error.passing else Loss(f"it was interrupted: {cause}", blamed=True)
                launchpad, idle_since = self._reach(launchpad, loss), time.monotonic()
            except Exception:  # a job that is only half on the LaunchPad, for one: the daemon will see to it
                troubles += 1
                if troubles > _TOLERATED:
                    raise
                _log.exception("a job could not be begun or ended")
                launchpad, idle_since = self._reach(launchpad), time.monotonic()
                time.sleep(_LOOK)
        _log.info("too little time is left for another job: the end, after %d jobs", done)
        return done

    def _one(self, launchpad: LaunchPad) -> bool:
        """Run one job if there is one."""
        from fireworks.core.rocket_launcher import launch_rocket

        if not launchpad.run_exists(self.fworker):
            return False
        return bool(launch_rocket(launchpad, self.fworker, strm_lvl="WARNING"))

    def _reach(self, launchpad: LaunchPad | None = None, loss: Loss = _AWAY) -> LaunchPad:
        """Wait until the database answers; what this worker had in hand is offered again, with `loss` as the reason."""
        from magflow.execution.cluster.launchpad import PilotLaunchPad

        pause = 0.5
        while True:
            try:
                launchpad = launchpad or PilotLaunchPad.at(self.cluster.launchpad)
                if launchpad.uri_mode:  # campaigns are kept on the same server unless told otherwise
                    os.environ.setdefault(URI_VARIABLE, str(launchpad.host))
                for run in runs(launchpad, self.fworker.name):
                    _log.warning("%s", end_lost_run(launchpad, run, loss, self.max_crashes))
                return launchpad
            except (PyMongoError, StoreError) as error:
                _log.warning("the database does not answer: %s", mask(str(error))[:200])
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _beat(self, launchpad: LaunchPad) -> None:
        """Give signs of life for what is running; FireWorks' own give up at the first outage."""
        while True:
            time.sleep(self.heartbeat_s)
            try:
                for run in runs(launchpad, self.fworker.name):
                    launchpad.ping_launch(run.launch_id)
            except PyMongoError as error:
                _log.warning("no sign of life could be given: %s", mask(str(error))[:200])


def main(directory: Path, category: str) -> int:
    """Run a pilot; the exit code says why it could not."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        cluster = ClusterDirectory.existing(directory)
        if category not in cluster.spec.categories:
            there = ", ".join(cluster.spec.categories)
            raise InputError("there is no such category of work", where=str(directory), seen=category, expected=there)
        pilot = Pilot(cluster, Category(category), int(os.environ.get("SLURM_JOB_ID", os.getpid())))
        _log.info("%s on %s", pilot.fworker.name, os.uname().nodename)
        pilot.run()
    except MagflowError as error:
        _log.error("%s", mask(str(error)))
        return error.exit_code
    return 0


def run_and_leave(directory: Path, category: str) -> NoReturn:
    """Be the pilot of this process, and end it without farewell: nothing may linger in threads of libraries."""
    code = main(directory, category)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":  # queue adapters that magflow 0.1 wrote call this module
    run_and_leave(Path(sys.argv[1]), sys.argv[2])
