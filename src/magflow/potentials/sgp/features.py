r"""The quadratic form of a Gaussian process as a larger contraction basis.

With d_i the basis functions B_alpha of atom i, centred and scaled by w_alpha, the kernel between two environments is
k(i, j) = s^2 (c^2 + d_i . d_j)^2 of scaled d. Such a kernel has finite rank: the process is a linear function with
independent normal coefficients of variance s^2 of the features

    c^2,   sqrt(2) c d_a,   d_a^2,   sqrt(2) d_a d_b (a < b)

summed over atoms. The products are contractions like all others, so they join the basis as two more factors: the
process is an mMTP of a longer basis, evaluated, differentiated and moved by the same kernel, and its Jacobian by the
linear parameters holds the features of every labelled number: energy, dE/dr, dE/d(strain), dE/dm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt

import numpy as np

from magflow.core.types import FloatArray
from magflow.potentials.mmtp.basis import Basis
from magflow.potentials.mmtp.model import MmtpModel

FLOOR = 0.01
"""Weight of a basis function that the linear fit does not use, over the largest."""


def with_products(model: MmtpModel) -> MmtpModel:
    """`model` with all products of two basis functions as further ones, their coefficients zero."""
    basis, n = model.basis, model.basis.n_scalar
    first, second = np.triu_indices(n)
    begin = 1 + max(len(basis.basic) - 1, int(basis.times[:, 2].max(initial=0)))
    out = begin + np.arange(len(first))
    products = np.stack([basis.scalar[first], basis.scalar[second], out], axis=1)
    longer = Basis(
        basis.basic,
        np.concatenate([basis.times, products]).astype(np.int32),
        np.concatenate([basis.multiplicity, np.ones(len(first))]),
        np.concatenate([basis.scalar, out]).astype(np.int32),
    )
    split = model.n_radial + n
    parameters = np.concatenate([model.parameters[:split], np.zeros(len(first)), model.parameters[split:]])
    return replace(model, basis=longer, parameters=parameters)


def without_products(model: MmtpModel, parameters: FloatArray) -> MmtpModel:
    """The model that :func:`with_products` was given, with the `parameters` it had."""
    n = linear_size(model.basis.n_scalar)
    pairs = model.basis.n_scalar - n
    basis = Basis(
        model.basis.basic,
        model.basis.times[: len(model.basis.times) - pairs],
        model.basis.multiplicity[: len(model.basis.times) - pairs],
        model.basis.scalar[:n],
    )
    return replace(model, basis=basis, parameters=parameters)


def linear_size(scalars: int) -> int:
    """The n for which n + n (n + 1) / 2 is `scalars`."""
    return (isqrt(9 + 8 * scalars) - 3) // 2


@dataclass(frozen=True, eq=False)
class Scaling:
    """Centre and weight of every basis function, and the constant of the kernel.

    Parameters
    ----------
    centre, weight
        (n,) of B_alpha.
    constant
        c.
    """

    centre: FloatArray
    weight: FloatArray
    constant: float

    @classmethod
    def of(cls, values: FloatArray, linear: FloatArray, constant: float) -> Scaling:
        """From basis functions `values` (N, n) of the training atoms and their `linear` coefficients in the mMTP.

        What moves the energy more weighs more, by the square root; the mean |d|^2 is one.
        """
        centre, spread = values.mean(axis=0), values.std(axis=0)
        moved = np.sqrt(np.abs(linear) * spread)
        size = moved + FLOOR * max(float(moved.max(initial=0.0)), 1e-12)
        moves = spread > 1e-12 * np.maximum(np.abs(centre), 1e-300)
        weight = np.where(moves, size / np.where(moves, spread, 1.0), 0.0)
        length = np.sqrt((((values - centre) * weight) ** 2).sum(axis=1).mean())
        return cls(centre, weight / max(float(length), 1e-300), constant)

    @cached_property
    def matrix(self) -> FloatArray:
        """(1 + P, P) from coefficients of the features, the first left out, to those of 1, of B and of the products."""
        n = len(self.centre)
        first, second = np.triu_indices(n)
        own = np.where(first == second, 1.0, np.sqrt(2.0)) * self.weight[first] * self.weight[second]
        pairs = np.arange(len(first))
        out = np.zeros((1 + n + len(first), n + len(first)))
        slope = np.sqrt(2.0) * self.constant * self.weight
        out[1 + np.arange(n), np.arange(n)] = slope
        out[0, :n] = -slope * self.centre
        out[1 + n + pairs, n + pairs] = own
        np.add.at(out, (1 + first, n + pairs), -own * self.centre[second])
        np.add.at(out, (1 + second, n + pairs), -own * self.centre[first])
        out[0, n:] = own * self.centre[first] * self.centre[second]
        return out
