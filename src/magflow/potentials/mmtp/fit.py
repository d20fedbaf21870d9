"""From labels to a fitted mMTP: energy reference, linear start, Levenberg-Marquardt, active set."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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
from magflow.potentials.mmtp.optimise import Outcome, Prior, Stopping, levenberg_marquardt
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.residuals import Problem, check_collinear

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
    centre = np.zeros(problem.size)
    reference = energy_reference(items, species)
    centre[-len(species) :] = reference
    prior, parameters = starting_point(family, problem, centre, seed, warm=start is not None)
    held = (
        Problem.of(model, validation, np.ones(len(validation), dtype=np.int64), family.weights) if validation else None
    )
    outcome = levenberg_marquardt(
        problem,
        parameters,
        prior,
        Stopping(family.max_iterations, family.tolerance, family.patience),
        monitor=(lambda p: held.loss(held.residuals(p))) if held else None,
        report=_reporter(progress, family.max_iterations),
    )
    potential = finish(model.with_parameters(outcome.parameters), problem.geometry)
    cost = Cost(time.process_time() - cpu, time.perf_counter() - began, 1)
    report = _report(outcome, problem, held, cost, {"parameters": problem.size, "unique_labels": len(items)})
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


def starting_point(
    family: MmtpFamily, problem: Problem, centre: FloatArray, seed: int, *, warm: bool
) -> tuple[Prior, FloatArray]:
    """Prior and first parameters: random radial functions, then linear least squares for xi and e.

    The prior holds radial coefficients near zero, more strongly for higher polynomials, in units in which the radial
    function is of order one at a typical bond; xi in units of the spread each basis function makes in the rows.
    """
    model = problem.model
    n_radial, n_species = model.n_radial, len(model.species)
    shape = (n_species, n_species, model.basis.n_mu, model.n_phi, len(model.pairs))
    zeta = np.broadcast_to(np.arange(model.n_phi)[:, None], shape).ravel()
    magnetic = np.broadcast_to(model.pairs.sum(axis=1), shape).ravel()
    unit = 1.0 / (model.cutoff - model.r_min) ** 2
    rng = np.random.default_rng(seed)
    parameters = centre.copy()
    if warm:
        parameters = model.parameters.copy()
    else:
        spread = START_SPREAD * unit * START_DECAY**zeta * np.where(magnetic > 0, START_MAGNETIC, 1.0)
        parameters[:n_radial] = rng.normal(size=n_radial) * spread
    jtj, jtr, _ = problem.normal(parameters)
    linear = slice(n_radial, len(parameters))
    scale = np.diag(jtj)[n_radial : len(parameters) - n_species]
    precision = np.concatenate(
        [
            family.radial_ridge / unit**2 * family.radial_growth**zeta * family.magnetic_growth**magnetic,
            family.linear_ridge * scale + 1e-12 * max(scale.max(), 1.0),
            np.full(n_species, 1e-6),
        ]
    )
    if not warm:
        matrix = jtj[linear, linear] + np.diag(precision[linear])
        parameters[linear] -= np.linalg.solve(matrix, jtr[linear])
    return Prior(precision, centre), parameters


START_SPREAD, START_DECAY, START_MAGNETIC = 0.5, 0.6, 0.2


def finish(model: MmtpModel, geometry: Geometry) -> MmtpPotential:
    """The potential with the active set of the training environments."""
    bare = MmtpPotential(model)
    return MmtpPotential(model, build_active_set(geometry.type, bare.basis_values(geometry), len(model.species)))


def _reporter(progress: Progress | None, total: int) -> Callable[[int, float], None] | None:
    if progress is None:
        return None
    return lambda iteration, objective: progress(
        min(iteration / total, 0.99), f"iteration {iteration}: {objective:.4g}"
    )


def _report(outcome: Outcome, problem: Problem, held: Problem | None, cost: Cost, details: dict[str, int]) -> FitReport:
    rmse = {"train": problem.rmse(problem.residuals(outcome.parameters))}
    if held:
        rmse["validation"] = held.rmse(held.residuals(outcome.parameters))
    return FitReport(outcome.converged, outcome.iterations, rmse, cost, tuple(outcome.history), details)
