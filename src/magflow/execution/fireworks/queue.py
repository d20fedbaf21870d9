"""A campaign's jobs on a LaunchPad: one FireWorks workflow per submitted flow, each job in it exactly once.

Every launch rewrites its whole workflow, so a workflow must not grow with the campaign. An iteration is one: what a
job adds joins its workflow only if other jobs of that workflow wait for it
(:class:`~magflow.execution.fireworks.task.CampaignTask`), and everything else is submitted as a workflow of its own.

Specs hold a job's description, references to the outputs it needs and the campaign's directory: neither data nor
the address of a database.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from magflow.campaign.directory import CampaignDirectory
from magflow.errors import CampaignError
from magflow.execution import flows
from magflow.execution.fireworks import workflows
from magflow.execution.fireworks.launchpad import (
    ABOUT,
    SPEC,
    TASK,
    held_and_orphans,
    initialise,
    locked,
    remove_orphans,
    require_known_format,
)
from magflow.execution.payload import encoded
from magflow.execution.states import ALL_JOBS, CancelReason, JobFilter, JobState
from magflow.makers.roles import Category

if TYPE_CHECKING:
    from fireworks import Firework, LaunchPad, Workflow
    from jobflow import Flow, Job

FIREWORKS_STATES: dict[JobState, tuple[str, ...]] = {
    JobState.WAITING: ("WAITING", "PAUSED"),
    JobState.READY: ("READY", "RESERVED"),
    JobState.RUNNING: ("RUNNING",),
    JobState.COMPLETED: ("COMPLETED",),
    JobState.FAILED: ("FIZZLED",),
    JobState.CANCELLED: ("DEFUSED", "ARCHIVED"),
}
"""States of a Firework by the state of a job. A FIZZLED one that bears the mark CANCELLED is just that."""

CANCELLED = f"spec.{ABOUT}.cancelled"
"""Why a job never ran, on its own Firework (FIZZLED)."""

STOPS = f"spec.{ABOUT}.stops"
"""Set if a job returned ``stop_children``."""


class LaunchPadQueue:
    """The queue of one campaign on a LaunchPad.

    Parameters
    ----------
    launchpad
        Connected (:func:`~magflow.execution.fireworks.launchpad.connect`).
    directory
        Of the campaign; compute nodes must see it under the same path.
    """

    def __init__(self, launchpad: LaunchPad, directory: CampaignDirectory) -> None:
        self.launchpad, self.directory = launchpad, directory
        self.campaign = directory.id

    def prepare(self) -> None:
        """Make the database a LaunchPad if it is none.

        Raises
        ------
        CampaignError
            If the campaign is on this LaunchPad already, submitted from another directory.
        """
        initialise(self.launchpad)
        require_known_format(self.launchpad, self.campaign)
        query = {f"spec.{ABOUT}.campaign": self.campaign, f"spec.{ABOUT}.directory": {"$ne": self._path}}
        other = self.launchpad.fireworks.find_one(query, {f"spec.{ABOUT}.directory": 1})
        if other is not None:
            raise CampaignError(
                "this campaign is on the LaunchPad already",
                where=self._path,
                seen=f"submitted from {other['spec'][ABOUT]['directory']}",
                hint="go on in that directory; to run it a second time, change its seed or use another LaunchPad",
            )

    def submit(self, flow: Flow | Job | list[Job], allow_external_references: bool = False) -> int:
        """Add a flow as one workflow; jobs the LaunchPad knows (same uuid and index) are left as they are.

        Returns
        -------
        int
            The number of new jobs.

        Raises
        ------
        InputError
            If the flow refers to jobs that are neither in it nor allowed, or cannot be serialised.
        """
        from jobflow.core.flow import get_flow

        with flows.explained():
            whole = get_flow(flow, allow_external_references=allow_external_references)
        with locked(self.launchpad, f"{self.campaign}/{whole.job_uuids[0]}"):
            mine = {f"spec.{ABOUT}.uuid": {"$in": list(whole.job_uuids)}}
            remove_orphans(self.launchpad, mine, age=0.0)  # under the lock: their submitter is dead
            workflow = self.workflow(whole)
            if workflow is not None:
                self.launchpad.add_wf(workflow)
        return 0 if workflow is None else len(workflow)

    def workflow(self, flow: Flow) -> Workflow | None:
        """The jobs of `flow` that the LaunchPad does not know, as a workflow; None if it knows them all."""
        from fireworks import Workflow

        entries = flows.entries(flow)
        known = self._known([job.uuid for job, _ in entries])
        made: dict[str, list[Firework]] = {}
        for job, parents in entries:
            if (job.uuid, job.index) in known:
                continue
            needs = [p for p in parents if p != job.uuid]
            before = [firework for p in needs for firework in made.get(p, [])]
            made.setdefault(job.uuid, []).append(self._firework(job, flow.uuid, needs, before))
        fireworks = [firework for group in made.values() for firework in group]
        if not fireworks:
            return None
        return Workflow(fireworks, name=flow.name, metadata={ABOUT: {"campaign": self.campaign}})

    def retry(self, which: JobFilter = ALL_JOBS) -> int:
        """Offer failed jobs again, and revive what was cancelled because of them; returns the number of failed jobs.

        Jobs that went on without the failed one are left as they are: what they gave has been used.
        """
        require_known_format(self.launchpad, self.campaign)
        if which.states and JobState.FAILED not in which.states:
            return 0
        query = job_query(self.campaign, which) | state_query((JobState.FAILED,))
        failed = [d["fw_id"] for d in self.launchpad.fireworks.find(query, {"fw_id": 1})]
        for fw_id in failed:
            with workflows.held(self.launchpad, fw_id):
                workflow = self.launchpad.get_wf_by_fw_id_lzyfw(fw_id)
                workflows.write(self.launchpad, workflow, _offered_again(workflow, fw_id))
        return len(failed)

    @property
    def _path(self) -> str:
        return str(self.directory.path.absolute())

    def _known(self, uuids: list[str]) -> set[tuple[str, int]]:
        """Those of `uuids` that a workflow holds, with their indices."""
        held, _ = held_and_orphans(self.launchpad, {f"spec.{ABOUT}.uuid": {"$in": uuids}})
        fields = {f"spec.{ABOUT}.uuid": 1, f"spec.{ABOUT}.index": 1}
        found = self.launchpad.fireworks.find({"fw_id": {"$in": sorted(held)}}, fields)
        return {(d["spec"][ABOUT]["uuid"], d["spec"][ABOUT]["index"]) for d in found}

    def _firework(self, job: Job, flow: str, needs: list[str], parents: list[Firework]) -> Firework:
        from fireworks import Firework
        from fireworks.utilities.fw_serializers import load_object
        from jobflow.core.reference import OnMissing

        category = flows.category(job)
        spec: dict[str, Any] = {
            "_category": category,
            "_queueadapter": self._resources(category),
            "_add_launchpad_and_fw_id": True,
            # A job whose parent failed is run as well: it finds out by itself whether it can do without. With this
            # field present FireWorks does not copy the failed parents into the spec.
            "_allow_fizzled_parents": True,
            "_fizzled_parents": [],
            **{key: value for key, value in (job.config.manager_config or {}).items() if key.startswith("_")},
            ABOUT: {
                "campaign": self.campaign,
                "directory": self._path,
                "uuid": job.uuid,
                "index": job.index,
                "flow": flow,
                "needs": needs,
                "tolerant": job.config.on_missing_references != OnMissing.ERROR,
                "metadata": dict(job.metadata),
                **SPEC.stamp,
            },
        }
        task = load_object({"_fw_name": TASK, "job": encoded(job)})
        return Firework([task], spec=spec, name=job.name, parents=parents)

    def _resources(self, category: str) -> dict[str, Any]:
        """What a queue adapter in reservation mode is told of a job."""
        execution = self.directory.spec.execution
        if category != Category.DFT or execution.cores_per_label is None:
            return {}
        return {"ntasks": execution.cores_per_label}


def job_query(campaign: str, which: JobFilter = ALL_JOBS) -> dict[str, Any]:
    """The filter on Fireworks for jobs of a campaign; without the states."""
    query: dict[str, Any] = {f"spec.{ABOUT}.campaign": campaign}
    if which.category is not None:
        query["spec._category"] = which.category
    if which.name is not None:
        query["name"] = {"$regex": fnmatch.translate(which.name).replace("(?s:", "(?:")}
    if which.uuid is not None:
        query[f"spec.{ABOUT}.uuid"] = {"$regex": f"^{which.uuid}"}
    return query


def state_query(states: tuple[JobState, ...]) -> dict[str, Any]:
    """The filter on Fireworks for jobs in one of `states`; any state if there are none."""
    if not states:
        return {}
    ways: list[dict[str, Any]] = []
    for state in states:
        query: dict[str, Any] = {"state": {"$in": list(FIREWORKS_STATES[state])}}
        if state is JobState.FAILED:
            query[CANCELLED] = {"$exists": False}
        ways.append(query)
        if state is JobState.CANCELLED:
            ways.append({"state": "FIZZLED", CANCELLED: {"$exists": True}})
    return {"$or": ways}


def _offered_again(workflow: Workflow, fw_id: int) -> set[int]:
    """Reset a Firework and those that were cancelled because of it; returns the ids of all that changed."""
    workflow.id_fw[fw_id].spec[ABOUT].pop("crashes", None)  # all its tries are before it again
    changed = workflows.reset(workflow, fw_id)
    for child in workflow.links[fw_id]:
        state = workflow.fw_states[child]
        if state == "FIZZLED" and workflow.id_fw[child].spec[ABOUT].get("cancelled") == str(CancelReason.PARENT):
            changed |= _offered_again(workflow, child)
        elif state == "READY":  # nobody has claimed it since its parent failed: it waits again
            changed |= workflow.refresh(child, changed)
    return changed
