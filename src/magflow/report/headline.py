"""The first screen: what became of the campaign, what it cost, and what to do with the result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from magflow.makers.documents import IterationDoc
from magflow.presentation.formats import NONE, number, plural
from magflow.presentation.quantities import SHOWN, quantity
from magflow.report.record import CampaignRecord
from magflow.select.stopping import StopReason


@dataclass(frozen=True)
class Verdict:
    """`state` is ``done``, ``short`` (ended before its targets), ``failed`` or ``running``: it decides the colour."""

    state: str
    title: str
    sentence: str


@dataclass(frozen=True)
class Goal:
    """One quantity against its target, in the unit of the quantity; `met` is None without a target or an error.

    `error` is on chosen frames, `domain` over the domain, with its confidence interval: the target is met where the
    one or the upper end of the other is within it.
    """

    title: str
    error: str
    domain: str
    train: str
    target: str
    unit: str
    met: bool | None


_TITLES = {
    StopReason.TARGET_REACHED: "Target reached",
    StopReason.POOL_EXHAUSTED: "Pool exhausted",
    StopReason.LABEL_BUDGET: "Label budget spent",
    StopReason.CORE_HOUR_BUDGET: "Core-hour budget spent",
    StopReason.ITERATIONS: "All iterations done",
    StopReason.BATCH_FAILED: "Stopped: every label of a batch failed",
}


def verdict(record: CampaignRecord) -> Verdict:
    """How the campaign ended, or how far it is."""
    last = record.iterations[-1] if record.iterations else None
    if record.outcome is not None:
        reason, sentence = record.outcome.reason, record.outcome.explanation
    elif last is not None and last.stop is not None:
        reason, sentence = last.stop, last.explanation or ""
    else:
        return _unfinished(record)
    title = next((text for known, text in _TITLES.items() if known == reason), reason)
    sentence = sentence[:1].upper() + sentence[1:].rstrip(".") + "." if sentence else ""
    if reason == StopReason.BATCH_FAILED:
        return Verdict("failed", title, sentence)
    open_ = [g for g in goals(record) if g.target != NONE and not g.met]
    if open_:
        return Verdict("short", title, f"{sentence} Not within target: {', '.join(g.title.lower() for g in open_)}.")
    return Verdict("done", title, sentence)


def _unfinished(record: CampaignRecord) -> Verdict:
    ended = plural(len(record.iterations), "iteration")
    if record.failed_jobs:
        sentence = f"{plural(len(record.failed_jobs), 'job')} failed after {ended}; they are listed under Cost."
        return Verdict("failed", "Interrupted by failed jobs", sentence)
    at = max((d.iteration for d in record.documents()), default=None)
    if at is None:
        return Verdict("running", "Not started", "No job of this campaign has left a document yet.")
    if record.iterations and at == record.iterations[-1].iteration:
        return Verdict("running", "In progress", f"{ended} done. The page shows what is there.")
    selected = sum(len(s.selected) for s in record.selections if s.iteration == at)
    labelled = sum(x.iteration == at for x in record.labels)
    sentence = f"{ended} done; iteration {at} is under way, {labelled} of {selected} selected frames are labelled."
    return Verdict("running", "In progress", sentence)


def last_assessed(record: CampaignRecord) -> IterationDoc | None:
    """The last iteration whose labels an ensemble was held against."""
    return next((d for d in reversed(record.iterations) if d.rmse), None)


def _final_errors(record: CampaignRecord) -> Mapping[str, float]:
    last = last_assessed(record)
    if last is not None:
        return last.rmse
    return {} if record.outcome is None else record.outcome.rmse


def goals(record: CampaignRecord) -> list[Goal]:
    """The last errors against the targets; a target nobody measured stays in the table, open."""
    errors = _final_errors(record)
    last = last_assessed(record)
    domain = {} if last is None else last.domain
    train = record.iterations[-1].train_rmse if record.iterations else {}
    names = [q.name for q in SHOWN if q.name in errors or q.name in record.targets]
    names += sorted((set(errors) | set(record.targets)) - set(names))
    rows = []
    for name in names:
        q, error, target = quantity(name), errors.get(name), record.targets.get(name)
        found = domain.get(name, {})
        best = min((e for e in (error, found.get("high")) if e is not None), default=None)
        met = None if best is None or target is None else best <= target
        values = (error, train.get(name), target)
        shown = [number(None if x is None else x * q.factor) for x in values]
        rows.append(Goal(q.title, shown[0], _with_interval(found, q.factor), shown[1], shown[2], q.unit, met))
    return rows


def _with_interval(found: Mapping[str, float | None], factor: float) -> str:
    error, low, high = (found.get(name) for name in ("rmse", "low", "high"))
    if error is None:
        return NONE
    interval = "" if low is None or high is None else f" ({number(low * factor)} to {number(high * factor)})"
    return f"{number(error * factor)}{interval}"


def core_hours(record: CampaignRecord) -> float:
    """All phases so far: what the assessed iterations took, the labels made since, and those beside the loop."""
    last = record.iterations[-1] if record.iterations else None
    after = -1 if last is None else last.iteration
    known = 0.0 if last is None else last.core_hours_total
    after_it = sum(x.core_hours for x in record.labels if x.iteration > after)
    return known + after_it + sum(x.core_hours for x in record.beside)


def commands(record: CampaignRecord) -> list[tuple[str, str]]:
    """What to type to take the potential out and to use it."""
    if not record.models:
        return []
    if record.ensemble is not None:
        ensemble = shlex.quote(record.ensemble)
        return [
            ("What the ensemble says of the material", f"magflow validate {ensemble} --quick"),
            (
                "Its predictions for frames that have a magmoms column",
                f"magflow predict {ensemble} frames.extxyz -o predicted.extxyz",
            ),
        ]
    directory = shlex.quote(record.directory)
    return [
        ("Take the ensemble out of the campaign", f"magflow export {directory} --models -o ensemble"),
        ("Predict frames that have a magmoms column", "magflow predict ensemble frames.extxyz -o predicted.extxyz"),
    ]


def facts(record: CampaignRecord) -> list[tuple[str, str, str]]:
    """Figures of the first screen: value, what it is, a remark."""
    reused = sum(x.reused for x in record.usable)
    failed = len(record.failed)
    remarks = [plural(failed, "failed", "failed")] + ([f"{reused} reused"] if reused else [])
    offered = sum(s.offered for s in record.selections)
    hours = core_hours(record)
    cost = number(hours * 60, 3) if hours < 0.5 else number(hours)
    final = [m for m in record.models if m.iteration == record.models[-1].iteration] if record.models else []
    family = f"{final[0].family}, {final[0].n_labels} labels" if final else "none trained yet"
    return [
        (str(len(record.usable)), "usable labels", ", ".join(remarks)),
        (cost, "core-minutes" if hours < 0.5 else "core-hours", "all phases"),
        (str(len(record.iterations)), "iterations", f"{plural(offered, 'frame')} offered"),
        (str(len(final)), "models in the ensemble", family),
    ]
