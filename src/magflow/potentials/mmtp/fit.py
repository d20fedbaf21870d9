"""From labels to a fitted mMTP: energy reference, linear start, Levenberg-Marquardt, active set."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from magflow.core.label import Cost, LabeledFrame
from magflow.core.protocols import FitReport, Progress
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError
from magflow.potentials.mmtp.basis import enumerate_basis
from magflow.potentials.mmtp.geometry import Geometry, build_geometry
from magflow.potentials.mmtp.grade import build_active_set
from magflow.potentials.mmtp.model import Form, MmtpModel, moment_pairs
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.optimise import Plan, minimise
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.prior import magnetic_scale, prepare, with_unknowns
from magflow.potentials.mmtp.residuals import Problem, check_collinear
from magflow.potentials.mmtp.state import State

if TYPE_CHECKING:
    from magflow.potentials.mmtp.family import MmtpFamily

MIN_RANGE = 0.1
"""muB; the smallest magnetic range taken from data."""


def unique_items(items: Sequence[LabeledFrame]) -> tuple[list[LabeledFrame], IntArray]:
    """Each label once, and how often it came: a repeated label weighs more and costs nothing."""
    index: dict[str, int] = {}
    for item in items:
        index[item.label_id] = index.get(item.label_id, 0) + 1
    first = {item.label_id: item for item in reversed(items)}
    return [first[key] for key in index], np.array(list(index.values()), dtype=np.int64)


def energy_reference(items: Sequence[LabeledFrame], species: tuple[str, ...]) -> FloatArray:
    """(T,) eV per atom of each species: least squares, of smallest norm where compositions do not fix it."""
    counts = np.array([[item.frame.species.count(s) for s in species] for item in items], dtype=float)
    energies = np.array([item.label.energy for item in items], dtype=float)
    return np.linalg.lstsq(counts, energies, rcond=None)[0]


def fit_mmtp(
    family: MmtpFamily,
    train: Sequence[LabeledFrame],
    *,
    species: tuple[str, ...],
    seed: int,
    validation: Sequence[LabeledFrame],
    start: MmtpPotential | None,
    progress: Progress | None,
) -> tuple[MmtpPotential, FitReport]:
    """See :meth:`MmtpFamily.fit`.

    Linear algebra runs on one thread: its matrices are small, members are fitted side by side by the workers, and
    threads that wait for each other on a busy machine cost ten times the work.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit(family, train, species, seed, validation, start, progress)


def _fit(
    family: MmtpFamily,
    train: Sequence[LabeledFrame],
    species: tuple[str, ...],
    seed: int,
    validation: Sequence[LabeledFrame],
    start: MmtpPotential | None,
    progress: Progress | None,
) -> tuple[MmtpPotential, FitReport]:
    began, cpu = time.perf_counter(), time.process_time()
    if not train:
        raise InputError("no labels to fit", where="train", expected="at least one labelled frame")
    check_collinear([*train, *validation])
    items, repeats = unique_items(train)
    model = start.model if start else blank_model(family, items, species)
    check_start(family, model, species)
    problem = Problem.of(model, items, repeats, family.weights)
    prior, unknowns = prepare(
        family,
        problem,
        energy_reference(items, species),
        magnetic_scale(items, model),
        seed=seed,
        warm=start.model if start else None,
    )
    held = (
        Problem.of(model, validation, np.ones(len(validation), dtype=np.int64), family.weights) if validation else None
    )
    outcome = minimise(
        Objective(problem, prior),
        Plan(family.max_iterations, family.max_iterations, family.tolerance, family.patience),
        State.at(unknowns),
        monitor=(lambda p: held.loss(held.residuals(p))) if held else None,
        observe=_observer(progress, family.max_iterations),
    )
    potential = finish(with_unknowns(model, outcome.best), problem.geometry)
    cost = Cost(time.process_time() - cpu, time.perf_counter() - began, 1)
    report = _report(outcome, problem, held, cost, _details(potential.model, items))
    if progress:
        progress(1.0, "fitted")
    return potential, report


def blank_model(family: MmtpFamily, items: Sequence[LabeledFrame], species: tuple[str, ...]) -> MmtpModel:
    """The form asked for, with ranges from the settings or from the labels, and parameters zero."""
    basis = enumerate_basis(family.level)
    frames = [item.configuration for item in items]
    magnetic = frames[0].magmoms is not None and family.moment_polynomials > 1
    n_psi = family.moment_polynomials if magnetic else 1
    largest = dict.fromkeys(species, 0.0)
    for frame in frames:
        if frame.magmoms is not None:
            for symbol, m in zip(frame.species, np.abs(frame.magmoms[:, 2]), strict=True):
                largest[symbol] = max(largest.get(symbol, 0.0), float(m))
    ranges = [family.max_moment.get(s, max(1.05 * largest[s], MIN_RANGE)) for s in species]
    r_min = family.r_min
    if r_min is None:
        closest = build_geometry(frames, species, family.cutoff, magnetic=False).closest
        r_min = float(np.clip(0.95 * closest, 0.5, 0.8 * family.cutoff))
    size = (
        len(species) ** 2 * basis.n_mu * family.n_radial * len(moment_pairs(family.form, n_psi))
        + basis.n_scalar
        + len(species)
    )
    return MmtpModel(
        species=species,
        form=family.form,
        level=family.level,
        cutoff=family.cutoff,
        r_min=r_min,
        n_phi=family.n_radial,
        n_psi=n_psi,
        symmetrise=family.form is Form.PAPER,
        extend=True,
        max_moment=np.array(ranges),
        basis=basis,
        parameters=np.zeros(size),
        pulay=np.zeros(len(species)),
    )


def check_start(family: MmtpFamily, model: MmtpModel, species: tuple[str, ...]) -> None:
    """Refuse a warm start from a potential of another shape.

    Raises
    ------
    InputError
        Naming the setting that differs.
    """
    pairs = {
        "species": (model.species, species),
        "form": (model.form, family.form),
        "level": (model.level, family.level),
        "cutoff": (model.cutoff, family.cutoff),
        "radial_polynomials": (model.n_phi, family.n_radial),
    }
    for name, (seen, expected) in pairs.items():
        if seen != expected:
            raise InputError(
                f"the warm start differs in {name}", seen=seen, expected=str(expected), hint="start afresh instead"
            )


def finish(model: MmtpModel, geometry: Geometry) -> MmtpPotential:
    """The potential with the active set of the training environments."""
    bare = MmtpPotential(model)
    return MmtpPotential(model, build_active_set(geometry.type, bare.basis_values(geometry), len(model.species)))


def _details(model: MmtpModel, items: Sequence[LabeledFrame]) -> dict[str, Any]:
    return {
        "parameters": len(model.parameters),
        "unique_labels": len(items),
        "energy_reference_ev": dict(zip(model.species, model.parameters[-len(model.species) :].tolist(), strict=True)),
        "pulay_constant_ev": dict(zip(model.species, model.pulay.tolist(), strict=True)),
        "max_moment_mub": dict(zip(model.species, model.max_moment.tolist(), strict=True)),
        "r_min_a": model.r_min,
    }


def _observer(progress: Progress | None, total: int) -> Callable[[State], None] | None:
    if progress is None:
        return None
    return lambda state: progress(
        min(state.iteration / total, 0.99), f"iteration {state.iteration}: {state.objective:.4g}"
    )


def _report(outcome: State, problem: Problem, held: Problem | None, cost: Cost, details: dict[str, Any]) -> FitReport:
    rmse = {"train": problem.rmse(problem.residuals(outcome.best))}
    if held:
        rmse["validation"] = held.rmse(held.residuals(outcome.best))
    return FitReport(outcome.converged, outcome.iteration, rmse, cost, tuple(outcome.history), details)
