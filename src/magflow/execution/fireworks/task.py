"""What a FireWorks worker does with one job of a campaign."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fireworks import FiretaskBase, FWAction

from magflow.campaign.directory import CampaignDirectory
from magflow.core.files import is_listed
from magflow.errors import MagflowError, StoreUnusableError
from magflow.execution.attempts import cpu_seconds, describe, directory_name
from magflow.execution.directories import JobDirectories
from magflow.execution.fireworks.launchpad import ABOUT, TASK, about_job, described, enforce_settings
from magflow.execution.fireworks.queue import CANCELLED, STOPS, LaunchPadQueue
from magflow.execution.payload import decoded
from magflow.execution.states import CancelReason, Cost
from magflow.stores.address import PATIENCE
from magflow.stores.patience import patiently
from magflow.stores.results import result_file, results_kept_in, sync_results

if TYPE_CHECKING:
    from fireworks import LaunchPad, Workflow
    from jobflow import Flow, Job, Response

T = TypeVar("T")

enforce_settings()  # FireWorks imports this module before it starts to ping

RESULTS = "results"
"""Folder of the campaign's directory for results that the store has not acknowledged; `magflow sync` reads it too."""

RETRIES = 1
"""How often a job is run again after an exception, as on one machine."""


class JobFailedError(Exception):
    """Tells FireWorks why a job failed; `cancelled` if it never ran, because a parent had failed."""

    def __init__(self, error: str, cost: Cost, cancelled: bool = False) -> None:
        super().__init__(error)
        self.error, self.cost, self.cancelled = error, cost, cancelled

    def to_dict(self) -> dict[str, Any]:
        """What FireWorks keeps with the launch."""
        return {"error": self.error, **asdict(self.cost)}


@dataclass(frozen=True)
class Parent:
    """What a job has to know of one that its workflow runs before it."""

    uuid: str
    failed: bool
    """Whether it failed, or was cancelled because a parent of its own had."""
    stops: bool
    """Whether it returned ``stop_children``, or was cancelled because a parent of its own had."""

    @classmethod
    def of(cls, firework: dict[str, Any]) -> Parent:
        """From a document of the LaunchPad."""
        about = about_job(firework)
        stops = about.get("stops", False) or about.get("cancelled") == str(CancelReason.STOPPED)
        return cls(about["uuid"], firework["state"] == "FIZZLED", stops)


@dataclass(frozen=True)
class Position:
    """A job within its workflow: the jobs before it, and whether any job waits for it."""

    parents: tuple[Parent, ...]
    has_children: bool

    @classmethod
    def of(cls, launchpad: LaunchPad, fw_id: int) -> Position:
        """Where the Firework `fw_id` stands now."""
        fields = {f"links.{fw_id}": 1, f"parent_links.{fw_id}": 1}
        workflow = launchpad.workflows.find_one({"nodes": fw_id}, fields)
        before = workflow.get("parent_links", {}).get(str(fw_id), [])
        known = launchpad.fireworks.find({"fw_id": {"$in": before}}, {"state": 1, f"spec.{ABOUT}": 1})
        return cls(tuple(Parent.of(f) for f in known), bool(workflow.get("links", {}).get(str(fw_id))))

    def doom(self, needs: list[str], tolerant: bool) -> CancelReason | None:
        """Why a job that needs the uuids `needs` must not run; a tolerant one survives a failure, not a stop."""
        needed = [p for p in self.parents if p.uuid in needs]
        if any(p.stops for p in needed):
            return CancelReason.STOPPED
        return CancelReason.PARENT if any(p.failed for p in needed) and not tolerant else None


class CampaignTask(FiretaskBase):
    """Runs one job of a campaign: the same rules as on one machine (:mod:`magflow.execution.local.graph`).

    Only what other jobs of the workflow wait for is added to the workflow. An addition, and all that a job without
    children returns - the next iteration, above all - is submitted as a workflow of its own, before this job counts
    as completed: if the worker dies in between, the job runs again and finds it submitted.

    Parameters
    ----------
    job
        The job as JSON text: FireWorks would import and build whatever it finds in a mapping each time it looks at
        the workflow.
    """

    _fw_name = TASK
    required_params = ("job",)

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        """Run the job and say what follows from it."""
        about = about_job({"spec": fw_spec})
        position = self._patiently(lambda: Position.of(self.launchpad, self.fw_id))
        queue = LaunchPadQueue(self.launchpad, _campaign(about["directory"], os.getpid()))
        self._patiently(lambda: self._heed_parents(about, position))
        attempt = _Attempt(queue.directory, decoded(self["job"]), about)
        response, kept = attempt.run(self["job"])
        if response.stop_children:
            self._patiently(lambda: self._mark({STOPS: True}))
        return FWAction(
            stored_data={**asdict(attempt.cost), "directory": kept, "stored_data": response.stored_data},
            detours=self._patiently(lambda: self._extend(queue, response, position)),
            defuse_workflow=response.stop_jobflow,
        )

    def _patiently(self, act: Callable[[], T]) -> T:
        """What `act` returns, which does no harm when done twice, tried again while the LaunchPad is away."""
        return patiently(act, PATIENCE, described(self.launchpad))

    def _heed_parents(self, about: dict[str, Any], position: Position) -> None:
        """Give up if a parent says so whose output is needed."""
        if {"cancelled", "stops"} & set(about):  # from an earlier try
            self.launchpad.fireworks.update_one({"fw_id": self.fw_id}, {"$unset": {CANCELLED: "", STOPS: ""}})
        if reason := position.doom(about["needs"], about["tolerant"]):
            self._mark({CANCELLED: str(reason)})
            raise JobFailedError(str(reason), Cost(), cancelled=True)

    def _mark(self, fields: dict[str, Any]) -> None:
        """What the jobs that come after this one find out by themselves: FireWorks knows no edge that is only order."""
        self.launchpad.fireworks.update_one({"fw_id": self.fw_id}, {"$set": fields})

    def _extend(self, queue: LaunchPadQueue, response: Response[Any], position: Position) -> list[Workflow]:
        """Submit what nobody here waits for; the workflows that the children have to wait for are returned."""
        if response.stop_jobflow:
            return []
        # jobflow has made flows of them all when a job has run.
        flows: list[Flow] = [f for f in (response.replace, response.detour) if f is not None]  # type: ignore[misc]
        alone: list[Flow] = [] if response.addition is None else [response.addition]  # type: ignore[list-item]
        if not position.has_children:
            alone, flows = [*flows, *alone], []
        for flow in alone:
            queue.submit(flow, allow_external_references=True)
        return [made for flow in flows if (made := queue.workflow(flow)) is not None]


class _Attempt:
    """The tries of one job in this launch."""

    def __init__(self, campaign: CampaignDirectory, job: Job, about: dict[str, Any]) -> None:
        self.campaign, self.job, self.about = campaign, job, about
        self.cost = Cost()

    def run(self, text: str) -> tuple[Response[Any], str | None]:
        """Run the job, again if it raises; returns its response and its directory if files were left in it.

        Raises
        ------
        JobFailedError
            If it has failed for good.
        """
        error = ""
        for attempt in range(RETRIES + 1):
            if attempt:
                self.job = decoded(text)  # the first try has resolved its references in place
            began, cpu = time.monotonic(), cpu_seconds()
            try:
                return self._once()
            except StoreUnusableError:  # not the job's fault
                raise
            except MagflowError as failure:
                error = describe(failure)
                break
            except Exception as failure:
                error = describe(failure)
            finally:
                spent = Cost(time.monotonic() - began, cpu_seconds() - cpu)
                self.cost = Cost(self.cost.wall + spent.wall, self.cost.cpu + spent.cpu)
        raise JobFailedError(error, self.cost)

    def _once(self) -> tuple[Response[Any], str | None]:
        from jobflow import CURRENT_JOB

        name = directory_name(self.job.uuid, self.job.index, self.job.name, int(time.time()))
        directory = self.campaign.path.absolute() / "jobs" / name
        directories = JobDirectories(directory.parent, f"{os.uname().nodename}-{os.getpid()}")
        directories.make(directory)
        results = self.campaign.path.absolute() / RESULTS
        results.mkdir(exist_ok=True)
        # an earlier try may have come this far and not been acknowledged: a label that is found is not computed again
        earlier = result_file(results, self.job.uuid, self.job.index)
        if is_listed(earlier):
            sync_results(self.campaign.store, [earlier])
        try:
            with contextlib.chdir(directory), results_kept_in(results):
                response = self.job.run(store=self.campaign.store, job_dir=directory)
        finally:
            CURRENT_JOB.reset()
        kept = directories.leave(directory, self.job.metadata.get("discard_files") is True)
        return response, str(directory) if kept else None


@lru_cache(maxsize=4)
def _campaign(path: str, _process: int) -> CampaignDirectory:
    """The campaign in `path`, opened once per process: a connection does not survive a fork."""
    return CampaignDirectory.existing(Path(path))
