"""What a fit is asked for, and the problem that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import LabeledFrame
from magflow.core.protocols import Progress
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError
from magflow.potentials.mmtp.basis import enumerate_basis
from magflow.potentials.mmtp.curvature import Curvature
from magflow.potentials.mmtp.model import Form, MmtpModel, moment_pairs
from magflow.potentials.mmtp.objective import Joint, LeastSquares, Magnified, Prior
from magflow.potentials.mmtp.optimise import Plan
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.prior import magnetic_scale, prior_and_starts
from magflow.potentials.mmtp.promote import hold, promote
from magflow.potentials.mmtp.ranges import closest_pair, largest_moments, moment_ranges, radial_start, widened
from magflow.potentials.mmtp.residuals import Problem, check_collinear
from magflow.potentials.mmtp.settings import MmtpSettings

SAMPLE_ITERATIONS = 8
"""Levenberg-Marquardt iterations on a sample before BFGS takes over."""
ROWS_PER_UNKNOWN = 12
"""Label rows per unknown above which a fit begins on a sample, and which the sample keeps."""
SMALLEST_SAMPLE = 20
"""Labels a sample has at least: two cells of 64 atoms have rows enough, but all alike."""


@dataclass(frozen=True, eq=False)
class FitTask:
    """What one fit is asked for; see :meth:`magflow.potentials.mmtp.family.MmtpFamily.fit`."""

    train: Sequence[LabeledFrame]
    validation: Sequence[LabeledFrame]
    species: tuple[str, ...]
    seed: int
    start: MmtpPotential | None = None
    progress: Progress | None = None
    workdir: Path | None = None
    force_constants: Sequence[ForceConstantLabel] = ()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A task made ready for the optimiser.

    Parameters
    ----------
    items, held_items
        The training labels, each once, and the validation labels.
    problem, held
        Their least squares.
    curvature
        That of the force constants, if there are any.
    rough
        A sample of its labels standing for all of them, where they are many.
    prior
        See :func:`~magflow.potentials.mmtp.prior.prior_and_starts`.
    starts
        First values of the unknowns, one or several.
    """

    items: list[LabeledFrame]
    held_items: list[LabeledFrame]
    problem: Problem
    held: Problem | None
    curvature: Curvature | None
    rough: LeastSquares | None
    prior: Prior
    starts: list[FloatArray]
    plan: Plan

    @property
    def whole(self) -> LeastSquares:
        """Of training labels and force constants together."""
        return _with(self.problem, self.curvature)


def prepare(settings: MmtpSettings, task: FitTask) -> Prepared:
    """The problem of a task.

    Where labels are many, Levenberg-Marquardt begins on a sample of them and BFGS takes over soon
    (:mod:`magflow.potentials.mmtp.optimise`); where they are few, its Jacobian is cheap and it goes all the way.

    Raises
    ------
    InputError
        See :meth:`magflow.potentials.mmtp.family.MmtpFamily.fit`.
    """
    if not task.train:
        raise InputError("no labels to fit", where="train", expected="at least one labelled frame")
    check_collinear([*task.train, *task.validation])
    items, repeats = unique_items(task.train)
    model = _model(settings, task, items)
    problem = Problem.of(model, items, repeats, settings.weights)
    constants, curvature = task.force_constants, None
    if constants and settings.weights.force_constants > 0.0:
        curvature = Curvature.of(model, constants, settings.weights.force_constants)
    rough = _sample(settings, problem, items, repeats, task.seed)
    prior, starts = prior_and_starts(
        settings,
        model,
        rough or problem,
        energy_reference(items, task.species),
        magnetic_scale(items, model),
        seed=task.seed,
        warm=task.start is not None,
    )
    if task.start is not None and _taken_over(task.start, model):
        prior = hold(prior, model, settings.promotion)
    held = None
    if task.validation:
        held = Problem.of(model, task.validation, np.ones(len(task.validation), dtype=np.int64), settings.weights)
    plan = Plan(settings.max_iterations, SAMPLE_ITERATIONS, settings.tolerance, settings.patience)
    rough = None if rough is None else _with(rough, curvature)
    return Prepared(items, list(task.validation), problem, held, curvature, rough, prior, starts, plan)


def _with(labels: LeastSquares, curvature: Curvature | None) -> LeastSquares:
    return labels if curvature is None else Joint(labels, curvature)


def _taken_over(start: MmtpPotential, model: MmtpModel) -> bool:
    """Whether a fit of `model` is to keep what it takes over from a potential without moments.

    It is if the potential has learnt from other labels. A fit that goes on with the labels of its start (a later
    iteration of a campaign) is not: held where the last one ended, again and again, it would forget its regularisation.
    """
    if start.magnetic:
        return False
    known = start.model.learnt
    return model.magnetic or (bool(known) and not set(known) & set(model.learnt))


def _model(settings: MmtpSettings, task: FitTask, items: Sequence[LabeledFrame]) -> MmtpModel:
    learnt = tuple(sorted({item.label.level_of_theory.fingerprint for item in items}))
    return replace(_form(settings, task, items), learnt=learnt)


def _form(settings: MmtpSettings, task: FitTask, items: Sequence[LabeledFrame]) -> MmtpModel:
    if task.start is None:
        return blank_model(settings, items, task.species)
    start, n_psi = task.start, moment_polynomials(settings, items)
    if n_psi > 1 and not start.magnetic and start.species == task.species:
        start = promote(start, settings.form, n_psi, _moment_ranges(settings, items, task.species))
    check_start(settings, start.model, task.species, items)
    frames = [item.configuration for item in items]
    return widened(start.model, [*frames, *(constants.frame for constants in task.force_constants)])


def _sample(
    settings: MmtpSettings, problem: Problem, items: Sequence[LabeledFrame], repeats: IntArray, seed: int
) -> LeastSquares | None:
    """A random part of the labels with :data:`ROWS_PER_UNKNOWN` rows per unknown, magnified to stand for all.

    None where they are too few to part.
    """
    share = ROWS_PER_UNKNOWN * problem.size / max(int((problem.targets.weights > 0.0).sum()), 1)
    size = max(SMALLEST_SAMPLE, round(share * len(items)))
    if size >= len(items):
        return None
    chosen = np.sort(np.random.default_rng(seed).permutation(len(items))[:size])
    part = Problem.of(problem.model, [items[k] for k in chosen], repeats[chosen], settings.weights)
    return Magnified(part, len(items) / size)


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
    reference: FloatArray = np.linalg.lstsq(counts, energies, rcond=None)[0]
    return reference


def moment_polynomials(settings: MmtpSettings, items: Sequence[LabeledFrame]) -> int:
    """Chebyshev polynomials of a moment in a model for `items`; 1 for labels without moments."""
    return settings.moment_polynomials if items[0].configuration.magmoms is not None else 1


def blank_model(settings: MmtpSettings, items: Sequence[LabeledFrame], species: tuple[str, ...]) -> MmtpModel:
    """The form asked for, with ranges from the settings or from the labels, and parameters zero."""
    basis = enumerate_basis(settings.level)
    frames = [item.configuration for item in items]
    n_psi = moment_polynomials(settings, items)
    r_min = settings.r_min
    if r_min is None:
        r_min = radial_start(closest_pair(frames, species, settings.cutoff), settings.cutoff)
    size = (
        len(species) ** 2 * basis.n_mu * settings.n_radial * len(moment_pairs(settings.form, n_psi))
        + basis.n_scalar
        + len(species)
    )
    return MmtpModel(
        species=species,
        form=settings.form,
        level=settings.level,
        cutoff=settings.cutoff,
        r_min=r_min,
        n_phi=settings.n_radial,
        n_psi=n_psi,
        symmetrise=settings.form is Form.PAPER,
        extend=True,
        max_moment=_moment_ranges(settings, items, species),
        basis=basis,
        parameters=np.zeros(size),
        pulay=np.zeros(len(species)),
    )


def _moment_ranges(settings: MmtpSettings, items: Sequence[LabeledFrame], species: tuple[str, ...]) -> FloatArray:
    """(T,) muB, as the settings say or from the labels."""
    found = moment_ranges(largest_moments([item.configuration for item in items], species))
    return np.array([settings.max_moment.get(s, m) for s, m in zip(species, found.tolist(), strict=True)])


def check_start(
    settings: MmtpSettings, model: MmtpModel, species: tuple[str, ...], items: Sequence[LabeledFrame]
) -> None:
    """Refuse a warm start from a potential of another shape.

    Raises
    ------
    InputError
        Naming the setting that differs.
    """
    pairs = {
        "species": (model.species, species),
        "form": (model.form, settings.form),
        "level": (model.level, settings.level),
        "cutoff": (model.cutoff, settings.cutoff),
        "n_radial": (model.n_phi, settings.n_radial),
        "n_psi": (model.n_psi, moment_polynomials(settings, items)),
    }
    for name, (seen, expected) in pairs.items():
        if seen != expected:
            raise InputError(
                f"the warm start differs in {name}", seen=seen, expected=str(expected), hint="start afresh instead"
            )
