"""Energy and exact derivatives of the spin-lattice model Hamiltonian. It is a model, not DFT.

    E = sum_i [ 1/2 sum_j V(r_ij) - sqrt(rho_i) ]                             lattice
      + sum_i [ (W_i - I_i) m_i^2 + b_i m_i^4 + c_i m_i^6 ]                   Landau
      - 1/2 sum_ij J(r_ij) m_i . m_j                                          exchange

with rho_i = sum_j xi^2 exp(-2 q (r/r0 - 1)) and V = A exp(-p (r/r0 - 1)), the second-moment form of
Cleri and Rosato, Phys. Rev. B 48, 22 (1993); W_i = sqrt(sum_j w^2 exp(-2 k (r/r0 - 1))), a band width
that makes the Landau coefficient depend on volume and neighbours as the Stoner criterion does; and the
Bethe-Slater J(r) = 4 j u (1 - gamma u) exp(-u), u = (r/d)^2, of Tranchida et al., J. Comput. Phys. 372,
406 (2018). The Landau expansion and its use beside Heisenberg exchange follow Ma and Dudarev,
Phys. Rev. B 86, 054416 (2012). Every pair function is multiplied by one C2 cutoff.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.neighbours import NeighborList
from magflow.core.prediction import Prediction
from magflow.core.types import FloatArray, IntArray
from magflow.dft.spin_lattice.parameters import FE_AL, SpinLatticeParameters
from magflow.errors import InputError

_FLOOR = 1e-8
"""eV^2, added under each square root so that an isolated atom has finite derivatives"""

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Directed pairs i -> j of several frames laid one after the other.

    `i`, `j` (P,) atoms; `vectors` (P, 3) A from i to j; `distances` (P,) A.
    """

    i: IntArray
    j: IntArray
    vectors: FloatArray
    distances: FloatArray


def _directed_pairs(frames: Sequence[Frame], offsets: IntArray, cutoff: float) -> _Pairs:
    search = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    firsts, seconds, vectors = [], [], []
    for frame, offset in zip(frames, offsets, strict=False):
        i, j, d = search.compute(points=frame.positions, box=frame.cell, periodic=True, quantities="ijD")
        firsts.append(i.astype(np.int64) + offset)
        seconds.append(j.astype(np.int64) + offset)
        vectors.append(d)
    d = np.concatenate(vectors)
    return _Pairs(np.concatenate(firsts), np.concatenate(seconds), d, np.sqrt(np.einsum("pk,pk->p", d, d)))


def _cutoff(r: FloatArray, start: float, end: float) -> tuple[FloatArray, FloatArray]:
    """Quintic step from 1 at `start` to 0 at `end` (A), first and second derivative zero at both; and its slope."""
    x = np.clip((r - start) / (end - start), 0.0, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x * x), -30.0 * (x * (1.0 - x)) ** 2 / (end - start)


@dataclass(frozen=True, eq=False)
class SpinLatticeModel:
    """The spin-lattice model Hamiltonian of one parameter set. It is a model, not DFT.

    Parameters
    ----------
    parameters
        Its constants; the default describes Fe-Al.
    """

    parameters: SpinLatticeParameters = FE_AL

    @property
    def species(self) -> tuple[str, ...]:
        """Elements it knows."""
        return self.parameters.species

    @property
    def cutoff(self) -> float:
        """A; nothing interacts beyond it."""
        return self.parameters.cutoff_end

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """Energy, forces, stress and magnetic forces of every frame, at its moments (zero where it has none).

        Raises
        ------
        InputError
            If a frame holds an element without parameters.
        """
        counts = np.array([len(f) for f in frames], dtype=np.int64)
        if not counts.size:
            return Prediction(counts, np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)), np.zeros((0, 3)))
        offsets = np.cumsum(counts) - counts
        kinds = self._kinds(frames)
        moments = np.concatenate([np.zeros((len(f), 3)) if f.magmoms is None else f.magmoms for f in frames])
        pairs = _directed_pairs(frames, offsets, self.cutoff)
        atom_energy, slopes, gradient = self._kernel(pairs, kinds, moments)
        along = pairs.vectors * (slopes / pairs.distances)[:, None]  # dE/d(r_j - r_i)
        n = len(kinds)
        forces = np.empty((n, 3))
        for k in range(3):
            forces[:, k] = np.bincount(pairs.i, along[:, k], n) - np.bincount(pairs.j, along[:, k], n)
        owner = np.repeat(np.arange(len(counts)), counts)
        volumes = np.array([f.volume for f in frames])
        stress = np.empty((len(counts), 6))
        for v, (a, b) in enumerate(_VOIGT):
            stress[:, v] = np.bincount(owner[pairs.i], pairs.vectors[:, a] * along[:, b], len(counts)) / volumes
        return Prediction(counts, np.add.reduceat(atom_energy, offsets), forces, stress, -gradient)

    def _kinds(self, frames: Sequence[Frame]) -> IntArray:
        """(sum N,) row of each atom in the parameter tables."""
        rows = {s: k for k, s in enumerate(self.species)}
        unknown = sorted({s for f in frames for s in f.species} - set(rows))
        if unknown:
            raise InputError(
                "the spin-lattice model Hamiltonian has no parameters for an element",
                seen=", ".join(unknown),
                expected="only " + ", ".join(self.species),
            )
        return np.array([rows[s] for f in frames for s in f.species], dtype=np.int64)

    def _kernel(self, pairs: _Pairs, kinds: IntArray, m: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Energy of each atom (N,) eV, dE/dr of each directed pair (P,) eV/A, dE/dm (N, 3) eV/muB."""
        p, i, j, r = self.parameters, pairs.i, pairs.j, pairs.distances
        n, pair = len(kinds), (kinds[i], kinds[j])
        f, df = _cutoff(r, p.cutoff_start, p.cutoff_end)
        r0 = p.r0[pair]

        def exponential(amplitude: FloatArray, rate: FloatArray) -> tuple[FloatArray, FloatArray]:
            value = amplitude[pair] * np.exp(-rate[pair] * (r / r0 - 1.0))
            return value * f, value * (df - f * rate[pair] / r0)

        repulsion, d_repulsion = exponential(p.repulsion, p.repulsion_rate)
        density, d_density = exponential(p.hopping**2, 2.0 * p.hopping_rate)
        band, d_band = exponential(p.width**2, 2.0 * p.width_rate)
        exchange, d_exchange = self._exchange(r, pair, f, df)
        bonding = np.sqrt(np.bincount(i, density, n) + _FLOOR)
        width = np.sqrt(np.bincount(i, band, n) + _FLOOR)

        m2 = np.einsum("ik,ik->i", m, m)
        b, c = p.landau4[kinds], p.landau6[kinds]
        landau = width - p.stoner[kinds]
        m_dot_m = np.einsum("pk,pk->p", m[i], m[j])
        pair_energy = np.bincount(i, 0.5 * (repulsion - exchange * m_dot_m), n)
        energy = pair_energy - bonding + np.sqrt(_FLOOR) + m2 * (landau + m2 * (b + m2 * c))

        slopes = 0.5 * (d_repulsion - d_exchange * m_dot_m) + 0.5 * (
            (m2 / width)[i] * d_band - (1.0 / bonding)[i] * d_density
        )
        gradient = 2.0 * m * (landau + m2 * (2.0 * b + 3.0 * c * m2))[:, None]
        for k in range(3):
            gradient[:, k] -= np.bincount(i, exchange * m[j, k], n)
        return energy, slopes, gradient

    def _exchange(
        self, r: FloatArray, pair: tuple[IntArray, IntArray], f: FloatArray, df: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """J(r) in eV/muB^2 and dJ/dr."""
        p = self.parameters
        strength, gamma, length = p.exchange[pair], p.exchange_gamma[pair], p.exchange_length[pair]
        u = (r / length) ** 2
        decay = 4.0 * strength * np.exp(-u)
        value = decay * u * (1.0 - gamma * u)
        slope = decay * (1.0 - u - gamma * u * (2.0 - u)) * 2.0 * u / r
        return value * f, slope * f + value * df
