"""The same potential in numba: blocks of atoms of one type side by side, derivatives by hand, one thread.

Neighbours are sorted by type and filled up to the longest list of the block, so that coefficients are the same for all
its atoms; loops over them are innermost, for LLVM to vectorise. Double precision.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from magflow.potentials.mmtp.geometry import Geometry
from magflow.potentials.mmtp.model import MmtpModel

LANES = 64
"""Most atoms in a block; 8 took 2.4 times as long, 256 as long."""
fast = nb.njit(fastmath=True, error_model="numpy", forceinline=True)


class Spec(NamedTuple):
    """The potential. `radial` is c[z_i, z_j, mu, gamma, zeta, beta]."""

    cutoff: float
    r_min: float
    largest: float
    radial: np.ndarray
    mono: np.ndarray
    mono_of: np.ndarray
    mu_of: np.ndarray
    times: np.ndarray
    weights: np.ndarray
    scalar: np.ndarray
    linear: np.ndarray
    single: np.ndarray


class Lists(NamedTuple):
    """Blocks: atoms (-1 for none), type, first slot of each type, and of each slot neighbours (-1) and vectors, A."""

    atoms: np.ndarray
    kinds: np.ndarray
    begin: np.ndarray
    other: np.ndarray
    vectors: np.ndarray


class Work(NamedTuple):
    """Of one block, all with the lanes last; `c`, `dc` are folded with psi(m_i) and its derivative.

    `f` is f_mu and its derivatives by r, m_j and m_i of each slot, `unit` the unit vector and 1/r.
    """

    own: np.ndarray
    down: np.ndarray
    psi: np.ndarray
    dpsi: np.ndarray
    phi: np.ndarray
    dphi: np.ndarray
    c: np.ndarray
    dc: np.ndarray
    power: np.ndarray
    back: np.ndarray
    f: np.ndarray
    unit: np.ndarray
    value: np.ndarray
    adjoint: np.ndarray
    lane: np.ndarray


class NumbaRoute:
    """One form of the potential, compiled at the first call."""

    def __init__(self, model: MmtpModel) -> None:
        basis, n = model.basis, len(model.species)
        mono, of_basic = basis.monomials
        radial = model.parameters[: model.n_radial].reshape(n, n, basis.n_mu, model.n_phi, model.n_psi, model.n_psi)
        rest = model.parameters[model.n_radial :]
        self.spec = Spec(
            model.cutoff,
            model.r_min,
            float(model.max_moment[0]),
            np.ascontiguousarray(radial.transpose(0, 1, 2, 5, 3, 4)),
            np.ascontiguousarray(mono.astype(np.int64)),
            of_basic.astype(np.int64),
            basis.basic[:, 0].astype(np.int64),
            basis.times.astype(np.int64),
            basis.multiplicity,
            basis.scalar.astype(np.int64),
            rest[: basis.n_scalar].copy(),
            rest[basis.n_scalar :].copy(),
        )

    def prepare(self, geometry: Geometry) -> tuple[Any, ...]:
        """The neighbour lists in the layout this route takes."""
        order = np.argsort(geometry.type, kind="stable")
        lanes = min(LANES, -(-int(np.bincount(geometry.type).max()) // 8) * 8)
        lists = (geometry.type, geometry.first, geometry.neighbour, geometry.vector)
        return Lists(*pack(order, *lists, len(self.spec.single), self.spec.cutoff, lanes)), geometry.moment

    def evaluate(self, prepared: tuple[Any, ...]) -> tuple[Any, ...]:
        """Energy and virial of all atoms together, dE/dr and dE/dm of each."""
        return evaluate(self.spec, *prepared)

    def results(self, prepared: tuple[Any, ...], n: int, volume: float) -> dict[str, np.ndarray]:
        """House quantities of one frame of `n` atoms."""
        energy, virial, gradient, moment = self.evaluate(prepared)
        stress = (virial + virial.T).ravel()[[0, 4, 8, 5, 2, 1]] / (2 * volume)
        return {"energy": energy, "forces": -gradient[:n], "stress": stress, "moment": moment[:n]}


@fast
def pack(order, types, first, neighbour, vector, n_types, cutoff, lanes):
    """The arrays of :class:`Lists`."""
    atoms = np.full((len(order) + lanes * n_types, lanes), -1, dtype=np.int64)
    n_blocks, lane, last = 0, lanes, -1
    for i in order:
        if lane == lanes or types[i] != last:
            n_blocks, lane, last = n_blocks + 1, 0, types[i]
        atoms[n_blocks - 1, lane] = i
        lane += 1
    begin = np.zeros((n_blocks, n_types + 1), dtype=np.int64)
    counts, end = np.zeros(n_types, dtype=np.int64), 0
    for b in range(n_blocks):
        for i in atoms[b]:
            if i >= 0:
                counts[:] = 0
                for k in range(first[i], first[i + 1]):
                    counts[types[neighbour[k]]] += 1
                for t in range(n_types):
                    begin[b, t + 1] = max(begin[b, t + 1], counts[t])
        begin[b, 0] = end
        for t in range(n_types):
            begin[b, t + 1] += begin[b, t]
        end = begin[b, n_types]
    other = np.full((end, lanes), -1, dtype=np.int64)
    vectors = np.zeros((end, 3, lanes))
    vectors[:, 0] = cutoff
    for b in range(n_blocks):
        for lane in range(lanes):
            i = atoms[b, lane]
            if i >= 0:
                counts[:] = begin[b, :n_types]
                for k in range(first[i], first[i + 1]):
                    slot = counts[types[neighbour[k]]]
                    counts[types[neighbour[k]]] += 1
                    other[slot, lane] = neighbour[k]
                    for x in range(3):
                        vectors[slot, x, lane] = vector[k, x]
    kinds = np.array([types[atoms[b, 0]] for b in range(n_blocks)])
    return atoms[:n_blocks], kinds, begin, other, vectors


@fast
def workspace(spec, lists):
    """Uninitialised arrays for the largest block."""
    n_types, _, n_mu, n_psi, n_phi, _ = spec.radial.shape
    lanes, widest = lists.atoms.shape[1], (lists.begin[:, n_types] - lists.begin[:, 0]).max()
    n_moments = max(len(spec.mu_of), spec.times[:, 2].max() + 1)
    return Work(
        np.empty((n_psi, lanes)),
        np.empty((n_psi, lanes)),
        np.empty((n_psi, lanes)),
        np.empty((n_psi, lanes)),
        np.empty((n_phi, lanes)),
        np.empty((n_phi, lanes)),
        np.empty((n_types, n_mu, n_psi, n_phi, lanes)),
        np.empty((n_types, n_mu, n_psi, n_phi, lanes)),
        np.empty((len(spec.mono), lanes)),
        np.empty((len(spec.mono), lanes)),
        np.empty((widest, 4, n_mu, lanes)),
        np.empty((widest, 4, lanes)),
        np.empty((n_moments, lanes)),
        np.empty((n_moments, lanes)),
        np.empty((4, lanes)),
    )


@fast
def evaluate(spec, lists, moment):
    """Energy, virial, dE/dr and dE/dm."""
    work = workspace(spec, lists)
    energy, virial = 0.0, np.zeros((3, 3))
    gradient, by_moment = np.zeros((len(moment), 3)), np.zeros(len(moment))
    n_types = len(spec.single)
    for b in range(len(lists.kinds)):
        own, start = lists.atoms[b], lists.begin[b, 0]
        fold(spec, work, lists.kinds[b], own, moment)
        work.value[:] = 0.0
        for z in range(n_types):
            for slot in range(lists.begin[b, z], lists.begin[b, z + 1]):
                unit, f = work.unit[slot - start], work.f[slot - start]
                radial(spec, work, z, lists.vectors[slot], lists.other[slot], moment, unit, f)
                monomials(spec.mono, unit, work.power)
                for k in range(len(spec.mu_of)):
                    mu, m = spec.mu_of[k], spec.mono_of[k]
                    for i in range(len(own)):
                        work.value[k, i] += f[0, mu, i] * work.power[m, i]
        contract(spec, work.value, work.adjoint)
        for i in range(len(own)):
            if own[i] >= 0:
                energy += spec.single[lists.kinds[b]]
                for a in range(len(spec.scalar)):
                    energy += spec.linear[a] * work.value[spec.scalar[a], i]
        for slot in range(start, lists.begin[b, n_types]):
            unit, f = work.unit[slot - start], work.f[slot - start]
            back_to_radial(spec, work, unit, f)
            back_to_pair(spec.mono, work, unit)
            scatter(work, lists.vectors[slot], own, lists.other[slot], gradient, virial, by_moment)
    return energy, virial, gradient, by_moment


@fast
def polynomials(x, scale, values, slopes):
    """Chebyshev polynomials of `x` and their derivatives times `scale`."""
    for i in range(len(x)):
        values[0, i], slopes[0, i] = 1.0, 0.0
    if len(values) > 1:
        for i in range(len(x)):
            values[1, i], slopes[1, i] = x[i], scale
    for k in range(2, len(values)):
        for i in range(len(x)):
            values[k, i] = 2 * x[i] * values[k - 1, i] - values[k - 2, i]
            slopes[k, i] = 2 * (x[i] * slopes[k - 1, i] + scale * values[k - 1, i]) - slopes[k - 2, i]


@fast
def fold(spec, work, z, own, moment):
    """Coefficients of every atom of the block, and their derivatives by its moment."""
    n_types, n_mu, n_psi, n_phi, lanes = work.c.shape
    x = work.lane[0]
    for i in range(lanes):
        x[i] = moment[own[i]] / spec.largest if own[i] >= 0 else 0.0
    polynomials(x, 1.0 / spec.largest, work.own, work.down)
    for z_j in range(n_types):
        for mu in range(n_mu):
            for g in range(n_psi):
                for k in range(n_phi):
                    c, dc = work.c[z_j, mu, g, k], work.dc[z_j, mu, g, k]
                    c[:] = 0.0
                    dc[:] = 0.0
                    for p in range(n_psi):
                        w = spec.radial[z, z_j, mu, g, k, p]
                        for i in range(lanes):
                            c[i] += w * work.own[p, i]
                            dc[i] += w * work.down[p, i]


@fast
def radial(spec, work, z, vector, other, moment, unit, f):
    """Unit vectors and f_mu of one slot, with derivatives."""
    middle, half = (spec.cutoff + spec.r_min) / 2, (spec.cutoff - spec.r_min) / 2
    x, step, t = work.lane[0], work.lane[1], work.lane
    for i in range(len(other)):
        r = np.sqrt(vector[0, i] ** 2 + vector[1, i] ** 2 + vector[2, i] ** 2)
        unit[3, i] = 1.0 / r
        step[i] = spec.cutoff - r
        x[i] = (r - middle) / half
    for a in range(3):
        for i in range(len(other)):
            unit[a, i] = vector[a, i] * unit[3, i]
    polynomials(x, 1.0 / half, work.phi, work.dphi)
    for k in range(len(work.phi)):
        for i in range(len(other)):
            work.dphi[k, i] = step[i] * (step[i] * work.dphi[k, i] - 2 * work.phi[k, i])
            work.phi[k, i] *= step[i] * step[i]
    for i in range(len(other)):
        x[i] = moment[other[i]] / spec.largest if other[i] >= 0 else 0.0
    polynomials(x, 1.0 / spec.largest, work.psi, work.dpsi)
    f[:] = 0.0
    for mu in range(f.shape[1]):
        for g in range(len(work.psi)):
            t[:3] = 0.0
            for k in range(len(work.phi)):
                for i in range(len(other)):
                    t[0, i] += work.c[z, mu, g, k, i] * work.phi[k, i]
                    t[1, i] += work.c[z, mu, g, k, i] * work.dphi[k, i]
                    t[2, i] += work.dc[z, mu, g, k, i] * work.phi[k, i]
            for i in range(len(other)):
                f[0, mu, i] += work.psi[g, i] * t[0, i]
                f[1, mu, i] += work.psi[g, i] * t[1, i]
                f[2, mu, i] += work.dpsi[g, i] * t[0, i]
                f[3, mu, i] += work.psi[g, i] * t[2, i]


@fast
def monomials(mono, unit, power):
    """Products of the components of the unit vector, each an earlier one times a component."""
    power[0] = 1.0
    for k in range(1, len(mono)):
        parent, axis = mono[k, 0], mono[k, 1]
        for i in range(power.shape[1]):
            power[k, i] = power[parent, i] * unit[axis, i]


@fast
def contract(spec, value, adjoint):
    """Derived moments from the basic ones, and dE/d(moment) of each."""
    for k in range(len(spec.times)):
        left, right, out, w = spec.times[k, 0], spec.times[k, 1], spec.times[k, 2], spec.weights[k]
        for i in range(value.shape[1]):
            value[out, i] += w * value[left, i] * value[right, i]
    adjoint[:] = 0.0
    for a in range(len(spec.scalar)):
        for i in range(value.shape[1]):
            adjoint[spec.scalar[a], i] += spec.linear[a]
    for k in range(len(spec.times) - 1, -1, -1):
        left, right, out, w = spec.times[k, 0], spec.times[k, 1], spec.times[k, 2], spec.weights[k]
        for i in range(value.shape[1]):
            down = w * adjoint[out, i]
            adjoint[left, i] += down * value[right, i]
            adjoint[right, i] += down * value[left, i]


@fast
def back_to_radial(spec, work, unit, f):
    """dE/dr, dE/dm_j and dE/dm_i of a slot through f_mu (lane[0..2]), and dE/d(monomial)."""
    monomials(spec.mono, unit, work.power)
    work.back[:] = 0.0
    work.lane[:3] = 0.0
    by_f = work.lane[3]
    for mu in range(f.shape[1]):
        by_f[:] = 0.0
        for k in range(len(spec.mu_of)):
            if spec.mu_of[k] == mu:
                m = spec.mono_of[k]
                for i in range(len(by_f)):
                    by_f[i] += work.adjoint[k, i] * work.power[m, i]
                    work.back[m, i] += work.adjoint[k, i] * f[0, mu, i]
        for x in range(3):
            for i in range(len(by_f)):
                work.lane[x, i] += by_f[i] * f[x + 1, mu, i]


@fast
def back_to_pair(mono, work, unit):
    """dE/d(vector) of a slot, into the first three rows of `back`."""
    back, power, along = work.back, work.power, work.lane[0]
    by_unit = np.zeros((3, len(along)))
    for k in range(len(mono) - 1, 0, -1):
        parent, axis = mono[k, 0], mono[k, 1]
        for i in range(len(along)):
            by_unit[axis, i] += back[k, i] * power[parent, i]
            back[parent, i] += back[k, i] * unit[axis, i]
    for i in range(len(along)):
        inner = by_unit[0, i] * unit[0, i] + by_unit[1, i] * unit[1, i] + by_unit[2, i] * unit[2, i]
        along[i] -= inner * unit[3, i]
    for a in range(3):
        for i in range(len(along)):
            back[a, i] = by_unit[a, i] * unit[3, i] + along[i] * unit[a, i]


@fast
def scatter(work, vector, own, other, gradient, virial, by_moment):
    """Give a slot's derivatives to its atoms."""
    for i in range(len(own)):
        if other[i] >= 0:
            for a in range(3):
                gradient[other[i], a] += work.back[a, i]
                gradient[own[i], a] -= work.back[a, i]
                for e in range(3):
                    virial[a, e] += work.back[a, i] * vector[e, i]
            by_moment[other[i]] += work.lane[1, i]
            by_moment[own[i]] += work.lane[2, i]
