"""Derivatives of each atom's energy by every parameter of the potential.

With the neighbour density S[i, a, k] = sum_j u_ij^a q_k(r_ij, z_j, m_j) (a: monomial of the direction, k: neighbour
type, zeta and gamma) the moments of atom i are c(z_i, m_i) S, linear in the radial coefficients. One sweep back
through the products of :class:`~magflow.potentials.mmtp.basis.Basis` gives dE_i/dM, and dE_i/dc = dE_i/dM S^T.
All steps run over a block of atoms at once.
"""

from __future__ import annotations

import numpy as np

from magflow.core.types import FloatArray
from magflow.potentials.mmtp.geometry import Geometry
from magflow.potentials.mmtp.model import MmtpModel

BLOCK = 1024
"""Atoms per block: bounds the memory of the padded neighbour arrays."""


def parameter_rows(model: MmtpModel, geometry: Geometry, begin: int = 0, end: int | None = None) -> FloatArray:
    """(end - begin, n_parameters) dE_i/d(parameter) of the atoms begin .. end.

    Symmetrised where the energy is.
    """
    end = len(geometry.type) if end is None else end
    views = [geometry]
    if model.symmetrise and model.magnetic:
        views.append(geometry.reversed())
    out = np.zeros((end - begin, model.spec.n_parameters))
    for a in range(begin, end, BLOCK):
        atoms = np.arange(a, min(a + BLOCK, end))
        for view in views:
            out[atoms - begin] += _block(model, view, atoms) / len(views)
    return out


def _block(model: MmtpModel, geometry: Geometry, atoms: np.ndarray) -> FloatArray:
    n, basis, n_pairs = len(atoms), model.basis, len(model.pairs)
    n_types, n_mu, n_phi, n_psi = len(model.species), basis.n_mu, model.n_phi, model.n_psi
    _, mono_of = basis.monomials
    types = geometry.type[atoms]
    density = _density(model, geometry, atoms)
    own = _chebyshev(_reduced(model, geometry.moment[atoms], types), n_psi, model.extend)
    own = own[:, model.pairs[:, 0]]
    radial = model.parameters[: model.n_radial].reshape(n_types, n_types, n_mu, n_phi, n_pairs)
    linear = model.parameters[model.n_radial : model.n_radial + basis.n_scalar]
    to_gamma = np.eye(n_psi)[model.pairs[:, 1]]
    c = np.einsum("ntmzp,np,pg->nmtzg", radial[types], own, to_gamma, optimize=True).reshape(n, n_mu, -1)
    basic = np.matmul(c, density.transpose(0, 2, 1))[:, basis.basic[:, 0], mono_of]
    values, adjoint = _sweep(model, basic.T, linear)
    by_moment = np.zeros((n, n_mu, density.shape[1]))
    by_moment[:, basis.basic[:, 0], mono_of] = adjoint.T
    by_c = np.matmul(by_moment, density).reshape(n, n_mu, n_types, n_phi, n_psi)

    rows = np.zeros((n, model.spec.n_parameters))
    block = rows[:, : model.n_radial].reshape(n, n_types, n_types, n_mu, n_phi, n_pairs)
    block[np.arange(n), types] = np.einsum("nmtzp,np->ntmzp", by_c[..., model.pairs[:, 1]], own)
    rows[:, model.n_radial : model.n_radial + basis.n_scalar] = values.T
    rows[np.arange(n), model.n_radial + basis.n_scalar + types] = 1.0
    return rows


def _density(model: MmtpModel, geometry: Geometry, atoms: np.ndarray) -> FloatArray:
    """(n, n_mono, T n_phi n_psi) S of the module's docstring."""
    first, last = geometry.first[atoms], geometry.first[atoms + 1]
    slots = np.arange(max(int((last - first).max(initial=0)), 1))
    at = first[:, None] + slots
    real = at < last[:, None]
    if not len(geometry.vector):
        return np.zeros((len(atoms), len(model.basis.monomials[0]), len(model.species) * model.n_phi * model.n_psi))
    at = np.where(real, at, 0)
    vector, neighbour = geometry.vector[at], geometry.neighbour[at]
    distance = np.sqrt((vector**2).sum(axis=-1))
    unit = vector / distance[..., None]
    middle, half = 0.5 * (model.cutoff + model.r_min), 0.5 * (model.cutoff - model.r_min)
    phi = _chebyshev((distance - middle) / half, model.n_phi, model.extend)
    phi *= np.where(real & (distance < model.cutoff), (model.cutoff - distance) ** 2, 0.0)[..., None]
    types = geometry.type[neighbour]
    psi = _chebyshev(_reduced(model, geometry.moment[neighbour], types), model.n_psi, model.extend)
    kind = np.eye(len(model.species))[types]
    weights = np.einsum("njt,njz,njg->njtzg", kind, phi, psi, optimize=True).reshape(*at.shape, -1)
    table, _ = model.basis.monomials
    directions = np.ones((len(atoms), len(table), len(slots)))
    for k, (parent, axis, _) in enumerate(table[1:], start=1):
        directions[:, k] = directions[:, parent] * unit[:, :, axis]
    gathered: FloatArray = np.matmul(directions, weights)
    return gathered


def _sweep(model: MmtpModel, basic: FloatArray, linear: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n_scalar, n) basis functions and (n_basic, n) dE/d(basic moment) from the basic moments (n_basic, n)."""
    basis = model.basis
    values = np.zeros((model.spec.n_moments, basic.shape[1]))
    values[: len(basic)] = basic
    adjoint = np.zeros_like(values)
    np.add.at(adjoint, basis.scalar, linear[:, None])
    products = list(zip(basis.times.tolist(), basis.multiplicity.tolist(), strict=True))
    for (left, right, out), weight in products:
        values[out] += weight * values[left] * values[right]
    for (left, right, out), weight in reversed(products):
        back = weight * adjoint[out]
        adjoint[left] += back * values[right]
        adjoint[right] += back * values[left]
    return values[basis.scalar], adjoint[: len(basic)]


def _reduced(model: MmtpModel, moments: FloatArray, types: np.ndarray) -> FloatArray:
    return moments / model.max_moment[types] if model.magnetic else np.zeros_like(moments)


def _chebyshev(x: FloatArray, n: int, extend: bool) -> FloatArray:
    """(..., n) T_0 .. T_{n-1} at x; with `extend` along the tangent beyond [-1, 1]."""
    inside = np.clip(x, -1.0, 1.0) if extend else x
    value: FloatArray = np.polynomial.chebyshev.chebvander(inside, n - 1).astype(float, copy=False)
    if extend:
        # dT_k/dx = k U_{k-1}: at +-1 it is k^2 (+-1)^(k-1).
        k = np.arange(n)
        value += (x - inside)[..., None] * k**2 * np.sign(inside)[..., None] ** np.maximum(k - 1, 0)
    return value
