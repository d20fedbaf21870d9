"""From a non-magnetic MTP to an mMTP: the same energy written with moments, and what a fit that starts there keeps.

The latter holds as well where the new potential reads no moments either, and its labels are others than those of the
start: spin-polarised ones with free moments after non-magnetic ones.

psi_0 = 1, so the coefficients of the pair (beta, gamma) = (0, 0) are those of a potential that knows no moments. An
mMTP that has them, and zeros for every other pair, gives the energy, forces and stress of the non-magnetic potential
at any moments, and no magnetic forces.

What is held is written in 1, psi_1 - psi_1(0), psi_2 - psi_2(0), ..., which vanish at zero moments but for the first:
even Chebyshev polynomials do not, and with the coefficients of (0, 0) held in them, the surface of the non-magnetic
potential would move all the same. The coefficient of 1 is the sum of c psi_beta(0) psi_gamma(0) over the pairs; the
others are pulled to zero as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import chebyshev
from pydantic import BaseModel, ConfigDict, Field

from magflow.core.types import BoolArray, FloatArray
from magflow.errors import InputError
from magflow.potentials.mmtp.model import Form, MmtpModel, moment_pairs
from magflow.potentials.mmtp.objective import Prior
from magflow.potentials.mmtp.potential import MmtpPotential

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FROZEN = 1e12
"""Factor on the precision of coefficients that are not to move."""


class Hold(StrEnum):
    """What a fit may do with coefficients it took over."""

    FROZEN = "frozen"
    HELD = "held"
    FREE = "free"


class PromotionSettings(BaseModel):
    """How a fit treats the coefficients of the non-magnetic potential it starts from, which learnt from other labels.

    Where the new potential reads moments, moment-free radial coefficients are those of its surface at zero moments:
    where they and the linear ones are frozen, that surface stays but for the energies of free atoms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    radial: Hold = Field(
        default=Hold.HELD,
        description="Moment-free radial coefficients. frozen: they stay; held: the regularisation pulls them to where "
        "they came from; free: it pulls them to zero, as in a fresh fit.",
    )
    linear: Hold = Field(default=Hold.HELD, description="Linear coefficients, the same.")
    strength: float = Field(
        default=1.0, gt=0.0, description="Factor on the regularisation of coefficients that are held."
    )


def promote(
    potential: MmtpPotential, form: Form, n_psi: int, max_moment: Mapping[str, float] | Sequence[float] | FloatArray
) -> MmtpPotential:
    """The mMTP with the energy of a non-magnetic MTP at any moments.

    Parameters
    ----------
    form, n_psi
        Magnetic part of the new potential.
    max_moment
        (T,) muB in the order of its species, or by element.

    Raises
    ------
    InputError
        If the potential reads moments already, the new one would not, or a range is missing or not positive.
    """
    model = potential.model
    if model.magnetic:
        raise InputError("the potential reads moments already", seen=f"n_psi {model.n_psi}", expected="n_psi 1")
    if n_psi < 2:
        raise InputError("the new potential would not read moments", seen=f"n_psi {n_psi}", expected="at least 2")
    ranges = _ranges(model.species, max_moment)
    pairs = moment_pairs(form, n_psi)
    constant = int(np.flatnonzero((pairs == 0).all(axis=1))[0])
    radial = np.zeros((model.n_radial, len(pairs)))
    radial[:, constant] = model.parameters[: model.n_radial]
    return MmtpPotential(
        replace(
            model,
            form=form,
            n_psi=n_psi,
            symmetrise=form is Form.PAPER,
            max_moment=ranges,
            parameters=np.concatenate([radial.ravel(), model.parameters[model.n_radial :]]),
        )
    )


def _ranges(species: tuple[str, ...], given: Mapping[str, float] | Sequence[float] | FloatArray) -> FloatArray:
    if isinstance(given, Mapping):
        missing = [s for s in species if s not in given]
        if missing:
            raise InputError("no range of moments for an element", seen=", ".join(missing))
        given = [given[s] for s in species]
    ranges = np.array(given, dtype=float)
    if ranges.shape != (len(species),) or not (ranges > 0.0).all():
        raise InputError(
            "ranges of moments are not usable", seen=ranges.tolist(), expected="a positive one per element"
        )
    return ranges


def moment_free(model: MmtpModel) -> BoolArray:
    """(n_radial,) the radial coefficients of the pair (0, 0)."""
    return np.tile((model.pairs == 0).all(axis=1), model.n_radial // len(model.pairs))


def hold(prior: Prior, model: MmtpModel, settings: PromotionSettings) -> Prior:
    """The prior of a fit of `model` that keeps what it took over: centred there, as strong as the settings say.

    Energies of free atoms and Pulay constants are centred on what was taken over too; they stay free, because any
    label determines them.
    """
    carried = np.concatenate([model.parameters, model.pulay])
    radial = np.zeros(len(carried), dtype=bool)
    radial[: model.n_radial] = moment_free(model)
    linear = np.zeros(len(carried), dtype=bool)
    linear[model.n_radial : model.n_radial + model.basis.n_scalar] = True
    centre, precision = prior.centre.copy(), prior.precision.copy()
    held_apart = settings.radial is not Hold.FREE and model.magnetic
    rest = slice(model.n_radial + model.basis.n_scalar, None)
    centre[rest] = carried[rest]
    for mine, how in ((radial, settings.radial), (linear, settings.linear)):
        if how is not Hold.FREE:
            centre[mine] = carried[mine]
            precision[mine] *= FROZEN if how is Hold.FROZEN else settings.strength
    return Prior(precision, centre, _at_zero_moments(model, len(carried)) if held_apart else None)


def _at_zero_moments(model: MmtpModel, unknowns: int) -> csr_array:
    """(P, P) the unknowns, with the radial coefficients that are left at zero moments in place of those of (0, 0)."""
    from scipy.sparse import block_diag, csr_array, eye_array  # late: who reads a campaign validates settings alone

    at_zero = chebyshev.chebvander(np.zeros(1), model.n_psi - 1)[0]
    weights = at_zero[model.pairs[:, 0]] * at_zero[model.pairs[:, 1]]
    block = np.eye(len(weights))
    block[np.flatnonzero((model.pairs == 0).all(axis=1))] = weights
    radial = block_diag([block] * (model.n_radial // len(weights)))
    return csr_array(block_diag([radial, eye_array(unknowns - model.n_radial)]))
