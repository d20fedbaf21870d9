"""Reading a campaign's jobs from jobflow-remote, in the terms of the local queue; never writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from magflow.core.masking import mask
from magflow.execution.states import ALL_JOBS, CategorySummary, JobFilter, JobRecord, JobState, summarise
from magflow.makers.roles import Category

if TYPE_CHECKING:
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
        documents = list(self.controller.get_jobs(job_query(self.campaign), fields))
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
        return len(list(self.controller.get_jobs(job_query(self.campaign) | {"state": "REMOTE_ERROR"}, ["db_id"])))

    def throughput(self, window: float = 600.0) -> float:
        """Jobs completed per second over the last `window` seconds (or since the first submission, if later)."""
        now, jobs = datetime.now(UTC).timestamp(), self.jobs()
        done = sum(j.state is JobState.COMPLETED and (j.ended or 0.0) >= now - window for j in jobs)
        span = min(window, now - min((j.submitted for j in jobs), default=now))
        return done / span if span > 0 else 0.0

    def daemons(self) -> list[dict[str, Any]]:
        """Nobody: the runner of jobflow-remote keeps to itself."""
        return []


def job_query(campaign: str) -> dict[str, Any]:
    """The filter on jobs for those of a campaign."""
    return {f"job.metadata.{CAMPAIGN}": campaign}


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
