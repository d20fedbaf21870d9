"""A campaign's jobs in jobflow-remote, for sites whose compute nodes cannot reach the database.

Its runner, on a machine that reaches both, sends each job with its inputs to a worker, fetches the output and stores
it. A job sees no store while it runs: outputs that it would read there by itself come along with its inputs. Labels of
other campaigns are not found, and labels offered again are learnt from only by the iteration that is added for them.
Jobs that a job adds join its flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magflow.campaign.directory import CampaignDirectory
from magflow.errors import InputError
from magflow.execution import flows
from magflow.execution.payload import PAYLOAD, STAMP
from magflow.execution.remote.reader import CAMPAIGN, STATES, RemoteReader, job_query
from magflow.execution.remote.run import COMMANDS, EXECUTION_COMMAND, WORKERS, route
from magflow.execution.states import ALL_JOBS, JobFilter, JobState
from magflow.makers.roles import Category

if TYPE_CHECKING:
    from jobflow import Flow, Job
    from jobflow_remote.jobs.jobcontroller import JobController


class RemoteQueue:
    """The queue of one campaign in a project of jobflow-remote.

    Parameters
    ----------
    controller
        From :func:`~magflow.execution.remote.project.connect`.
    directory
        Of the campaign.
    worker
        Worker that runs the jobs; those of a category run on a worker of its name, if the project has one.
    """

    def __init__(self, controller: JobController, directory: CampaignDirectory, worker: str) -> None:
        self.controller, self.directory, self.worker = controller, directory, worker
        self.campaign = directory.id

    def require_commands(self) -> None:
        """Refuse a project whose workers run jobs with a command under which a campaign would fail at its first batch.

        Raises
        ------
        InputError
            If there is one.
        """
        for name, worker in self.controller.project.workers.items():
            if not any(command in (worker.execution_cmd or "") for command in COMMANDS):
                raise InputError(
                    "this worker would refuse the jobs that a campaign adds",
                    where=f"worker {name} of project {self.controller.project.name}",
                    seen=f"execution_cmd: {worker.execution_cmd or 'none'}",
                    expected=f"execution_cmd: {EXECUTION_COMMAND}",
                    hint="jobflow-remote's own command does not let a replacement refer to earlier jobs",
                )

    def require_same_store(self) -> None:
        """Refuse a project whose runner stores outputs where the campaign does not look for them.

        Raises
        ------
        InputError
            If it does.
        """
        theirs, ours = self.controller.jobstore, self.directory.store
        theirs.connect()
        places = [_places(store) for store in (theirs, ours)]
        if places[0] != places[1]:
            raise InputError(
                "the project stores outputs elsewhere than the campaign looks for them",
                where=f"jobstore of project {self.controller.project.name}",
                seen=_shown(places[0]),
                expected=f"{_shown(places[1])}, as `store:` of the campaign file says",
                hint="give both the same database and collections",
            )

    def submit(self, flow: Flow | Job | list[Job], allow_external_references: bool = False) -> int:
        """Add a flow, unless its jobs are known.

        Returns
        -------
        int
            The number of new jobs.

        Raises
        ------
        InputError
            If the flow refers to jobs that are neither in it nor allowed.
        """
        from jobflow.core.flow import get_flow

        with flows.explained():
            whole = get_flow(flow, allow_external_references=allow_external_references)
        uuids = list(whole.job_uuids)
        if self.controller.jobs.count_documents({"uuid": {"$in": uuids}}):
            return 0
        workers = [str(c) for c in Category if c in self.controller.project.workers]
        whole.update_metadata({CAMPAIGN: self.campaign, WORKERS: workers, STAMP: PAYLOAD.stamp})
        route(whole)
        # outputs that jobs read by themselves are of jobs outside
        self.controller.add_flow(whole, worker=self.worker, allow_external_references=True)
        return len(uuids)

    def retry(self, which: JobFilter = ALL_JOBS) -> int:
        """Offer failed jobs again; what waits for them goes on by itself. Returns the number of failed jobs."""
        wanted = {(j.uuid, j.index) for j in RemoteReader(self.controller, self.campaign).jobs(which)}
        query = job_query(self.campaign) | {"state": {"$in": list(STATES[JobState.FAILED])}}
        found = [d for d in self.controller.get_jobs(query, ["uuid", "index", "state", "db_id"])]
        offered = 0
        for state, again in (("FAILED", self.controller.rerun_jobs), ("REMOTE_ERROR", self.controller.retry_jobs)):
            ids = [d["db_id"] for d in found if d["state"] == state and (d["uuid"], d["index"]) in wanted]
            if ids:
                offered += len(set(ids).intersection(again(db_ids=ids, raise_on_error=False)))
        return offered


def _places(store: Any) -> dict[str, tuple[str, str]]:
    """Database and collection of each part of a store."""
    parts = {"documents": store.docs_store, **store.additional_stores}
    return {name: (getattr(s, "database", ""), getattr(s, "collection_name", "")) for name, s in parts.items()}


def _shown(places: dict[str, tuple[str, str]]) -> str:
    return ", ".join(f"{name} in {database}.{collection}" for name, (database, collection) in places.items())
