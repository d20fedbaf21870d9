"""A campaign's jobs in jobflow-remote, for sites whose compute nodes cannot reach the database.

Its runner, on a machine that reaches both, sends each job with its inputs to a worker, fetches the output and stores
it. A job sees no store while it runs, so labels of other campaigns are not found, and labels offered again are learnt
from only by the iteration that is added for them. Jobs that a job adds join its flow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from magflow.campaign.directory import CampaignDirectory
from magflow.core.masking import mask
from magflow.errors import InputError, MissingToolError, StoreError
from magflow.execution import graph
from magflow.execution.reader import CategorySummary, summarise
from magflow.execution.remote_run import EXECUTION_COMMAND, WORKERS, route
from magflow.execution.states import ALL_JOBS, JobFilter, JobRecord, JobState
from magflow.makers.roles import Category

if TYPE_CHECKING:
    from jobflow import Flow, Job
    from jobflow_remote.jobs.jobcontroller import JobController

CAMPAIGN = "magflow_campaign"
"""Key of a job's metadata that holds the id of its campaign."""

STATES: dict[JobState, tuple[str, ...]] = {
    JobState.WAITING: ("WAITING", "PAUSED"),
    JobState.READY: ("READY", "CHECKED_OUT", "UPLOADED", "SUBMITTED", "BATCH_SUBMITTED"),
    JobState.RUNNING: ("RUNNING", "BATCH_RUNNING", "RUN_FINISHED", "DOWNLOADED"),
    JobState.COMPLETED: ("COMPLETED",),
    JobState.FAILED: ("FAILED", "REMOTE_ERROR"),
    JobState.CANCELLED: ("STOPPED", "USER_STOPPED"),
}
"""States of jobflow-remote by the state of a job. One that waits for a job that failed is CANCELLED."""

_STATE = {name: state for state, names in STATES.items() for name in names}


def connect(project: str) -> JobController:
    """The database of a project of jobflow-remote.

    Raises
    ------
    MissingToolError
        If jobflow-remote is not installed.
    InputError
        If there is no such project.
    StoreError
        If its database does not answer, or was never set up.
    """
    from importlib.util import find_spec

    if find_spec("jobflow_remote") is None:
        raise MissingToolError("jobflow-remote is not installed", hint="it comes with magflow[remote]")
    from jobflow_remote.config.manager import ConfigError, ConfigManager

    manager = ConfigManager()
    try:
        controller = manager.get_project(project or None).get_job_controller()
        ready = controller.auxiliary.find_one({"next_id": {"$exists": True}})
    except ConfigError as error:
        hint = "`jf project list` shows what there is; JFREMOTE_PROJECTS_FOLDER says where it is looked for"
        raise InputError(
            "this project cannot be used", where=project or "jobflow-remote", seen=error, hint=hint
        ) from error
    except PyMongoError as error:
        raise StoreError("the project's database does not answer", where=project, seen=mask(str(error))) from None
    if ready is None:
        raise StoreError("the project's database is not set up", where=project, hint="run `jf admin reset` once")
    return controller


class RemoteQueue:
    """The queue of one campaign in a project of jobflow-remote.

    Parameters
    ----------
    controller
        From :func:`connect`.
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
            if "magflow.execution.remote_run" not in (worker.execution_cmd or ""):
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

        with graph.explained():
            whole = get_flow(flow, allow_external_references=allow_external_references)
        uuids = list(whole.job_uuids)
        if self.controller.jobs.count_documents({"uuid": {"$in": uuids}}):
            return 0
        workers = [str(c) for c in Category if c in self.controller.project.workers]
        whole.update_metadata({CAMPAIGN: self.campaign, WORKERS: workers})
        route(whole)
        self.controller.add_flow(whole, worker=self.worker, allow_external_references=allow_external_references)
        return len(uuids)

    def retry(self, which: JobFilter = ALL_JOBS) -> int:
        """Offer failed jobs again; what waits for them goes on by itself. Returns the number of failed jobs."""
        wanted = {(j.uuid, j.index) for j in RemoteReader(self.controller, self.campaign).jobs(which)}
        query = _query(self.campaign) | {"state": {"$in": list(STATES[JobState.FAILED])}}
        found = [d for d in self.controller.get_jobs(query, ["uuid", "index", "state", "db_id"])]
        offered = 0
        for state, again in (("FAILED", self.controller.rerun_jobs), ("REMOTE_ERROR", self.controller.retry_jobs)):
            ids = [d["db_id"] for d in found if d["state"] == state and (d["uuid"], d["index"]) in wanted]
            if ids:
                offered += len(set(ids).intersection(again(db_ids=ids, raise_on_error=False)))
        return offered


class RemoteReader:
    """Read-only view of the jobs of one campaign in jobflow-remote, in the terms of the local queue."""

    def __init__(self, controller: JobController, campaign: str) -> None:
        self.controller, self.campaign = controller, campaign

    def counts(self) -> dict[JobState, int]:
        """Number of jobs in each state."""
        counts = Counter(job.state for job in self.jobs())
        return {state: counts[state] for state in JobState}

    def categories(self) -> dict[str, CategorySummary]:
        """Counts and costs of each category of jobs."""
        return summarise(self.jobs())

    def jobs(self, which: JobFilter = ALL_JOBS, limit: int | None = None) -> list[JobRecord]:
        """The jobs that `which` describes, in order of submission."""
        fields = ["uuid", "index", "state", "worker", "error", "run_dir", "parents", "created_on", "start_time"]
        fields += ["end_time", "job.name", "job.metadata", "job.hosts", "job.config.on_missing_references", "db_id"]
        documents = list(self.controller.get_jobs(_query(self.campaign), fields))
        lost = _lost(documents)
        records = [
            _record(d, d["db_id"] in lost) for d in sorted(documents, key=lambda d: (len(d["db_id"]), d["db_id"]))
        ]
        return [record for record in records if which.fits(record)][:limit]

    def running(self) -> list[tuple[JobRecord, float]]:
        """What runs now, each with the seconds since it began."""
        now = datetime.now(UTC).timestamp()
        jobs = self.jobs(JobFilter(states=(JobState.RUNNING,)))
        return [(job, now - (job.started or now)) for job in jobs]

    def failed(self) -> list[JobRecord]:
        """The failed jobs, with their errors."""
        return self.jobs(JobFilter(states=(JobState.FAILED,)))

    def losses(self) -> int:
        """Number of jobs whose run could not be begun or fetched; jobflow-remote does not count earlier ones."""
        return len(list(self.controller.get_jobs(_query(self.campaign) | {"state": "REMOTE_ERROR"}, ["db_id"])))

    def throughput(self, window: float = 600.0) -> float:
        """Jobs completed per second over the last `window` seconds (or since the first submission, if later)."""
        now, jobs = datetime.now(UTC).timestamp(), self.jobs()
        done = sum(j.state is JobState.COMPLETED and (j.ended or 0.0) >= now - window for j in jobs)
        span = min(window, now - min((j.submitted for j in jobs), default=now))
        return done / span if span > 0 else 0.0


def _query(campaign: str) -> dict[str, Any]:
    return {f"job.metadata.{CAMPAIGN}": campaign}


def _places(store: Any) -> dict[str, tuple[str, str]]:
    """Database and collection of each part of a store."""
    parts = {"documents": store.docs_store, **store.additional_stores}
    return {name: (getattr(s, "database", ""), getattr(s, "collection_name", "")) for name, s in parts.items()}


def _shown(places: dict[str, tuple[str, str]]) -> str:
    return ", ".join(f"{name} in {database}.{collection}" for name, (database, collection) in places.items())


def _lost(documents: Iterable[dict[str, Any]]) -> set[str]:
    """Ids of the jobs that wait, directly or not, for one that failed or was stopped, and need its output."""
    documents = list(documents)
    doomed = {d["uuid"] for d in documents if _STATE[d["state"]] in (JobState.FAILED, JobState.CANCELLED)}
    lost: set[str] = set()
    waiting = [d for d in documents if d["state"] == "WAITING" and _needs(d)]
    while found := [d for d in waiting if d["db_id"] not in lost and doomed & set(d["parents"] or [])]:
        lost |= {d["db_id"] for d in found}
        doomed |= {d["uuid"] for d in found}
    return lost


def _needs(document: dict[str, Any]) -> bool:
    return str(document["job"].get("config", {}).get("on_missing_references", "error")).lower() == "error"


def _record(document: dict[str, Any], lost: bool) -> JobRecord:
    job = document["job"]
    state = JobState.CANCELLED if lost else _STATE[document["state"]]
    started, ended = _seconds(document.get("start_time")), _seconds(document.get("end_time"))
    return JobRecord(
        uuid=document["uuid"],
        index=document["index"],
        name=job["name"],
        flow=(job.get("hosts") or [""])[-1],
        category=str(job["metadata"].get("category", Category.LIGHT)),
        state=state,
        tries=int(started is not None),
        errors=int(state is JobState.FAILED),
        crashes=0,
        submitted=_seconds(document["created_on"]) or 0.0,
        started=started,
        ended=ended,
        wall_seconds=ended - started if started and ended else 0.0,
        cpu_seconds=0.0,
        worker=document["worker"] if state is JobState.RUNNING else None,
        directory=document.get("run_dir"),
        error=mask(document["error"]) if document.get("error") else None,
        metadata=job["metadata"],
    )


def _seconds(moment: datetime | None) -> float | None:
    """Seconds since the epoch; the database gives times in UTC."""
    return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
