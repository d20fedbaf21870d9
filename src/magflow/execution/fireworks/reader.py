"""Reading a campaign's jobs from a LaunchPad; never writes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from magflow.execution.fireworks.launchpad import ABOUT, DAEMONS, about_job, require_known_format
from magflow.execution.fireworks.queue import FIREWORKS_STATES, job_query, state_query
from magflow.execution.states import ALL_JOBS, CategorySummary, JobFilter, JobRecord, JobState

if TYPE_CHECKING:
    from fireworks import LaunchPad

_SILENT = 300.0  # seconds after which a daemon counts as gone
_STATE = {name: state for state, names in FIREWORKS_STATES.items() for name in names}


class LaunchPadReader:
    """Read-only view of the jobs of one campaign on a LaunchPad, in the terms of the local queue."""

    def __init__(self, launchpad: LaunchPad, campaign: str) -> None:
        self.launchpad, self.campaign = launchpad, campaign

    def counts(self) -> dict[JobState, int]:
        """Number of jobs in each state."""
        require_known_format(self.launchpad, self.campaign)
        found: Counter[JobState] = Counter()
        for row in self._grouped({"state": "$state", "cancelled": f"$spec.{ABOUT}.cancelled"}):
            found[_state(row["_id"]["state"], row["_id"].get("cancelled"))] += row["jobs"]
        return {state: found[state] for state in JobState}

    def categories(self) -> dict[str, CategorySummary]:
        """Counts and costs of each category of jobs."""
        fields = {"state": 1, "spec._category": 1, "launches": 1, f"spec.{ABOUT}.cancelled": 1}
        counts: dict[str, Counter[JobState]] = {}
        category_of: dict[int, str] = {}  # by launch
        for firework in self.launchpad.fireworks.find(job_query(self.campaign), fields):
            category, cancelled = firework["spec"]["_category"], firework["spec"].get(ABOUT, {}).get("cancelled")
            counts.setdefault(category, Counter())[_state(firework["state"], cancelled)] += 1
            category_of |= dict.fromkeys(firework.get("launches", [])[-1:], category)
        wall, cpu = dict.fromkeys(counts, 0.0), dict.fromkeys(counts, 0.0)
        for launch in self._costs(sorted(category_of)):
            stored = (launch.get("action") or {}).get("stored_data") or {}
            cost = (stored.get("_exception") or {}).get("_details") or stored
            wall[category_of[launch["launch_id"]]] += cost.get("wall") or 0.0
            cpu[category_of[launch["launch_id"]]] += cost.get("cpu") or 0.0
        return {c: CategorySummary({s: counts[c][s] for s in JobState}, wall[c], cpu[c]) for c in sorted(counts)}

    def _costs(self, launches: list[int]) -> Iterator[dict[str, Any]]:
        """What launches have cost, a thousand at a time."""
        details = ("wall", "cpu", "_exception._details.wall", "_exception._details.cpu")
        fields = {"launch_id": 1, **dict.fromkeys((f"action.stored_data.{name}" for name in details), 1)}
        for start in range(0, len(launches), 1000):
            some = {"launch_id": {"$in": launches[start : start + 1000]}}
            yield from self.launchpad.launches.find(some, fields)

    def jobs(self, which: JobFilter = ALL_JOBS, limit: int | None = None) -> list[JobRecord]:
        """The jobs that `which` describes, in order of submission."""
        query = job_query(self.campaign, which) | state_query(which.states)
        fields = {"fw_id", "name", "state", "created_on", "launches", "archived_launches", "spec._category"}
        wanted = dict.fromkeys([*fields, f"spec.{ABOUT}"], 1)
        # FireWorks numbers the jobs of a workflow from the last to the first
        found = self.launchpad.fireworks.find(query, wanted)
        fireworks = sorted(found, key=lambda f: (_seconds(f["created_on"]), f["fw_id"]))[:limit]
        last = [f["launches"][-1] for f in fireworks if f.get("launches")]
        launches = {d["launch_id"]: d for d in self.launchpad.launches.find({"launch_id": {"$in": last}})}
        return [_record(f, launches.get((f.get("launches") or [None])[-1])) for f in fireworks]

    def running(self) -> list[tuple[JobRecord, float]]:
        """What runs now, each with the seconds since it began."""
        now = time.time()
        jobs = self.jobs(JobFilter(states=(JobState.RUNNING,)))
        return [(job, now - (job.started or now)) for job in jobs]

    def failed(self) -> list[JobRecord]:
        """The failed jobs, with their errors."""
        return self.jobs(JobFilter(states=(JobState.FAILED,)))

    def losses(self) -> int:
        """Number of runs whose worker was lost."""
        lost = {**job_query(self.campaign), f"spec.{ABOUT}.losses": {"$gt": 0}}
        found = self.launchpad.fireworks.find(lost, {f"spec.{ABOUT}.losses": 1})
        return sum(f["spec"][ABOUT]["losses"] for f in found)

    def throughput(self, window: float = 600.0) -> float:
        """Jobs completed per second over the last `window` seconds (or since the first submission, if later)."""
        mine = job_query(self.campaign)
        first = self.launchpad.fireworks.find_one(mine, {"created_on": 1}, sort=[("fw_id", 1)])
        if first is None:
            return 0.0
        now = time.time()
        since = datetime.fromtimestamp(now - window, UTC).isoformat()
        done = self.launchpad.fireworks.count_documents({**mine, "state": "COMPLETED", "updated_on": {"$gte": since}})
        span = min(window, now - (_seconds(first["created_on"]) or now))
        return float(done) / span if span > 0 else 0.0

    def daemons(self) -> list[dict[str, Any]]:
        """Daemons that send pilot jobs for this LaunchPad; one that is silent for five minutes counts as gone."""
        now = time.time()
        found = [
            {"cluster": held["_id"], "host": held["host"], "seconds": round(now - held["seen"], 1)}
            for held in self.launchpad.db[DAEMONS].find({})
        ]
        return [d for d in found if d["seconds"] < _SILENT]

    def _grouped(self, key: dict[str, str]) -> list[dict[str, Any]]:
        pipeline = [{"$match": job_query(self.campaign)}, {"$group": {"_id": key, "jobs": {"$sum": 1}}}]
        return list(self.launchpad.fireworks.aggregate(pipeline))


def _state(name: str, cancelled: Any) -> JobState:
    state = _STATE[name]
    return JobState.CANCELLED if state is JobState.FAILED and cancelled else state


def _record(firework: dict[str, Any], launch: dict[str, Any] | None) -> JobRecord:
    about = about_job(firework)
    state = _state(firework["state"], about.get("cancelled"))
    launch = launch or {}
    stored = (launch.get("action") or {}).get("stored_data") or {}
    failure = stored.get("_exception") or {}
    cost = failure.get("_details") or stored
    error = cost.get("error") or failure.get("_stacktrace")
    ended = state in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)
    return JobRecord(
        uuid=about["uuid"],
        index=about["index"],
        name=firework["name"],
        flow=about["flow"],
        category=firework["spec"]["_category"],
        state=state,
        tries=len(firework.get("launches") or []) + len(firework.get("archived_launches") or []),
        errors=int(state is JobState.FAILED),
        crashes=about.get("crashes", 0),
        submitted=_seconds(firework["created_on"]) or 0.0,
        started=_time(launch, "RUNNING"),
        ended=(_time(launch, "COMPLETED") or _time(launch, "FIZZLED")) if ended else None,
        wall_seconds=cost.get("wall") or 0.0,
        cpu_seconds=cost.get("cpu") or 0.0,
        worker=f"{launch['fworker']['name']} on {launch['host']}" if state is JobState.RUNNING and launch else None,
        directory=stored.get("directory"),
        error=error if state in (JobState.FAILED, JobState.CANCELLED) else None,
        metadata=about["metadata"],
    )


def _time(launch: dict[str, Any], state: str) -> float | None:
    found = [entry["created_on"] for entry in launch.get("state_history") or [] if entry["state"] == state]
    return _seconds(found[-1]) if found else None


def _seconds(moment: str | datetime) -> float | None:
    """Seconds since the epoch; FireWorks keeps times as text in UTC."""
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
