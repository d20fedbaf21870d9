"""How many pilot jobs a category needs, and sending them to Slurm."""

from __future__ import annotations

import logging
import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from magflow.core.files import replace_file
from magflow.execution.cluster import slurm
from magflow.execution.cluster.directory import CategorySpec, ClusterDirectory
from magflow.execution.cluster.slurm import Phase, SlurmJob
from magflow.makers.roles import Category

if TYPE_CHECKING:
    from fireworks import LaunchPad

_log = logging.getLogger("magflow.daemon")

_PATIENCE = 3
"""Pilots in a row that may end without having taken a job before fewer are sent."""
_SHORTEST, _LONGEST = 60.0, 3600.0  # seconds that no pilots are sent then


@dataclass(frozen=True)
class Demand:
    """Work of one category and its pilots: jobs ready, jobs that they run, pilot jobs waiting and running."""

    ready: int
    running: int
    pilots_pending: int
    pilots_running: int


def wanted(demand: Demand, bounds: CategorySpec) -> int:
    """Number of pilot jobs to send now: one for each job that could run, within the bounds."""
    useful = min(demand.ready + demand.running, bounds.max_pilots)
    missing = useful - demand.pilots_pending - demand.pilots_running
    return max(0, min(missing, bounds.max_queued - demand.pilots_pending))


class PilotSender:
    """Sends pilot jobs of one category, fewer when they die without having done anything."""

    def __init__(self, cluster: ClusterDirectory, category: Category) -> None:
        self.cluster, self.category = cluster, category
        self.bounds = cluster.spec.categories[category]
        self.trouble = ""
        self._known: set[int] = set()
        self._fruitless = 0
        self._pause = _SHORTEST
        self._not_before = 0.0

    def demand(self, launchpad: LaunchPad, jobs: list[SlurmJob]) -> Demand:
        """Work and pilots now; `jobs` are all waiting and running pilot jobs of the cluster."""
        name = self.cluster.pilot_name(self.category)
        mine = [job for job in jobs if job.name == name]
        self._known |= {job.number for job in mine}
        ready = launchpad.fireworks.count_documents(self.cluster.fworker(self.category).query | {"state": "READY"})
        ours = {"$regex": f"^{name}-[0-9]+$"}  # another cluster may work on the same LaunchPad
        running = launchpad.launches.count_documents({"state": "RUNNING", "fworker.name": ours})
        pending = sum(job.phase is Phase.PENDING for job in mine)
        return Demand(ready, running, pending, len(mine) - pending)

    def send(self, number: int) -> int:
        """Give `number` pilots to Slurm; returns how many it took."""
        if number and time.monotonic() < self._not_before:
            return 0
        for sent in range(number):
            try:
                job = slurm.submit(self._script(), {**os.environ, "SBATCH_NO_REQUEUE": "1"})
            except slurm.SlurmError as error:
                self._hold_back(str(error))
                return sent
            self._known.add(job)
            _log.info("pilot job %d of category %s sent", job, self.category)
        return number

    def learn(self, launchpad: LaunchPad, jobs: list[SlurmJob]) -> None:
        """Look at pilots that have ended: those that died young without having taken a job mean trouble."""
        ended = self._known - {job.number for job in jobs}
        if not ended:
            return
        for number, job in slurm.states(ended).items():
            if job.phase is not Phase.ENDED:  # it was sent after `jobs` was asked for
                continue
            self._known.discard(number)
            if job.state not in ("FAILED", "BOOT_FAIL", "OUT_OF_MEMORY"):
                self._fruitless, self._pause, self.trouble = 0, _SHORTEST, ""
            elif not self._took_a_job(launchpad, number):
                self._fruitless += 1
                if self._fruitless >= _PATIENCE:
                    log = self.cluster.pilots / f"{self.cluster.pilot_name(self.category)}-{number}.out"
                    self._hold_back(f"{self._fruitless} pilot jobs in a row died before they took a job; see {log}")

    def _took_a_job(self, launchpad: LaunchPad, number: int) -> bool:
        name = self.cluster.worker_name(self.category, number)
        return launchpad.launches.find_one({"fworker.name": name}, {"launch_id": 1}) is not None

    def _hold_back(self, why: str) -> None:
        self.trouble = why
        _log.error("category %s: %s; next try in %.0f s", self.category, why, self._pause)
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST)

    def _script(self) -> Path:
        """The script of a pilot job, written anew: its adapter may have been edited."""
        adapter = self.cluster.adapter(self.category)
        adapter["job_name"] = self.cluster.pilot_name(self.category)
        folder = self.cluster.pilots
        with warnings.catch_warnings(record=True) as ignored:
            warnings.simplefilter("always")
            text = adapter.get_script_str(str(folder))
        for warning in ignored:
            _log.warning("queue adapter of category %s: %s", self.category, warning.message)
        script = folder / f"{adapter['job_name']}.sh"
        replace_file(script, text.encode())
        return script
