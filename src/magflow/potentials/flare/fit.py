"""From labels to a FLARE: sparse atoms, the rows of all labels, evidence, algebra."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from magflow.core.frame import Frame
from magflow.core.label import Cost, LabeledFrame
from magflow.core.prediction import QUANTITIES
from magflow.core.protocols import FitReport, Potential, Progress
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError
from magflow.potentials.evidence import Fitted, Moments, most_evident
from magflow.potentials.flare.environments import Form
from magflow.potentials.flare.potential import FlarePotential
from magflow.potentials.flare.process import Process, rows_of
from magflow.potentials.flare.settings import FlareSettings
from magflow.potentials.flare.sparse import SparseSet, most_uncertain
from magflow.potentials.mmtp.residuals import MmtpWeights, build_targets
from magflow.potentials.mmtp.task import energy_reference, unique_items
from magflow.potentials.outside.labels import check, errors
from magflow.potentials.outside.workdir import training_directory

PER_ATOM = MmtpWeights(energy=1.0, forces=1.0, stress=1.0, magnetic_forces=1.0)
"""Rows in eV/atom, eV/A and eV/atom, each with the noise of its quantity."""
_READ, _LEARNT = 0.15, 0.9
"""Fractions of the work that are done when descriptors are known and when rows are."""


@dataclass(frozen=True, eq=False)
class FlareTask:
    """What one fit is asked for; see :meth:`magflow.potentials.flare.family.FlareFamily.fit`."""

    train: Sequence[LabeledFrame]
    validation: Sequence[LabeledFrame]
    species: tuple[str, ...]
    seed: int
    start: Potential | None = None
    progress: Progress | None = None
    workdir: Path | None = None

    def tell(self, fraction: float, text: str) -> None:
        """To who wants to know."""
        if self.progress is not None:
            self.progress(fraction, text)


def fit_flare(settings: FlareSettings, task: FlareTask) -> tuple[FlarePotential, FitReport]:
    """See :meth:`magflow.potentials.flare.family.FlareFamily.fit`; linear algebra runs on one thread."""
    if not task.train:
        raise InputError("no labels to fit", where="train", expected="at least one labelled frame")
    for items, part in ((task.train, "training"), (task.validation, "validation")):
        check(items, task.species, magnetic=False, part=part, without="flare")
    form = Form(task.species, settings.descriptor, settings.n_max, settings.l_max, settings.cutoff)
    start = _start(task.start, form, settings.power)
    items, repeats = unique_items(task.train)
    frames = [item.configuration for item in items]
    check_memory(form, settings.environments + (start.process.sparse.size if start else 0), frames)
    cpu, wall = time.process_time(), time.perf_counter()

    def write(directory: Path) -> None:
        directory.mkdir()
        (directory / "fit").write_text(_identity(settings, task, items, repeats), encoding="utf-8")

    with training_directory(task.workdir, write), threadpool_limits(limits=1, user_api="blas"):
        sparse, r_min = _sparse_atoms(settings, task, form, frames, start)
        potential, fitted = _learnt(task, form, sparse, items, repeats, r_min, start)
        rmse = {"train": errors(potential, items)}
        if task.validation:
            rmse["validation"] = errors(potential, task.validation)
    cost = Cost(time.process_time() - cpu, time.perf_counter() - wall)
    task.tell(1.0, "fitted")
    return potential, FitReport(True, fitted.iterations, rmse, cost, details=_details(potential, fitted))


def _identity(settings: FlareSettings, task: FlareTask, items: Sequence[LabeledFrame], repeats: IntArray) -> str:
    """Everything that decides how a fit ends."""
    labels = [f"{item.label_id} {count}" for item, count in zip(items, repeats, strict=True)]
    start = "" if task.start is None else task.start.to_bytes().hex()
    return "\n".join([settings.model_dump_json(), str(task.seed), *task.species, *labels, start])


def _start(start: Potential | None, form: Form, power: int) -> FlarePotential | None:
    """Raises InputError naming what differs."""
    if start is None:
        return None
    if not isinstance(start, FlarePotential):
        raise InputError("the warm start is of another family", seen=start.family)
    pairs = {name: (getattr(start.form, name), getattr(form, name)) for name in form.__dataclass_fields__}
    for name, (seen, expected) in (pairs | {"power": (start.process.sparse.power, power)}).items():
        if seen != expected:
            raise InputError(
                f"the warm start differs in {name}", seen=seen, expected=str(expected), hint="start afresh instead"
            )
    return start


def memory_needed(form: Form, environments: int, frames: Sequence[Frame]) -> int:
    """Bytes that a fit holds at once, beyond the labels: about, as neighbours are counted by the density."""
    atoms = sum(len(frame) for frame in frames)
    bonds = max(len(f) ** 2 / f.volume for f in frames) * 4.0 / 3.0 * pi * form.cutoff**3
    harmonics, columns = (form.angles + 1) ** 2, len(form.species) + environments
    one_bond = 4 * (form.n_max + harmonics) + 3 * (form.size + 2 * environments)
    chosen = atoms * (3 * form.size + environments)
    return int(8 * (bonds * one_bond + chosen + 12 * columns**2))


def check_memory(form: Form, environments: int, frames: Sequence[Frame]) -> None:
    """Refuse a fit that would not fit into this machine, before it starts.

    Raises
    ------
    InputError
        With what it would need.
    """
    needed, free = memory_needed(form, environments, frames), int(psutil.virtual_memory().available)
    if needed > free:
        raise InputError(
            "the Gaussian process would not fit into the memory of this machine",
            where="n_max",
            seen=f"{needed / 2**30:.1f} GiB for {form.size} descriptors of an atom and {environments} environments",
            expected=f"at most {free / 2**30:.1f} GiB, which are free",
            hint="lower n_max, l_max or environments",
        )


def _sparse_atoms(
    settings: FlareSettings, task: FlareTask, form: Form, frames: Sequence[Frame], start: FlarePotential | None
) -> tuple[SparseSet, float]:
    """The sparse atoms, and the shortest distance of any two."""
    units, types, closest = [], [], form.cutoff if start is None else start.r_min
    for k, frame in enumerate(form.environments(frames)):
        units.append(frame.unit.copy())
        types.append(frame.types)
        if len(frame.vectors):
            closest = min(closest, float(np.sqrt((frame.vectors**2).sum(axis=1).min())))
        task.tell(_READ * k / len(frames), f"descriptors, frame {k} of {len(frames)}")
    order = np.random.default_rng(task.seed).permutation(sum(len(t) for t in types))
    every, kind = np.concatenate(units)[order], np.concatenate(types)[order]
    known = start.process.sparse if start else _none(form, settings.power)
    chosen = most_uncertain(known, every, kind, settings.environments, settings.tolerance)
    return known.joined(every[chosen], kind[chosen]), closest


def _none(form: Form, power: int) -> SparseSet:
    return SparseSet(tuple(np.zeros((0, form.size)) for _ in form.species), power)


def _learnt(
    task: FlareTask,
    form: Form,
    sparse: SparseSet,
    items: Sequence[LabeledFrame],
    repeats: IntArray,
    r_min: float,
    start: FlarePotential | None,
) -> tuple[FlarePotential, Fitted]:
    """The process on all labels."""
    reference = energy_reference(items, form.species)
    moments = _moments(task, form, sparse, items, repeats, reference)
    flat = np.arange(moments.pull.shape[1]) < len(form.species)
    begin = None if start is None else (start.process.signal, start.process.noise)
    fitted = most_evident(moments, flat, begin)
    coefficients = fitted.mean.copy()
    coefficients[: len(reference)] += reference
    return FlarePotential(form, Process(sparse, coefficients, fitted.root, fitted.signal, fitted.noise), r_min), fitted


def _moments(
    task: FlareTask,
    form: Form,
    sparse: SparseSet,
    items: Sequence[LabeledFrame],
    repeats: IntArray,
    reference: FloatArray,
) -> Moments:
    """Of all rows that have a label, energies less those of their `reference` atoms."""
    moments = Moments.none(len(form.species) + sparse.size)
    for k, frame in enumerate(form.environments([item.configuration for item in items])):
        targets = build_targets(items[k : k + 1], repeats[k : k + 1], PER_ATOM, magnetic=False)
        rows = rows_of(sparse, frame)
        values = targets.values[: len(rows)] - rows[:, : len(form.species)] @ reference
        for kind in range(len(QUANTITIES)):
            mine = np.flatnonzero((targets.quantity == kind) & (targets.weights > 0.0))
            if len(mine):
                weights = targets.weights[mine]
                moments.add(kind, rows[mine] * weights[:, None], values[mine] * weights)
        task.tell(_READ + (_LEARNT - _READ) * k / len(items), f"label {k} of {len(items)}")
    return moments


def _details(potential: FlarePotential, fitted: Fitted) -> dict[str, Any]:
    units = ("ev_per_atom", "ev_per_a", "ev_per_atom", "ev_per_mub")
    noises = zip(QUANTITIES, units, fitted.noise, strict=True)
    return {
        "parameters": len(potential.process.coefficients),
        "descriptors": potential.form.size,
        "environments": dict(zip(potential.species, map(len, potential.process.sparse.units), strict=True)),
        "signal_ev": fitted.signal,
        "log_evidence": fitted.evidence,
        "noise": {f"{name}_{unit}": float(v) for name, unit, v in noises if np.isfinite(v)},
    }
