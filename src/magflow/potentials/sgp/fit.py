"""From labels to a Gaussian process: an mMTP gives the radial functions, evidence the noises, algebra the rest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from magflow.core.label import Cost, LabeledFrame
from magflow.core.prediction import QUANTITIES
from magflow.core.protocols import FitReport
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.evidence import Fitted, Moments, most_evident
from magflow.potentials.mmtp.basis import enumerate_basis
from magflow.potentials.mmtp.fit import fit_mmtp
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.residuals import CHUNK_ROWS, MmtpWeights, Problem
from magflow.potentials.mmtp.task import FitTask, energy_reference, unique_items
from magflow.potentials.sgp.features import Scaling, with_products
from magflow.potentials.sgp.potential import Process, SgpPotential, feature_rows, with_coefficients
from magflow.potentials.sgp.settings import SgpSettings

PER_ATOM = MmtpWeights(energy=1.0, forces=1.0, stress=1.0, magnetic_forces=1.0)
"""Rows in eV/atom, eV/A, eV/atom and eV/muB, each with the noise of its quantity."""
_COPIES, _MATRICES = 4, 10
"""Arrays of rows, and square ones of the coefficients, that a fit holds at once."""


def fit_sgp(settings: SgpSettings, task: FitTask) -> tuple[SgpPotential, FitReport]:
    """See :meth:`magflow.potentials.sgp.family.SgpFamily.fit`; linear algebra runs on one thread."""
    check_memory(settings, task)
    with threadpool_limits(limits=1, user_api="blas"):
        told = task.progress
        part = None if told is None else (lambda fraction, text: told(0.9 * fraction, text))
        base, report = fit_mmtp(settings.mmtp, replace(task, progress=part))
        cpu, wall = time.process_time(), time.perf_counter()
        potential, fitted, rmse = _process_on(base, settings, task)
        cost = report.cost + Cost(time.process_time() - cpu, time.perf_counter() - wall)
    if told is not None:
        told(1.0, "fitted")
    details = {**report.details, **_details(potential, fitted), "mmtp_rmse": report.rmse}
    return potential, FitReport(report.converged, report.iterations, rmse, cost, report.history, details)


def memory_needed(settings: SgpSettings, species: int, rows: int) -> int:
    """Bytes that a fit to so many numbers of labels holds at once, beyond the labels."""
    model, n = settings.mmtp, enumerate_basis(settings.mmtp.level)
    pairs = model.moment_polynomials**2
    coefficients = n.n_scalar * (n.n_scalar + 3) // 2 + 2 * species
    unknowns = species**2 * n.n_mu * model.n_radial * pairs + coefficients
    return 8 * (_COPIES * min(CHUNK_ROWS, rows) * unknowns + _MATRICES * coefficients**2)


def check_memory(settings: SgpSettings, task: FitTask) -> None:
    """Refuse a fit that would not fit into this machine, before it starts.

    Raises
    ------
    InputError
        With what it would need.
    """
    species, rows = len(task.species), sum(4 * len(item.frame) + 7 for item in task.train)
    needed, free = memory_needed(settings, species, rows), int(psutil.virtual_memory().available)
    if needed > free:
        raise InputError(
            "the Gaussian process would not fit into the memory of this machine",
            where="mmtp.level",
            seen=f"{needed / 2**30:.1f} GiB for level {settings.mmtp.level}, {species} species and {rows} numbers",
            expected=f"at most {free / 2**30:.1f} GiB, which are free",
            hint="lower mmtp.level",
        )


def _process_on(
    base: MmtpPotential, settings: SgpSettings, task: FitTask
) -> tuple[SgpPotential, Fitted, dict[str, dict[str, float]]]:
    """The process on the descriptors of `base`, and its errors on the labels."""
    items, repeats = unique_items(task.train)
    model = with_products(base.model)
    problem = Problem.of(model, items, repeats, PER_ATOM)
    linear = base.model.parameters[base.model.n_radial : base.model.n_radial + base.model.basis.n_scalar]
    scaling = Scaling.of(base.basis_values(problem.geometry), linear, settings.constant)
    reference = energy_reference(items, task.species)
    moments = _moments(problem, scaling, reference)
    flat = np.ones(moments.pull.shape[1], dtype=bool)
    flat[len(task.species) : -len(task.species)] = False
    fitted = most_evident(moments, flat)
    coefficients = fitted.mean.copy()
    coefficients[: len(reference)] += reference
    process = Process(scaling, fitted.root, fitted.noise, base.model.parameters)
    potential = SgpPotential(with_coefficients(model, scaling, coefficients), process)
    rmse = {"train": _rmse(potential, problem)}
    if task.validation:
        rmse["validation"] = _rmse(potential, _held(potential, task.validation))
    return potential, fitted, rmse


def _held(potential: SgpPotential, items: Sequence[LabeledFrame]) -> Problem:
    return Problem.of(potential.model, items, np.ones(len(items), dtype=np.int64), PER_ATOM)


def _rmse(potential: SgpPotential, problem: Problem) -> dict[str, float]:
    return problem.rmse(problem.residuals(np.concatenate([potential.model.parameters, potential.model.pulay])))


def _moments(problem: Problem, scaling: Scaling, reference: FloatArray) -> Moments:
    """Of all rows that have a label, energies less those of their `reference` atoms."""
    model, targets, layout = problem.model, problem.targets, problem.layout
    values = targets.values.copy()
    frame, kind = problem.geometry.frame, problem.geometry.type
    values[layout.begin[:-1]] -= np.bincount(frame, weights=reference[kind], minlength=len(layout.begin) - 1)
    unknowns = np.concatenate([model.parameters, model.pulay])
    moments = Moments.none(model.basis.n_scalar + 2 * len(model.species))
    for a, b in problem.chunks:
        span = slice(layout.begin[a], layout.begin[b])
        features = feature_rows(model, scaling, problem.rows(unknowns, a, b)[1])
        weighted = values[span] * targets.weights[span]
        for q in range(len(QUANTITIES)):
            mine = (targets.quantity[span] == q) & (targets.weights[span] > 0.0)
            if mine.any():
                moments.add(q, features[mine], weighted[mine])
    return moments


def _details(potential: SgpPotential, fitted: Fitted) -> dict[str, Any]:
    units = ("ev_per_atom", "ev_per_a", "ev_per_atom", "ev_per_mub")
    return {
        "parameters": len(potential.model.parameters),
        "features": potential.model.basis.n_scalar,
        "signal_ev": fitted.signal,
        "log_evidence": fitted.evidence,
        "noise": {
            f"{name}_{unit}": float(v)
            for name, unit, v in zip(QUANTITIES, units, fitted.noise, strict=True)
            if np.isfinite(v)
        },
    }
