"""The figures of the page from a record: picks arrays, converts to the units a person reads, writes captions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.frame import Frame
from magflow.core.types import BoolArray, FloatArray, IntArray
from magflow.execution.states import JobRecord
from magflow.makers.roles import Tag
from magflow.presentation.blocks import Plot, Table, plot
from magflow.presentation.formats import number, without_ones
from magflow.presentation.quantities import SHOWN, Quantity, quantity
from magflow.presentation.style import ANCHOR
from magflow.report import figures
from magflow.report.record import Arrays, CampaignRecord
from magflow.select.reliability import COVERAGE, binned, rms

MAX_STRATA = 15
"""Strata told apart in one figure; smaller ones are drawn together."""


def stratum(formula: str, ordering: str) -> str:
    """Composition x magnetic state as a person writes it: ``AlFe FM``."""
    return without_ones(f"{formula} {ordering}")


def cost_unit(record: CampaignRecord) -> tuple[str, float]:
    """The unit in which the whole cost is a readable number, and core-hours to that unit."""
    total = sum(sum(d.core_hours.values()) for d in record.iterations)
    return ("core-minutes", 60.0) if total < 0.5 else ("core-hours", 1.0)


def convergence(record: CampaignRecord) -> list[Plot]:
    """Error against labels and core-hours, one figure per quantity."""
    plots = []
    assessed = [d for d in record.iterations if d.rmse]
    trained = {d.iteration: d.train_rmse for d in record.iterations}
    unit, factor = cost_unit(record)
    labels = np.array([d.labels_total - d.labels_new for d in assessed], dtype=np.int64)
    hours = np.array([d.core_hours_total - sum(d.core_hours.values()) for d in assessed])
    for q in SHOWN:
        error = np.array([d.rmse.get(q.name, np.nan) for d in assessed]) * q.factor
        train = np.array([trained.get(d.iteration - 1, {}).get(q.name, np.nan) for d in assessed]) * q.factor
        target = record.targets.get(q.name)
        if not np.isfinite(error).any():
            continue
        aim = None if target is None else target * q.factor
        data = figures.Convergence(labels, hours * factor, error, train, aim, unit)
        numbers = {
            "iteration": np.array([d.iteration for d in assessed], dtype=np.int64),
            "labels_trained_on": labels,
            "core_hours": hours,
            f"rmse_new_labels ({q.unit})": error,
            f"rmse_training ({q.unit})": train,
        }
        caption = f"{q.title}: RMSE against labels and core-hours."
        plots.append(plot(figures.convergence(q, data), f"convergence-{q.name}", caption, numbers))
    return plots


def parity(record: CampaignRecord) -> list[Plot]:
    """Predicted against labelled values, one figure per quantity."""
    plots = []
    for q in SHOWN:
        true, latest = _joined(record, q, "true")
        predicted, _ = _joined(record, q, "predicted")
        if not len(true):
            continue
        label = _label_of_each(record, q)
        marked = {name: latest & (label == name) for name in record.worst}
        shift = _composition_reference(record, true) if q.name == "energy" else np.zeros(len(true))
        x, y = (true - shift) * q.value_factor, (predicted - shift) * q.value_factor
        numbers = {
            f"labelled ({q.value_unit})": x,
            f"predicted ({q.value_unit})": y,
            "latest_iteration": latest.astype(int),
            "label": label,
        }
        caption = f"{q.title}: {len(true)} values predicted before labelling."
        plots.append(plot(figures.parity(q, x, y, latest, marked), f"parity-{q.name}", caption, numbers))
    return plots


def worst(record: CampaignRecord) -> tuple[Table, list[Plot]]:
    """The labels that the ensemble was most wrong about, and their structures."""
    labels = {x.label_id: x for x in record.usable if x.label_id in record.worst}
    shown = [q for q in SHOWN if any(q.name in errors for errors in record.worst.values())]
    rows: list[list[Any]] = []
    plots = []
    longest = max((x.moment_max or 0.0 for x in labels.values()), default=0.0)
    for number_, (name, errors) in enumerate(record.worst.items(), 1):
        if name not in labels:
            continue
        label = labels[name]
        cells = [number(errors[q.name] * q.factor) if q.name in errors else "–" for q in shown]
        what = stratum(label.formula, label.ordering)
        rows.append([number_, what, label.source, *cells, name, calculation(record, label.frame_id)])
        if (frame := record.frames.get(name)) is not None:
            caption = f"{number_}. {what}, label {name}"
            caption += f"; moments up to {label.moment_max:.2f} μB." if label.moment_max else "."
            drawn = figures.structure(frame, longest)
            plots.append(plot(drawn, f"structure-{number_}", caption, _atoms(frame), anchor=f"{ANCHOR}{name}"))
    heads = ["No.", "Frame", "Source", *(f"{q.title} ({q.unit})" for q in shown), "Label", "Calculation"]
    return Table(heads, rows, frozenset({0, *range(3, 3 + len(shown))})), plots


def _atoms(frame: Frame) -> dict[str, Any]:
    """Columns of a table of the atoms."""
    columns: dict[str, Any] = {"element": frame.species}
    columns |= {f"{axis} (A)": frame.positions[:, i] for i, axis in enumerate("xyz")}
    if frame.magmoms is not None:
        columns |= {f"m{axis} (muB)": frame.magmoms[:, i] for i, axis in enumerate("xyz")}
    return columns


def calculation(record: CampaignRecord, frame_id: str) -> str:
    """The directory where a frame was labelled, from that of the campaign; a dash if it is not on this machine."""
    folders = (Path(j.directory) / f"label-{frame_id}" for j in record.jobs if j.directory)
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        return "–"
    here = Path(record.directory).absolute()
    return str(found.relative_to(here) if found.is_relative_to(here) else found)


def _label_of_each(record: CampaignRecord, q: Quantity) -> NDArray[np.str_]:
    """label_id of each entry of :func:`_joined`; empty where a release did not note it."""
    parts: list[NDArray[np.str_]] = [np.zeros(0, dtype=str)]
    for document, arrays in zip(record.iterations, record.parities, strict=True):
        size = len(arrays.get(f"{q.name}_true", ()))
        owner = arrays.get(f"{q.name}_label")
        known = owner is not None and bool(document.assessed)
        parts.append(np.array(document.assessed)[owner] if known else np.full(size, ""))
    return np.concatenate(parts)


def _joined(record: CampaignRecord, q: Quantity, column: str) -> tuple[FloatArray, BoolArray]:
    """One parity column of all iterations, and which entries belong to the last that has any."""
    parts = [np.asarray(p.get(f"{q.name}_{column}", np.zeros(0)), dtype=float) for p in record.parities]
    filled = [i for i, p in enumerate(parts) if len(p)]
    if not filled:
        return np.zeros(0), np.zeros(0, dtype=bool)
    latest = [np.full(len(p), i == filled[-1]) for i, p in enumerate(parts)]
    return np.concatenate(parts), np.concatenate(latest)


def _composition_reference(record: CampaignRecord, energies: FloatArray) -> FloatArray:
    """(n,) the lowest energy per atom labelled at the composition of each entry, eV/atom.

    Total energies of two compositions lie hundreds of eV apart; without this all a plot shows is the composition.
    The composition is found through the label of that energy; an entry without one is measured from the lowest of all.
    """
    lowest: dict[str, float] = {}
    formula_of: dict[float, str] = {}
    for label in record.usable:
        if label.energy_per_atom is not None:
            # supercells of one composition share the reference
            key = reduced_formula(label.formula)
            lowest[key] = min(lowest.get(key, np.inf), label.energy_per_atom)
            formula_of[round(label.energy_per_atom, 8)] = key
    floor = float(energies.min()) if len(energies) else 0.0
    keys = (formula_of.get(round(float(e), 8)) for e in energies)
    return np.array([floor if key is None else lowest[key] for key in keys])


def reduced_formula(formula: str) -> str:
    """``Al2Fe2`` as ``Al1Fe1``."""
    parts = re.findall(r"([A-Z][a-z]?)([0-9]+)", formula)
    divisor = int(np.gcd.reduce([int(n) for _, n in parts])) if parts else 1
    return "".join(f"{s}{int(n) // divisor}" for s, n in parts) or formula


def calibration(record: CampaignRecord) -> tuple[list[Plot], Table]:
    """Raw deviation against error, and a table of what deviations had been worth when they were claimed."""
    last = next((d for d in reversed(record.iterations) if d.calibration), None)
    known = Calibration.from_dict({} if last is None else last.calibration)
    plots: list[Plot] = []
    for q in SHOWN:
        true, _ = _joined(record, q, "true")
        predicted, _ = _joined(record, q, "predicted")
        deviation, _ = _joined(record, q, "deviation")
        if not len(true):
            continue
        error = np.abs(predicted - true) * q.factor
        deviation = deviation * q.factor
        model = known.of(q.name)
        model = ErrorModel(model.scale, model.floor * q.factor)
        numbers = {f"deviation ({q.unit})": deviation, f"abs_error ({q.unit})": error}
        caption = f"{q.title}: error against deviation; {_said(model, q)}."
        drawn = figures.calibration(q, deviation, error, model, binned(deviation, error))
        plots.append(plot(drawn, f"calibration-{q.name}", caption, numbers))
    return plots, _claims(known, {} if last is None else last.reliability)


def _said(model: ErrorModel, q: Quantity) -> str:
    return f"expected are {number(model.scale)} x deviation and {number(model.floor)} {q.unit} in quadrature"


def _claims(known: Calibration, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """Scale and floor, and how many errors of typical and of chosen labels their deviations had covered."""
    rows: list[list[Any]] = []
    for key, model in known.models.items():
        name, _, element = key.partition(" ")
        q = quantity(name)
        for labels in ("typical", "chosen"):
            claims = found.get(labels, {}).get(key)
            if claims is not None:
                shares = (f"{100 * x:.0f} %" for x in claims["coverage"])
                of = [number(model.scale), f"{number(model.floor * q.factor)} {q.unit}", labels, claims["labels"]]
                rows.append([f"{q.title} {element}".strip(), *of, *shares, number(claims["spearman"], 2)])
    if rows:
        rows.append(["normal errors", "–", "–", "–", "–", *(f"{100 * x:.0f} %" for x in COVERAGE), "–"])
    heads = [
        "Quantity",
        "Scale",
        "Floor",
        "Frames",
        "Labels",
        "Errors within 1 deviation",
        "within 2",
        "Rank correlation",
    ]
    return Table(heads, rows, frozenset({1, 2, 4, 5, 6, 7}))


def foretold(record: CampaignRecord) -> Table:
    """Per iteration and quantity: the error that the deviation, calibrated before, foretold; that found."""
    rows = []
    known = Calibration()
    for document, arrays in zip(record.iterations, record.parities, strict=True):
        cells = []
        for q in SHOWN:
            deviation, found = arrays.get(f"{q.name}_deviation"), document.rmse.get(q.name)
            if deviation is None or found is None:
                cells.append("–")
            else:
                expected = rms(known.of(q.name).of(np.asarray(deviation, dtype=float)))
                cells.append(f"{number(expected * q.factor)} / {number(found * q.factor)}")
        if document.rmse:
            rows.append([document.iteration, *cells])
        known = Calibration.from_dict(document.calibration) or known
    return Table(["Iteration", *(f"{q.title} ({q.unit})" for q in SHOWN)], rows, frozenset(range(5)))


def coverage(record: CampaignRecord) -> Plot | None:
    """Moments and volumes, labelled and offered; None before the first selection."""
    if not record.usable and not record.pools:
        return None
    groups: dict[str, list[tuple[float, float]]] = {}
    for label in record.usable:
        # a non-magnetic label has no moments: it lies at zero
        point = (label.volume_per_atom, label.moment_max or 0.0)
        groups.setdefault(stratum(label.formula, label.ordering), []).append(point)
    ranked = sorted(groups, key=lambda s: (-len(groups[s]), s))
    for rest in ranked[MAX_STRATA:]:
        groups.setdefault("other", []).extend(groups.pop(rest))
    points = {s: (np.array(groups[s])[:, 0], np.array(groups[s])[:, 1]) for s in groups}
    points = {s: points[s] for s in sorted(points, key=lambda s: (s == "other", s))}
    pool = (_pooled(record.pools, "volume"), np.nan_to_num(_pooled(record.pools, "moment_max")))
    numbers = {
        "stratum": [s for s in points for _ in points[s][0]] + ["offered"] * len(pool[0]),
        "volume (A3/atom)": np.concatenate([*(v for v, _ in points.values()), pool[0]]),
        "moment_max (muB)": np.concatenate([*(m for _, m in points.values()), pool[1]]),
    }
    caption = "Largest moment against volume of every labelled frame, by composition and magnetic state."
    labelled = sum(len(v) for v, _ in points.values())
    return plot(figures.coverage(points, pool), "coverage", caption, numbers, wide=True, always=labelled)


def _pooled(pools: Sequence[Arrays], column: str) -> FloatArray:
    return np.concatenate([np.zeros(0), *(np.asarray(p[column], dtype=float) for p in pools if column in p)])


def reasons(record: CampaignRecord) -> Plot | None:
    """What became of the frames offered, by iteration; None before the first selection."""
    if not record.selections:
        return None
    names = [f"iteration {s.iteration}" for s in record.selections]
    found = {r for s in record.selections for r, n in s.reasons.items() if n}
    total = {r: sum(s.reasons.get(r, 0) for s in record.selections) for r in found}
    order = sorted(found, key=lambda r: (not r.startswith("selected"), -total[r], r))
    parts = {r: np.array([s.reasons.get(r, 0) for s in record.selections], dtype=float) for r in order}
    figure = figures.stacked(names, parts, "Share of the frames offered (%)", share=True)
    numbers = {"iteration": [s.iteration for s in record.selections]} | {r: v.astype(int) for r, v in parts.items()}
    return plot(figure, "selection", "What became of the frames offered, by iteration.", numbers, wide=True)


def cost(record: CampaignRecord) -> Plot | None:
    """Core-hours by phase and iteration; None before the first iteration ends."""
    if not record.iterations:
        return None
    phases = list(dict.fromkeys(p for d in record.iterations for p in d.core_hours))
    hours = {p: np.array([d.core_hours.get(p, 0.0) for d in record.iterations]) for p in phases}
    unit, factor = cost_unit(record)
    names = [f"iteration {d.iteration}" for d in record.iterations]
    figure = figures.stacked(names, {p: v * factor for p, v in hours.items()}, unit.capitalize())
    numbers = {"iteration": [d.iteration for d in record.iterations]} | {f"{p} (h)": v for p, v in hours.items()}
    return plot(figure, "cost", f"{unit.capitalize()} by iteration and phase.", numbers, wide=True)


def durations(record: CampaignRecord) -> Plot | None:
    """CPU time of the labels that were computed; None before the first."""
    computed = [x for x in record.labels if not x.reused]
    if not computed:
        return None
    cpu = np.array([x.cpu_seconds for x in computed], dtype=float)
    numbers = {"label_id": [x.label_id for x in computed], "state": [x.state for x in computed], "cpu (s)": cpu}
    return plot(figures.durations(cpu), "label-cpu", "CPU time per label, failed ones included.", numbers, wide=True)


def timeline(record: CampaignRecord) -> Plot | None:
    """Jobs against time; None if none has run in a queue."""
    ran = sorted((j for j in record.jobs if j.started is not None), key=lambda j: j.started or 0.0)
    if not ran:
        return None
    first = ran[0].started or 0.0
    latest = max(max(j.started or 0.0, j.ended or 0.0) for j in ran)
    start = np.array([(j.started or 0.0) - first for j in ran]) / 60
    end = np.array([(latest if j.ended is None else j.ended) - first for j in ran]) / 60
    duration = np.maximum(end - start, 0.0)
    lane = _slots(start, start + duration)
    kinds = [_kind_of_job(j) for j in ran]
    numbers = {
        "job": [j.name for j in ran], "state": [j.state for j in ran], "worker": [j.worker for j in ran],
        "start (min)": start, "duration (min)": duration,
    }  # fmt: skip
    names = [f"slot {i + 1}" for i in range(int(lane.max()) + 1)]
    figure = figures.timeline(names, lane, start, duration, kinds)
    return plot(figure, "timeline", "Jobs against time; the slots are as many as ever ran at once.", numbers, wide=True)


def _slots(start: FloatArray, end: FloatArray) -> IntArray:
    """(n,) the first slot free at each `start` (ascending): workers come and go, slots stay as few as can be."""
    free: list[float] = []
    taken = np.zeros(len(start), dtype=np.int64)
    for i, (a, b) in enumerate(zip(start, end, strict=True)):
        slot = next((k for k, time in enumerate(free) if time <= a + 1e-9), len(free))
        taken[i] = slot
        free[slot : slot + 1] = [float(b)]
    return taken


def _kind_of_job(job: JobRecord) -> str:
    tag = Tag.read(job.metadata, job.name)
    return "job" if tag is None else str(tag.phase)
