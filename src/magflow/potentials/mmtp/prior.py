"""Where a fit starts and what it is pulled towards.

The unknowns of a fit are the parameters of the model (radial, linear, species) and one Pulay constant per species
(:func:`magflow.potentials.mmtp.residuals.pulay_columns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.core.types import FloatArray
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.objective import LeastSquares, Prior
from magflow.potentials.mmtp.settings import MmtpSettings

START_SPREAD, START_DECAY, START_MAGNETIC = 0.3, 0.6, 0.2
"""Random radial coefficients: size of the first, factor per degree, factor of the magnetic ones."""
FREE = 1e-6
"""Precision of unknowns the labels determine by themselves."""


def with_unknowns(model: MmtpModel, unknowns: FloatArray) -> MmtpModel:
    """The model with the unknowns of a fit put in their places."""
    n = len(model.parameters)
    return replace(model, parameters=np.ascontiguousarray(unknowns[:n]), pulay=np.ascontiguousarray(unknowns[n:]))


def magnetic_scale(items: Sequence[LabeledFrame], model: MmtpModel) -> FloatArray:
    """(T,) how much energy the moments of each species move, relative to the species they move most.

    rms magnetic force x largest moment. A species whose moments are tiny and stiff (Al beside Fe) gets a small
    number; 1 for a species without labelled magnetic forces.
    """
    scale = np.ones(len(model.species))
    known = [(item.frame.species, f[:, 2]) for item in items if (f := item.label.magnetic_forces) is not None]
    if known:
        forces = np.concatenate([along for _, along in known])
        symbols = np.concatenate([np.array(species) for species, _ in known])
        for t, symbol in enumerate(model.species):
            mine = forces[(symbols == symbol) & np.isfinite(forces)]
            energy = float(np.sqrt((mine**2).mean())) * model.max_moment[t] if mine.size else 0.0
            scale[t] = energy if energy > 0.0 else np.nan
        scale = scale / np.nanmax(scale) if np.isfinite(scale).any() else np.ones(len(scale))
    return np.where(np.isfinite(scale), np.clip(scale, 1e-3, 1.0), 1.0)


def radial_degrees(model: MmtpModel) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Degree in the distance and in the moments of every radial coefficient, and the shape of their array."""
    n = len(model.species)
    shape = (n, n, model.basis.n_mu, model.n_phi, len(model.pairs))
    zeta = np.broadcast_to(np.arange(model.n_phi, dtype=float)[:, None], shape)
    magnetic = np.broadcast_to(model.pairs.sum(axis=1).astype(float), shape)
    return zeta.ravel(), magnetic.ravel(), shape


def radial_size(model: MmtpModel, magnetic: FloatArray) -> FloatArray:
    """(n_radial,) natural size of the radial coefficients: a radial function of order one at r_min, times the
    `magnetic` scale of the species whose moment enters.
    """
    _, _, shape = radial_degrees(model)
    beta, gamma = (model.pairs[:, k] > 0 for k in (0, 1))
    factor = np.where(beta, magnetic[:, None, None, None, None], 1.0) * np.where(
        gamma, magnetic[None, :, None, None, None], 1.0
    )
    return np.broadcast_to(factor, shape).ravel() / (model.cutoff - model.r_min) ** 2


def prior_and_starts(
    settings: MmtpSettings,
    model: MmtpModel,
    problem: LeastSquares,
    energies: FloatArray,
    magnetic: FloatArray,
    *,
    seed: int,
    warm: bool,
) -> tuple[Prior, list[FloatArray]]:
    """Gaussian prior, and first values of the unknowns to choose from.

    The prior holds radial coefficients near zero in units of :func:`radial_size`, more strongly for higher
    polynomials, and linear coefficients in units of what their basis function does to the rows. A fresh fit has
    ``settings.starts`` starts of random radial functions, each with the linear least squares for everything else.

    Parameters
    ----------
    problem
        Least squares of `model`.
    energies
        (T,) eV, energy reference of each species.
    magnetic
        (T,) see :func:`magnetic_scale`.
    warm
        Go on from the parameters of `model` instead.
    """
    zeta, degree, _ = radial_degrees(model)
    size = radial_size(model, magnetic)
    radial, linear = slice(0, model.n_radial), slice(model.n_radial, model.n_radial + model.basis.n_scalar)
    unknowns = len(model.parameters) + len(model.pulay)
    centre = np.zeros(unknowns)
    centre[linear.stop : len(model.parameters)] = energies

    def fresh(seed: int) -> FloatArray:
        start = centre.copy()
        start[radial] = np.random.default_rng(seed).normal(size=model.n_radial) * spread * size
        return start

    spread = START_SPREAD * START_DECAY**zeta * np.where(degree > 0, START_MAGNETIC, 1.0)
    # The prior is that of the first fresh start, of all starts and of a warm one: one objective for them all.
    first = fresh(seed)
    jtj, jtr, _ = problem.normal(first)
    precision = np.full(unknowns, FREE)
    precision[radial] = (
        settings.radial_ridge / size**2 * settings.radial_growth**zeta * settings.magnetic_growth**degree
    )
    scale = np.diag(jtj)[linear]
    precision[linear] = settings.linear_ridge * scale + 1e-12 * max(float(scale.max()), 1.0)
    prior = Prior(precision, centre)
    if warm:
        return prior, [np.concatenate([model.parameters, model.pulay])]
    rest = slice(linear.start, unknowns)

    def solved(start: FloatArray, jtj: FloatArray, jtr: FloatArray) -> FloatArray:
        start[rest] -= np.linalg.solve(jtj[rest, rest] + np.diag(precision[rest]), jtr[rest])
        return start

    others = [fresh(int(s)) for s in np.random.SeedSequence([seed, 1]).generate_state(settings.starts - 1)]
    return prior, [solved(first, jtj, jtr), *(solved(start, *problem.normal(start)[:2]) for start in others)]
