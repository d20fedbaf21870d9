"""Where a campaign stands: from any process, during and after a run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.lock import Holder
from magflow.core.notebook import facts_html
from magflow.core.terms import FailureKind
from magflow.errors import StoreError
from magflow.execution.backend import backend_of, open_reader
from magflow.execution.queue_status import QueueStatus, queue_status
from magflow.execution.states import JobRecord, JobState
from magflow.makers.documents import Purpose
from magflow.makers.roles import Category, Phase, Tag
from magflow.makers.tuning_documents import TuningDoc
from magflow.presentation.formats import plural
from magflow.presentation.quantities import shown
from magflow.select.stopping import StopRules
from magflow.stores import queries
from magflow.stores.tally import Sums, label_tally

SILENT = 120.0
"""Seconds without a sign of life after which people are told; one is due every ten."""


@dataclass(frozen=True)
class CampaignStatus:
    """What `magflow status` shows. Errors are RMSE of the old ensemble on the newest labels that were chosen, and so
    are hard, `domain` those over the domain with their 90 % confidence interval, as far as labels were drawn at random;
    house units. `reliability` is how true the deviations were that had been claimed before a label was judged:
    `typical` (random labels) and `chosen`, each quantity to `coverage` (shares of errors within 1 and 2 deviations),
    `spearman` (rank correlation), RMS `deviation` and `error`, and `labels`.

    `note` is what is to be known of the process that runs it: that it was killed, or is silent. `labels` counts what
    the loop chose; `beside` the usable labels of other purposes by purpose, next to how many of
    them the campaign wants. `core_hours` is the cost of everything. `phonons` is what force constants did to the
    ensemble once the loop had ended: `tuned`, or the `reason` why it is not, weights `tried`, crystals `left_out`, and
    what :meth:`magflow.studies.finetune.result.FinetuneResult.in_short` tells.
    """

    name: str
    state: str
    iteration: int | None
    phase: str | None
    jobs: dict[str, int]
    running: list[dict[str, Any]]
    failed_jobs: list[dict[str, Any]]
    labels: int
    labels_failed: int
    label_budget: int | None
    beside: dict[str, tuple[int, int]]
    failures: dict[str, int]
    errors: dict[str, float]
    targets: dict[str, float]
    train_errors: dict[str, float]
    core_hours: float
    cpu_seconds_per_label: float | None
    seconds_left: float | None
    reason: str | None = None
    explanation: str | None = None
    note: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    queue: QueueStatus | None = None
    domain: dict[str, dict[str, float | None]] = field(default_factory=dict)
    reliability: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    phonons: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether no job has failed, and no whole batch of labels."""
        return not self.failed_jobs and self.reason != "batch-failed"

    def __repr__(self) -> str:
        return f"<CampaignStatus {self.name}: {self.state}, {self.labels} labels{_after(self.reason)}>"

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {
            "state": self.state + _after(self.reason),
            "iteration": self.iteration,
            "labels": f"{self.labels} of {self.label_budget}" if self.label_budget else self.labels,
            "failed labels": self.labels_failed or None,
            "errors": ", ".join(map(shown, self.errors, self.errors.values())),
            "targets": ", ".join(map(shown, self.targets, self.targets.values())),
            "cost": f"{self.core_hours:.3f} core-hours",
        }
        return facts_html(self.name, facts)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def _after(reason: str | None) -> str:
    return f", {reason}" if reason else ""


@dataclass(frozen=True)
class _Tally:
    """The labels of a campaign, counted.

    Parameters
    ----------
    tried
        What all labels of a purpose have cost that were computed or imported.
    done
        How many of each purpose are computed; suspect ones are among them.
    wanted
        How many of each purpose there will be.
    usable
        Labels of the loop that can be learnt from.
    failures
        Kind of failure to the number of labels that have no usable result.
    cpu_seconds
        Mean cost of a label, without those to pre-train on.
    """

    tried: Mapping[Purpose, Sums]
    done: dict[Purpose, int]
    wanted: dict[Purpose, int]
    usable: int
    failures: Counter[str]
    cpu_seconds: float | None


def _tally(directory: CampaignDirectory, budget: int | None) -> _Tally:
    counted = label_tally(directory.documents, directory.id)
    wanted = _wanted(directory, budget)
    if directory.outline.labels:
        wanted |= {Purpose.IMPORTED: counted.done[Purpose.IMPORTED]}
    doubted = queries.usable_among(
        directory.documents, queries.doubted(directory.documents, directory.id), directory.id
    )
    failures = Counter(counted.failures)
    if doubted:
        failures[str(FailureKind.SUSPECT)] += len(doubted)
    computed = [some for purpose, some in counted.tried.items() if purpose is not Purpose.PRETRAINING]
    timed = sum(some.timed for some in computed)
    return _Tally(
        tried=counted.tried,
        done={p: counted.done[p] for p in Purpose},
        wanted=wanted,
        usable=counted.done[Purpose.CAMPAIGN] - len(doubted),
        failures=failures,
        cpu_seconds=sum(some.cpu_seconds for some in computed) / timed if timed else None,
    )


def campaign_status(directory: CampaignDirectory) -> CampaignStatus:
    """Read queue and store; writes nothing."""
    outline, store = directory.outline, directory.documents
    queue = open_reader(directory)
    try:
        counts = queue.counts()
    except StoreError:
        counts = dict.fromkeys(JobState, 0)
        running, failed, standing = [], [], None
    else:
        running, failed, standing = queue.running(), queue.failed(), queue_status(directory, queue)
    shared = standing is not None and standing.shared
    runner = None if shared else backend_of(directory).runner(directory)
    attended = shared or (runner is not None and runner.alive)
    tags = [tag for job, _ in running if (tag := Tag.read(job.metadata, job.name)) is not None]
    rules = _rules(directory)
    tally = _tally(directory, rules.labels)
    history = queries.iterations(store, campaign=directory.id)
    outcome = queries.outcome(store, directory.id)
    unfinished = sum(counts[s] for s in (JobState.WAITING, JobState.READY, JobState.RUNNING))
    newest = max((d for d in history if d.rmse), key=lambda d: d.iteration, default=None)
    at_once = _labels_at_once(standing) if shared else outline.execution.workers
    return CampaignStatus(
        name=outline.name,
        state=_state(counts, unfinished, outcome is not None, shared, attended, begun=runner is not None),
        iteration=tags[0].iteration if tags else history[-1].iteration if history else None,
        phase=min((tag.phase for tag in tags), key=list(Phase).index, default=None),
        jobs={str(s): n for s, n in counts.items()},
        running=[_running(job, seconds, runner) for job, seconds in running] if attended else [],
        failed_jobs=[{"name": j.name, "error": _last_line(j.error)} for j in failed],
        labels=tally.usable,
        labels_failed=sum(tally.failures.values()),
        label_budget=rules.labels,
        beside={str(p): (tally.done[p], n) for p, n in tally.wanted.items() if p is not Purpose.CAMPAIGN},
        failures=dict(tally.failures),
        errors=dict(newest.rmse) if newest else {},
        targets=dict(rules.targets),
        train_errors=dict(history[-1].train_rmse) if history else {},
        core_hours=sum(some.core_hours for some in tally.tried.values())
        + sum(v for d in history for k, v in d.core_hours.items() if k != "label"),
        cpu_seconds_per_label=tally.cpu_seconds,
        seconds_left=None if outcome else _seconds_left(tally.tried, tally.wanted, at_once),
        reason=outcome.reason if outcome and not unfinished else None,
        explanation=outcome.explanation if outcome and not unfinished else None,
        note=None if runner is None else _note(runner, unfinished),
        history=[_row(d) for d in history],
        queue=standing,
        domain=dict(newest.domain) if newest else {},
        reliability=_claims(newest.reliability) if newest else {},
        phonons=_phonons(queries.tuning(store, directory.id)),
    )


def _phonons(found: TuningDoc | None) -> dict[str, Any] | None:
    if found is None:
        return None
    from magflow.studies.finetune.result import FinetuneResult  # arrays, which few campaigns have here

    told = {} if found.result is None else FinetuneResult.from_dict(found.result).in_short()
    facts = {"tuned": found.tuned, "reason": found.reason, "tried": found.tried, "left_out": found.left_out}
    return facts | told


def _claims(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Without the bins, which are for a figure."""
    names = {"coverage": "coverage", "spearman": "spearman", "deviation_rms": "deviation", "error_rms": "error"}
    names["labels"] = "labels"
    return {
        which: {q: {shown: r[name] for name, shown in names.items()} for q, r in of.items()}
        for which, of in found.items()
    }


def _labels_at_once(queue: QueueStatus | None) -> int:
    found = None if queue is None else queue.categories.get(Category.DFT)
    return 1 if found is None else max(1, found.running)


def _state(counts: dict[JobState, int], unfinished: int, ended: bool, shared: bool, attended: bool, begun: bool) -> str:
    """`begun`: somebody has run it, and may have been killed."""
    if attended and counts[JobState.RUNNING]:
        return "running"
    if unfinished:
        idle = "interrupted" if begun or unfinished < sum(counts.values()) else "not started"
        return "queued" if shared else "running" if attended else idle
    if ended:
        return "finished"
    return "failed" if counts[JobState.FAILED] else "empty"


def _running(job: JobRecord, seconds: float, runner: Holder | None) -> dict[str, Any]:
    """One running job; `quiet_seconds` is for how long its processes have used no CPU time, where that is known."""
    told = {} if runner is None else runner.workers.get(job.worker or "", {})
    quiet = told.get("quiet") if told.get("attempt") == job.tries else None
    return {"name": job.name, "seconds": round(seconds, 1), "category": job.category, "quiet_seconds": quiet}


def _note(runner: Holder, unfinished: int) -> str | None:
    """What is to be known of the process that runs the campaign."""
    when = "" if runner.seen is None else datetime.fromtimestamp(runner.seen).strftime(" at %Y-%m-%d %H:%M:%S")
    if not runner.alive:
        return f"{runner} was killed; it was last seen{when}. `magflow run` goes on" if unfinished else None
    silent = time.time() - (runner.seen or time.time())
    if silent < SILENT:
        return None
    return f"{runner} is there but has been silent for {age(silent)}: is it stopped, or its disk gone?"


def _last_line(error: str | None) -> str:
    lines = (error or "").strip().splitlines()
    return lines[-1] if lines else ""


def _rules(directory: CampaignDirectory) -> StopRules:
    """When the loop stops."""
    rules, phonons = directory.outline.stop.rules(), directory.outline.phonons
    return rules if phonons is None else rules.after(directory.phonon_labels, phonons.core_hours or 0.0)


def _wanted(directory: CampaignDirectory, budget: int | None) -> dict[Purpose, int]:
    """How many labels of each purpose the campaign may buy; nothing of the loop's without a budget in labels."""
    wanted = {} if budget is None else {Purpose.CAMPAIGN: budget}
    transfer = directory.outline.transfer
    if directory.outline.phonons is not None:
        wanted |= {Purpose.PHONON: directory.phonon_labels}
    if transfer is not None:
        wanted |= {Purpose.PRETRAINING: transfer.non_magnetic, Purpose.TEST: transfer.test}
    return wanted


def _seconds_left(tried: Mapping[Purpose, Sums], wanted: dict[Purpose, int], workers: int) -> float | None:
    """Labels to come at the mean cost of their kind so far: an upper bound, since targets may be met before."""
    if Purpose.CAMPAIGN not in wanted:
        return None
    hours = 0.0
    for purposes in ((Purpose.PRETRAINING,), (Purpose.CAMPAIGN, Purpose.TEST)):
        left = sum(max(0, wanted.get(p, 0) - tried[p].labels) for p in purposes)
        priced = sum(tried[p].priced for p in purposes)
        if left and not priced:
            return None
        hours += left * sum(tried[p].core_hours for p in purposes) / priced if left else 0.0
    return hours * 3600 / max(1, workers)


def _row(document: Any) -> dict[str, Any]:
    kept = ("iteration", "offered", "selected", "labels_new", "labels_failed", "labels_total", "rmse", "train_rmse")
    return {k: getattr(document, k) for k in kept} | {"core_hours": document.core_hours_total}


def line(status: CampaignStatus) -> str:
    """The status in one line."""
    budget = f"/{status.label_budget}" if status.label_budget else ""
    at = [] if status.iteration is None else [f"iteration {status.iteration}"]
    parts = [*at, *([status.phase] if status.phase else []), f"labels {status.labels}{budget}"]
    if status.labels_failed:
        parts.append(f"{status.labels_failed} failed")
    if status.failed_jobs:
        parts.append(f"{plural(len(status.failed_jobs), 'job')} failed")
    parts += [f"{purpose} {done}/{wanted}" for purpose, (done, wanted) in status.beside.items()]
    of_domain = {q: e["rmse"] for q, e in status.domain.items() if e["rmse"] is not None}
    parts += [shown(q, v) for q, v in (of_domain or status.errors).items()]
    parts.append(f"{status.core_hours:.2f} core-h")
    if (status.seconds_left or 0) >= 1:
        parts.append(f"at most {age(status.seconds_left or 0)} of labels left")
    return "  ".join(parts)


def age(seconds: float) -> str:
    """A duration for a person: ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
