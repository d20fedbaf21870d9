"""The same potential in JAX: jit, derivatives by autodiff, blocks of atoms small enough for the cache, one thread.

Sums over neighbours and over radial functions are batched matrix products: XLA compiles those into loops of their
own, where sums over broadcast products were fused with what came before them, computed again and again, and took four
to forty times as long. The contractions are unrolled. Double precision.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

from magflow.potentials.mmtp.geometry import Geometry
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.residuals import Problem
from mmtp_peers.blocks import blocks_of

jax.config.update("jax_enable_x64", True)

BLOCK = 64
"""Atoms per block; 16 and 128 took the same time, 256 twice as long."""


class JaxRoute:
    """One form of the potential, compiled at the first call of each shape."""

    def __init__(self, model: MmtpModel) -> None:
        self.model = model
        self.parameters = jnp.asarray(model.parameters)
        self.evaluate_blocks = jax.jit(self._evaluate_blocks)
        self.loss_blocks = jax.jit(self._loss_blocks)

    def prepare(self, geometry: Geometry) -> tuple[Any, ...]:
        """The neighbour lists in the layout this route takes."""
        blocks = blocks_of(geometry, min(BLOCK, len(geometry.type)), self.model.cutoff)
        parts = (blocks.vector, blocks.moment, blocks.type, blocks.present, blocks.neighbour, blocks.neighbour_type)
        return tuple(jnp.asarray(x) for x in parts)

    def evaluate(self, prepared: tuple[Any, ...]) -> tuple[Any, ...]:
        """Energy of all atoms together, dE/dr of each, dE/d(strain) (3, 3) and dE/dm of each."""
        return jax.block_until_ready(self.evaluate_blocks(self.parameters, *prepared))

    def results(self, prepared: tuple[Any, ...], n: int, volume: float) -> dict[str, np.ndarray]:
        """House quantities of one frame of `n` atoms."""
        energy, gradient, virial, moment = (np.asarray(x) for x in self.evaluate(prepared))
        stress = (virial + virial.T).ravel()[[0, 4, 8, 5, 2, 1]] / (2 * volume)
        return {"energy": energy, "forces": -gradient[:n], "stress": stress, "moment": moment[:n]}

    def loss_and_gradient(self, prepared: tuple[Any, ...], rows: Any, parameters: np.ndarray) -> tuple[float, Any]:
        """The weighted sum of squares of :func:`rows_of`, and its gradient."""
        loss, gradient = self.loss_blocks(jnp.asarray(parameters), *prepared, *rows)
        return float(loss), np.asarray(gradient)

    def _total(self, parameters: Any, vector: Any, own: Any, other: Any, *kinds: Any) -> Any:
        return atom_energies(self.model, parameters, vector, own, other, *kinds)

    def _evaluate_blocks(
        self, parameters: Any, vector: Any, moment: Any, kind: Any, present: Any, neighbour: Any, other_kind: Any
    ) -> tuple[Any, ...]:
        moments = jnp.append(moment.reshape(-1), 0.0)

        def one(x: Any) -> Any:
            v, own, k, real, j, k_j = x

            def energy(*inner: Any) -> Any:
                return (real * self._total(parameters, *inner, k, k_j)).sum()

            return jax.value_and_grad(energy, argnums=(0, 1, 2))(v, own, moments[j])

        energy, (by_vector, by_own, by_other) = jax.lax.map(one, (vector, moment, kind, present, neighbour, other_kind))
        gradient = jnp.moveaxis(by_vector, 1, -1)
        forward = jnp.zeros((moments.size, 3)).at[neighbour.reshape(-1)].add(gradient.reshape(-1, 3))
        by_moment = jnp.append(by_own.reshape(-1), 0.0).at[neighbour.reshape(-1)].add(by_other.reshape(-1))
        own = gradient.sum(axis=2).reshape(-1, 3)
        virial = jnp.einsum("bxkm,bykm->xy", vector, by_vector)
        return energy.sum(), forward[:-1] - own, virial, by_moment[:-1]

    def _loss_blocks(
        self,
        parameters: Any,
        vector: Any,
        moment: Any,
        kind: Any,
        present: Any,
        neighbour: Any,
        other_kind: Any,
        *rows: Any,
    ) -> tuple[Any, Any]:
        """Blocks of whole frames, one after the other: loss and gradient add up."""
        size = moment.shape[1]
        local = jnp.where(neighbour < moment.size, neighbour % size, size)

        def add(total: Any, x: Any) -> Any:
            loss, gradient = self._loss_of_block(parameters, *x)
            return (total[0] + loss, total[1] + gradient), None

        start = (jnp.zeros(()), jnp.zeros_like(parameters))
        return jax.lax.scan(add, start, (vector, moment, kind, local, other_kind, *rows))[0]

    def _loss_of_block(
        self,
        parameters: Any,
        vector: Any,
        moment: Any,
        kind: Any,
        local: Any,
        other_kind: Any,
        target: Any,
        weight: Any,
    ) -> tuple[Any, Any]:
        """The gradient by the parameters of sum_rows residual x value is one more pass in the residuals' direction."""
        n_frames, n = len(target), len(moment) // len(target)
        x = (vector, moment, jnp.append(moment, 0.0)[local])

        def energies(p: Any, *inner: Any) -> Any:
            return self._total(p, *inner, kind, other_kind)

        energy, back = jax.vjp(lambda *inner: energies(parameters, *inner), *x)
        by_vector, by_own, by_other = back(jnp.ones_like(energy))
        pair = jnp.moveaxis(by_vector, 0, -1)
        gradient = jnp.zeros((len(moment) + 1, 3)).at[local].add(pair)[:-1] - pair.sum(axis=1)
        by_moment = jnp.append(by_own, 0.0).at[local].add(by_other)[:-1]
        virial = jnp.einsum("xkm,ykm->kxy", vector, by_vector).reshape(n_frames, n, 9).sum(axis=1)
        virial = 0.5 * (virial + virial.reshape(-1, 3, 3).transpose(0, 2, 1).reshape(-1, 9))[:, VOIGT]
        parts = (energy.reshape(n_frames, n).sum(axis=1, keepdims=True), gradient.reshape(n_frames, -1), virial)
        values = jnp.concatenate([*parts, by_moment.reshape(n_frames, n)], axis=1)
        residual = weight * (values - target)
        along = 2 * weight * residual
        by_energy, shift, strain, turn = jnp.split(along, [1, 1 + 3 * n, 7 + 3 * n], axis=1)
        direction = self._direction(vector, local, shift.reshape(-1, 3), strain, turn.reshape(-1))

        def along_direction(p: Any) -> Any:
            value, change = jax.jvp(lambda *inner: energies(p, *inner), x, direction)
            return (jnp.repeat(by_energy[:, 0], n) * value).sum() + change.sum()

        return (residual**2).sum(), jax.grad(along_direction)(parameters)

    @staticmethod
    def _direction(vector: Any, local: Any, shift: Any, strain: Any, turn: Any) -> tuple[Any, Any, Any]:
        """How pair vectors and moments change when atoms move, frames are strained and moments turn."""
        matrix = 0.5 * (strain[:, FULL] + strain[:, FULL] * jnp.eye(3))
        matrix = jnp.repeat(matrix, len(shift) // len(strain), axis=0)
        moved = jnp.append(shift, jnp.zeros((1, 3)), axis=0)[local] - shift[:, None]
        return (
            jnp.moveaxis(moved, -1, 0) + jnp.einsum("kxy,ykm->xkm", matrix, vector),
            turn,
            jnp.append(turn, 0.0)[local],
        )


VOIGT = np.array([0, 4, 8, 5, 2, 1])
FULL = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def rows_of(problem: Problem, size: int) -> tuple[Any, Any]:
    """Targets and weights (B, frames per block, rows) of frames of one size, for blocks of `size` atoms."""
    per_block = size // int(problem.geometry.counts[0])
    return tuple(
        jnp.asarray(x.reshape(-1, per_block, x.size // len(problem.geometry.counts)))
        for x in (problem.targets.values, problem.targets.weights)
    )


def chebyshev(x: Any, n: int) -> list[Any]:
    """T_0 .. T_{n-1}."""
    values = [jnp.ones_like(x), x]
    while len(values) < n:
        values.append(2 * x * values[-1] - values[-2])
    return values[:n]


def atom_energies(
    model: MmtpModel, parameters: Any, vector: Any, own: Any, other: Any, kind: Any, other_kind: Any
) -> Any:
    """(K,) eV: `vector` (3, K, M), moments `own` (K,) and `other` (K, M), types `kind` (K,) and `other_kind` (K, M)."""
    basis = model.basis
    linear = parameters[model.n_radial : model.n_radial + basis.n_scalar]
    single = parameters[model.n_radial + basis.n_scalar :]
    r = jnp.sqrt((vector**2).sum(axis=0))
    f = radial_functions(model, parameters, r, own, other, kind, other_kind)
    unit = vector / r
    mono, of_basic = basis.monomials
    powers = [jnp.ones_like(r)]
    for parent, axis, _ in mono[1:]:
        powers.append(powers[parent] * unit[axis])
    moments = jnp.einsum("kam,kpm->kap", f, jnp.stack(powers, axis=1)).transpose(1, 2, 0)
    out: dict[int, Any] = {k: moments[mu, p] for k, (mu, p) in enumerate(zip(basis.basic[:, 0], of_basic, strict=True))}
    for (left, right, target), factor in zip(basis.times.tolist(), basis.multiplicity.tolist(), strict=True):
        term = factor * out[left] * out[right]
        out[target] = out[target] + term if target in out else term
    return single[kind] + sum(linear[a] * out[m] for a, m in enumerate(basis.scalar.tolist()))


def radial_functions(
    model: MmtpModel, parameters: Any, r: Any, own: Any, other: Any, kind: Any, other_kind: Any
) -> Any:
    """(K, n_mu, M) f_mu; the coefficients are folded with psi(m_i) of each atom first."""
    n, n_psi = len(model.species), model.n_psi
    middle, half = (model.cutoff + model.r_min) / 2, (model.cutoff - model.r_min) / 2
    step = (model.cutoff - r) ** 2
    phi = jnp.stack([step * p for p in chebyshev((r - middle) / half, model.n_phi)], axis=1)
    psi_i, psi_j = (chebyshev(m / float(model.max_moment[0]), n_psi) for m in (own, other))
    radial = parameters[: model.n_radial].reshape(n, n, model.basis.n_mu, model.n_phi, n_psi, n_psi)
    table = radial.transpose(0, 4, 2, 1, 5, 3).reshape(n * n_psi, -1)
    mine = jnp.stack([jnp.where(kind == z, p, 0.0) for z in range(n) for p in psi_i], axis=1)
    theirs = jnp.stack([jnp.where(other_kind == z, p, 0.0) for z in range(n) for p in psi_j], axis=1)
    folded = (mine @ table).reshape(len(own), model.basis.n_mu, -1)
    return folded @ (theirs[:, :, None] * phi[:, None]).reshape(len(own), -1, r.shape[1])
