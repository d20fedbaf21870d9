"""The tables of the page from a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from magflow.execution.states import JobState
from magflow.makers.documents import LabelDoc, Purpose
from magflow.presentation.blocks import Table
from magflow.presentation.formats import number, seconds, without_ones
from magflow.presentation.quantities import SHOWN
from magflow.report.record import CampaignRecord
from magflow.report.sections import cost_unit, reduced_formula, stratum
from magflow.select.assessment import Assessment
from magflow.select.reasons import Reason

APART = 3.0
"""eV/atom between a label and the median of its composition beyond which it is rather wrong than strained."""

MAX_FAILED = 300
"""Failed labels listed one by one; `magflow query` lists all of them."""


def iterations(record: CampaignRecord) -> Table:
    """One row per iteration: counts, errors of the old ensemble on the new labels, verdict, cost."""
    shown = [q for q in SHOWN if any(q.name in d.rmse for d in record.iterations)]
    heads = ["Iteration", "Offered", "Selected", "Labels", "Failed", "Labels so far"]
    unit, factor = cost_unit(record)
    heads += [f"{q.title} ({q.unit})" for q in shown] + ["Within targets", "In a row", unit.capitalize()]
    rows = []
    for d in record.iterations:
        errors = [number(d.rmse[q.name] * q.factor) if q.name in d.rmse else "–" for q in shown]
        within = "–" if not d.rmse or not record.targets else "yes" if d.within_target else "no"
        counts = [d.iteration, d.offered, d.selected, d.labels_new, d.labels_failed, d.labels_total]
        rows.append([*counts, *errors, within, d.streak, number(sum(d.core_hours.values()) * factor)])
    return Table(heads, rows, frozenset(range(len(heads))) - {6 + len(shown)})


def strata_errors(record: CampaignRecord) -> Table:
    """RMSE of the last assessment by composition and magnetic state."""
    found = next((d.assessment for d in reversed(record.iterations) if d.assessment), None)
    if found is None:
        return Table([], [])
    assessment = Assessment.from_dict(found)
    rows = []
    for name, errors in sorted(assessment.strata.items()):
        cells = [number(errors[q.name].rmse * q.factor) if q.name in errors else "–" for q in SHOWN]
        rows.append([without_ones(name), max((e.frames for e in errors.values()), default=0), *cells])
    heads = ["Composition and state", "New labels", *(f"{q.title} ({q.unit})" for q in SHOWN)]
    return Table(heads, rows, frozenset(range(1, len(heads))))


def strata(record: CampaignRecord) -> Table:
    """Selected frames by composition and magnetic state (rows) and iteration."""
    names = list(dict.fromkeys(s for d in record.selections for s in d.strata))
    total = {n: sum(d.strata.get(n, 0) for d in record.selections) for n in names}
    heads = ["Composition and state", *(f"it. {d.iteration}" for d in record.selections), "All"]
    rows = [
        [without_ones(n), *(d.strata.get(n, 0) for d in record.selections), total[n]]
        for n in sorted(names, key=lambda n: (-total[n], n))
    ]
    return Table(heads, rows, frozenset(range(1, len(heads))))


def reasons(record: CampaignRecord) -> Table:
    """Frames offered by reason (rows) and iteration."""
    names = {r for d in record.selections for r, n in d.reasons.items() if n}
    total = {n: sum(d.reasons.get(n, 0) for d in record.selections) for n in names}
    heads = ["Reason", *(f"it. {d.iteration}" for d in record.selections), "All", "Meaning"]
    order = sorted(names, key=lambda n: (not n.startswith("selected"), -total[n], n))
    rows = [[n, *(d.reasons.get(n, 0) for d in record.selections), total[n], _meaning(n)] for n in order]
    return Table(heads, rows, frozenset(range(1, len(heads) - 1)))


def _meaning(reason: str) -> str:
    """Nothing for one of another release."""
    return Reason(reason).meaning if reason in set(Reason) else ""


def sources(record: CampaignRecord) -> Table:
    """Where frames came from: offered, selected, labelled, failed."""
    offered: Counter[str] = Counter()
    for document in record.candidates:
        offered.update(document.sources)
    selected = Counter(s for d in record.selections for s in d.sources)
    usable = Counter(x.source for x in record.usable)
    failed = Counter(x.source for x in record.failed)
    names = sorted(set(offered) | set(selected) | set(usable) | set(failed))
    rows = [[n, offered[n], selected[n], usable[n], failed[n]] for n in names]
    return Table(["Source", "Offered", "Selected", "Usable labels", "Failed"], rows, frozenset(range(1, 5)))


def health(record: CampaignRecord) -> Table:
    """What the health checks of the exploration met."""
    met: Counter[str] = Counter()
    for document in record.candidates:
        met.update(document.health)
    return Table(["Health check", "Times"], [[k, v] for k, v in sorted(met.items()) if v], frozenset({1}))


def trust(record: CampaignRecord) -> Table:
    """Trust levels by iteration, in the unit a person reads."""
    shown = [q for q in SHOWN if any(q.name in d.trust for d in record.selections)]
    rows = []
    for d in record.selections:
        cells = []
        for q in shown:
            levels = d.trust.get(q.name)
            cells.append("–" if levels is None else " to ".join(number(x * q.factor) for x in levels))
        rows.append([d.iteration, *cells])
    heads = ["Iteration", *(f"{q.title} ({q.unit})" for q in shown)]
    return Table(heads, rows if shown else [], frozenset(range(len(heads))))


def failures(record: CampaignRecord) -> Table:
    """Failed labels by kind, with one message of each kind."""
    rows = []
    kinds = Counter(x.failure or "unknown" for x in record.failed)
    for kind, count in kinds.most_common():
        group = [x for x in record.failed if (x.failure or "unknown") == kind]
        common = Counter(stratum(x.formula, x.ordering) for x in group).most_common(4)
        where = ", ".join(f"{s} ({n})" for s, n in common)
        message = Counter(x.message or "no message" for x in group).most_common(1)[0][0]
        rows.append([kind, count, where, seconds(sum(x.cpu_seconds for x in group)), message])
    return Table(["Kind", "Labels", "Where", "CPU time lost", "Most frequent message"], rows, frozenset({1, 3}))


def failed_labels(record: CampaignRecord) -> Table:
    """The newest failed labels."""
    rows = [
        [x.iteration, x.label_id, stratum(x.formula, x.ordering), x.failure, x.attempts, x.message or ""]
        for x in record.failed[-MAX_FAILED:]
    ]
    return Table(["Iteration", "Label", "Frame", "Kind", "Attempts", "Message"], rows, frozenset({0, 4}))


def apart(record: CampaignRecord) -> Table:
    """Usable labels, those beside the loop too, whose energy lies far from the others of their composition."""
    groups: dict[str, list[LabelDoc]] = {}
    for x in (*record.usable, *(x for x in record.beside if x.state == "ok")):
        groups.setdefault(reduced_formula(x.formula), []).append(x)
    rows: list[list[Any]] = []
    for group in groups.values():
        median = float(np.median([x.energy_per_atom for x in group]))
        far = [(x, x.energy_per_atom - median) for x in group if x.energy_per_atom is not None]
        rows += [
            [x.purpose, x.iteration, x.label_id, stratum(x.formula, x.ordering), number(distance)]
            for x, distance in far
            if abs(distance) > APART
        ]
    return Table(["For", "Iteration", "Label", "Frame", "From the median (eV/atom)"], rows, frozenset({1, 4}))


def cost(record: CampaignRecord) -> Table:
    """Core-hours by phase, and what a label took."""
    phases = list(dict.fromkeys(p for d in record.iterations for p in d.core_hours))
    hours = {p: sum(d.core_hours.get(p, 0.0) for d in record.iterations) for p in phases}
    for purpose in (p for p in Purpose if any(x.purpose is p for x in record.beside)):
        hours[f"{purpose} labels"] = sum(x.core_hours for x in record.beside if x.purpose is purpose)
    total = sum(hours.values())
    unit, factor = cost_unit(record)
    rows = [[p, number(h * factor), f"{100 * h / total:.1f} %" if total else "–"] for p, h in hours.items()]
    return Table(["Phase", unit.capitalize(), "Share"], rows, frozenset({1, 2}))


def labels(record: CampaignRecord) -> Table:
    """What one label took: CPU time, wall time, attempts."""
    rows: list[list[Any]] = []
    for state, group in (("usable", record.usable), ("failed", record.failed)):
        computed = [x for x in group if not x.reused]
        if computed:
            cpu = np.array([x.cpu_seconds for x in computed])
            wall = np.array([x.wall_seconds for x in computed])
            quantiles = [seconds(float(np.quantile(cpu, p))) for p in (0.5, 0.95)]
            retried = sum(x.attempts > 1 for x in computed)
            rows.append([state, len(computed), *quantiles, seconds(float(np.median(wall))), retried])
    heads = ["Labels", "Computed", "CPU time, median", "CPU time, 95 %", "Wall time, median", "With retries"]
    return Table(heads, rows, frozenset(range(1, 6)))


def models(record: CampaignRecord) -> Table:
    """Members of the newest ensemble."""
    newest = max((m.iteration for m in record.models), default=0)
    members = sorted((m for m in record.models if m.iteration == newest), key=lambda m: m.member)
    shown = [q for q in SHOWN if any(q.name in part for m in members for part in m.rmse.values())]
    heads = ["Member", "Seed", "Converged", *(f"{q.title} ({q.unit})" for q in shown), "Training time"]
    rows = []
    for m in members:
        cells = []
        for q in shown:
            parts = [m.rmse.get(part, {}).get(q.name) for part in ("train", "validation")]
            cells.append(" / ".join(number(None if x is None else x * q.factor) for x in parts))
        rows.append([m.member, m.seed, "yes" if m.converged else "no", *cells, seconds(m.wall_seconds)])
    return Table(heads, rows, frozenset(range(len(heads))) - {2})


_UNITS = {"ha": "Ha", "ev": "eV", "bohr": "bohr", "a": "Å", "k": "K", "mub": "μB"}


def level_of_theory(level: Mapping[str, Any]) -> Table:
    """One level of theory, every key of it; a unit at the end of a key moves behind the value."""
    rows: list[list[Any]] = []
    named = {"code": "Code", "version": "Version", "kind": "Kind of label", "functional": "Functional"}
    for key, name in named.items():
        if key in level:
            rows.append([name, level[key]])
    for element, digest in sorted(dict(level.get("datasets") or {}).items()):
        rows.append([f"Dataset {element} (md5)", digest])
    for key, value in sorted(dict(level.get("parameters") or {}).items()):
        name, _, unit = key.rpartition("_")
        if name and unit.lower() in _UNITS:
            rows.append([name, f"{_value(value)} {_UNITS[unit.lower()]}"])
        else:
            rows.append([key, _value(value)])
    known = {*named, "datasets", "parameters"}
    rows += [[key, _value(value)] for key, value in sorted(level.items()) if key not in known and key[:1] != "@"]
    return Table(["", ""], rows)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_value(v)}" for k, v in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        inner = [_value(v) for v in value]
        nested = any(isinstance(v, (list, tuple)) for v in value)
        return "; ".join(inner) if nested else " ".join(inner)
    return str(value)


def provenance(record: CampaignRecord) -> Table:
    """What made the page and the data."""
    created = sorted(d.created_at for d in record.documents())
    rows = [[f"{program} (wrote this page)", version] for program, version in record.versions.items()]
    codes = sorted({(x.level_of_theory.get("code", ""), x.level_of_theory.get("version", "")) for x in record.labels})
    rows += [[f"{code} (labels)", version] for code, version in codes]
    rows += [["Campaign id", record.campaign or "–"], ["Directory", record.directory]]
    if created:
        rows.append(["First and last document", f"{created[0]} to {created[-1]}"])
    fits = sorted({(m.iteration, m.family, m.dataset, m.n_labels) for m in record.models})
    if fits:
        _, family, dataset, n = fits[-1]
        rows.append(["Training set of the newest ensemble", f"{n} labels, fingerprint {dataset}"])
        rows.append(["Potential family", family])
        settings = record.models[-1].settings
        rows += [[f"{family}: {key}", _value(value)] for key, value in sorted(settings.items())]
    return Table(["", ""], rows)


def work(record: CampaignRecord) -> Table:
    """Jobs of the queue by category of work."""
    rows = []
    for category in dict.fromkeys(j.category for j in record.jobs):
        jobs = [j for j in record.jobs if j.category == category]
        counts = Counter(j.state for j in jobs)
        left = sum(counts[s] for s in (JobState.WAITING, JobState.READY))
        hours = sum(j.cpu_seconds for j in jobs) / 3600
        numbers = (counts[JobState.COMPLETED], counts[JobState.RUNNING], left, counts[JobState.FAILED])
        rows.append([category, *map(str, numbers), str(sum(j.crashes for j in jobs)), f"{hours:.3f}"])
    heads = ["Category", "Completed", "Running", "To do", "Failed", "Workers lost", "Core-hours"]
    return Table(heads, rows, frozenset(range(1, len(heads))))


def failed_jobs(record: CampaignRecord) -> Table:
    """Jobs of the queue that failed."""
    rows = [[j.name, " ".join((j.error or "no message").split())] for j in record.failed_jobs]
    return Table(["Job", "Message"], rows)
