"""Jobs on a LaunchPad whose worker is gone: found, blamed or not, and offered again.

FireWorks' own ``detect_lostruns`` marks a lost run as failed and resets it afterwards; in between, jobs that go on
without a failed one would be offered. Here both happen under the workflow's lock, as one change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from magflow.execution.fireworks import workflows
from magflow.execution.fireworks.launchpad import ABOUT

if TYPE_CHECKING:
    from fireworks import LaunchPad

OURS: Mapping[str, Any] = {f"spec.{ABOUT}.campaign": {"$exists": True}}
"""Jobs of campaigns; a LaunchPad may hold other people's."""


@dataclass(frozen=True)
class Run:
    """A job that the LaunchPad says is running: where, and the last sign of life in seconds since the epoch."""

    fw_id: int
    launch_id: int
    name: str
    category: str
    worker: str
    host: str
    last_sign: float

    def silence(self, now: float | None = None) -> float:
        """Seconds since the last sign of life."""
        return (time.time() if now is None else now) - self.last_sign


@dataclass(frozen=True)
class Loss:
    """Why a run ended without an answer, and whether the job may be to blame."""

    cause: str
    blamed: bool


@dataclass(frozen=True)
class Verdict:
    """What came of a lost run: offered again, or (`quarantined`) recorded as failed after so many `crashes`."""

    run: Run
    loss: Loss
    crashes: int
    quarantined: bool

    def __str__(self) -> str:
        what = f"recorded as failed after {self.crashes} crashes" if self.quarantined else "offered again"
        return f"{self.run.name} (job {self.run.fw_id} on {self.run.worker}): {self.loss.cause}; {what}"


def runs(launchpad: LaunchPad, worker: str | None = None) -> list[Run]:
    """What is running, of every campaign; only the runs of `worker` if given."""
    fields = {"fw_id": 1, "name": 1, "launches": 1, "spec._category": 1}
    fireworks = {f["fw_id"]: f for f in launchpad.fireworks.find({**OURS, "state": "RUNNING"}, fields)}
    last = {f["launches"][-1]: f for f in fireworks.values() if f.get("launches")}
    wanted: dict[str, Any] = {"launch_id": {"$in": sorted(last)}, "state": "RUNNING"}
    if worker is not None:
        wanted["fworker.name"] = worker
    found = launchpad.launches.find(wanted, {"launch_id": 1, "fworker.name": 1, "host": 1, "state_history": 1})
    return [_run(last[launch["launch_id"]], launch) for launch in found]


def end_lost_run(
    launchpad: LaunchPad, run: Run, loss: Loss, max_crashes: int, given_up: Callable[[], bool] = workflows.never
) -> Verdict | None:
    """Offer the job of a lost run again; if it was blamed `max_crashes` times, record it as failed instead.

    Parameters
    ----------
    given_up
        As of :func:`~magflow.execution.fireworks.workflows.held`, here and below.

    Returns
    -------
    Verdict or None
        None if the run has ended by itself in the meantime.
    """
    from fireworks import FWAction

    with workflows.held(launchpad, run.fw_id, given_up):
        workflow = launchpad.get_wf_by_fw_id_lzyfw(run.fw_id)
        firework = workflow.id_fw[run.fw_id]
        about = firework.spec[ABOUT]
        crashes = about.get("crashes", 0) + loss.blamed
        quarantined = crashes >= max_crashes and loss.blamed
        error = f"the worker died {crashes} time(s) while running this job ({loss.cause})"
        stored = {"lost": {"cause": loss.cause, "blamed": loss.blamed, "final": quarantined}, "error": error}
        now = datetime.now(UTC).isoformat()
        ended = {
            "$set": {"state": "FIZZLED", "action": FWAction(stored_data=stored).to_dict(), "time_end": now},
            "$push": {"state_history": {"state": "FIZZLED", "created_on": now, "updated_on": now}},
        }
        current = {"launch_id": run.launch_id, "state": "RUNNING"}
        if launchpad.launches.find_one_and_update(current, ended) is None:
            return None
        about["crashes"], about["losses"], about["last_loss"] = crashes, about.get("losses", 0) + 1, loss.cause
        changed = {run.fw_id} | (
            workflow.refresh(run.fw_id, {run.fw_id}) if quarantined else workflows.reset(workflow, run.fw_id)
        )
        workflows.write(launchpad, workflow, changed)
    return Verdict(run, loss, crashes, quarantined)


def release_reservations(
    launchpad: LaunchPad, older_than: float, given_up: Callable[[], bool] = workflows.never
) -> list[str]:
    """Offer again what was claimed more than `older_than` seconds ago and never started; returns the jobs' names.

    A worker claims a job before it notes that it runs it; one that dies in between leaves it claimed.
    """
    released = []
    for found in list(launchpad.fireworks.find({**OURS, "state": "RESERVED"}, {"fw_id": 1, "updated_on": 1})):
        fw_id = found["fw_id"]
        if time.time() - _seconds(found["updated_on"]) < older_than:
            continue
        with workflows.held(launchpad, fw_id, given_up):
            workflow = launchpad.get_wf_by_fw_id_lzyfw(fw_id)
            if workflow.id_fw[fw_id].state != "RESERVED":
                continue
            unheard = {"fw_id": fw_id, "state": {"$in": ["RUNNING", "RESERVED"]}}
            launchpad.launches.update_many(unheard, {"$set": {"state": "FIZZLED"}})
            workflows.write(launchpad, workflow, workflows.reset(workflow, fw_id))
        released.append(workflow.id_fw[fw_id].name)
    return released


def finish_half_done(launchpad: LaunchPad, given_up: Callable[[], bool] = workflows.never) -> list[str]:
    """Carry through what workers that died had only begun to write down; returns the jobs' names.

    An end is written in three steps - launch, jobs, workflow - and a worker may die between any two, with the
    workflow's lock in its hands: it is waited for, and broken in the end.
    """
    mended = []
    for fw_id in list(_half_done(launchpad, {"state": {"$nin": ["COMPLETED", "ARCHIVED"]}})):
        with workflows.held(launchpad, fw_id, given_up):
            lost = _half_done(launchpad, {"nodes": fw_id}).get(fw_id)
            if lost is None:
                continue  # its worker was alive after all
            # seen as running, FireWorks does once more what follows from its end
            launchpad.fireworks.update_one({"fw_id": fw_id}, {"$set": {"state": "RUNNING"}})
            workflow = launchpad.get_wf_by_fw_id_lzyfw(fw_id)
            changed = workflows.reset(workflow, fw_id) if lost else {fw_id} | workflow.refresh(fw_id)
            workflows.write(launchpad, workflow, changed)
        mended.append(workflow.id_fw[fw_id].name)
    return mended


def _half_done(launchpad: LaunchPad, which: dict[str, Any]) -> dict[int, bool]:
    """Jobs whose launch, or who themselves, have ended although their workflow does not know it.

    Returns
    -------
    dict
        By Firework: whether it is to be offered again, because its worker was lost, or its launch knows no end.
    """
    found = {}
    ours = {f"metadata.{ABOUT}.campaign": {"$exists": True}, **which}
    for workflow in launchpad.workflows.find(ours, {"fw_states": 1}):
        unsettled = [int(i) for i, state in workflow["fw_states"].items() if state in ("READY", "RESERVED", "RUNNING")]
        fireworks = list(
            launchpad.fireworks.find({"fw_id": {"$in": unsettled}}, {"fw_id": 1, "launches": 1, "state": 1})
        )
        last = {f["launches"][-1]: f["fw_id"] for f in fireworks if f["launches"]}
        over = {f["fw_id"] for f in fireworks if f["state"] in ("COMPLETED", "FIZZLED")}
        ended = {"launch_id": {"$in": sorted(last)}, "state": {"$in": ["COMPLETED", "FIZZLED"]}}
        for launch in launchpad.launches.find(ended, {"launch_id": 1, "action.stored_data.lost": 1}):
            lost = ((launch.get("action") or {}).get("stored_data") or {}).get("lost")
            found[last[launch["launch_id"]]] = bool(lost and not lost["final"])
        open_ones = [launch_id for launch_id, fw_id in last.items() if fw_id in over and fw_id not in found]
        for launch in launchpad.launches.find({"launch_id": {"$in": open_ones}, "state": "RUNNING"}, {"launch_id": 1}):
            found[last[launch["launch_id"]]] = True
    return found


def _run(firework: Mapping[str, Any], launch: Mapping[str, Any]) -> Run:
    history = [entry for entry in launch["state_history"] if entry["state"] == "RUNNING"]
    signs = [_seconds(entry.get("updated_on") or entry["created_on"]) for entry in history]
    return Run(
        fw_id=firework["fw_id"],
        launch_id=launch["launch_id"],
        name=firework["name"],
        category=firework["spec"].get("_category", ""),
        worker=launch["fworker"]["name"],
        host=launch["host"],
        last_sign=max(signs, default=0.0),
    )


def _seconds(moment: str | datetime) -> float:
    """Seconds since the epoch of a time as FireWorks keeps it: UTC, as text or not."""
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
