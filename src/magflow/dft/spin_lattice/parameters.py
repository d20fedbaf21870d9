"""Constants of the spin-lattice model Hamiltonian (a model, not DFT), and the set for Fe-Al."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from magflow.core.types import FloatArray


@dataclass(frozen=True, eq=False)
class SpinLatticeParameters:
    """Constants of :mod:`magflow.dft.spin_lattice.model`; S species.

    Parameters
    ----------
    species
        (S,) chemical symbols, the order of all tables.
    stoner, landau4, landau6
        (S,) I, b, c in eV/muB^2, eV/muB^4, eV/muB^6.
    r0
        (S, S) A, reference distance of the exponentials.
    repulsion, hopping, width
        (S, S) A, xi in eV and w in eV/muB^2.
    repulsion_rate, hopping_rate, width_rate
        (S, S) p, q, k; no unit.
    exchange, exchange_gamma, exchange_length
        (S, S) j in eV/muB^2, gamma, d in A of the Bethe-Slater exchange; symmetric.
    cutoff_start, cutoff_end
        A; the pair functions go to zero between them.
    """

    species: tuple[str, ...]
    stoner: FloatArray
    landau4: FloatArray
    landau6: FloatArray
    r0: FloatArray
    repulsion: FloatArray
    repulsion_rate: FloatArray
    hopping: FloatArray
    hopping_rate: FloatArray
    width: FloatArray
    width_rate: FloatArray
    exchange: FloatArray
    exchange_gamma: FloatArray
    exchange_length: FloatArray
    cutoff_start: float = 4.0
    cutoff_end: float = 5.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()} | {
            "species": list(self.species)
        }

    def scaled(self, name: str, factor: float) -> SpinLatticeParameters:
        """The same set with one table multiplied by `factor`: another, similar model."""
        return replace(self, **{name: getattr(self, name) * factor})


def _symmetric(first: float, mixed: float, second: float) -> FloatArray:
    return np.array([[first, mixed], [mixed, second]])


FE_AL = SpinLatticeParameters(
    species=("Fe", "Al"),
    stoner=np.array([0.8588, 0.148]),
    landau4=np.array([0.02174, 0.05]),
    landau6=np.array([0.0, 0.005]),
    r0=_symmetric(2.48, 2.50, 2.86),
    repulsion=_symmetric(0.1454, 0.2859, 0.0492),
    repulsion_rate=_symmetric(11.346, 10.385, 18.0),
    hopping=_symmetric(1.3227, 1.6587, 0.9953),
    hopping_rate=_symmetric(2.703, 2.689, 1.3055),
    # rows: the atom whose band it is; columns: the neighbour
    width=np.array([[0.1698, 0.2373], [2.306, 0.81]]),
    width_rate=np.array([[0.91, 0.313], [0.3, 0.895]]),
    exchange=_symmetric(0.05, -0.05, 0.0),
    exchange_gamma=_symmetric(0.03, 0.03, 0.0),
    exchange_length=_symmetric(1.218, 2.654, 2.0),
)
"""Fe-Al. Least-squares fit to rounded experimental and DFT properties of bcc Fe (a 2.836 A, moment 2.2 muB,
elastic constants, FM below AFM below NM), B2 FeAl (a 2.884 A, weak Fe moment) and fcc Al: it gives numbers of
the right size, and no more is claimed for it."""


def like_iron(species: tuple[str, ...]) -> SpinLatticeParameters:
    """Every element as if it were iron, of its own size: distances and moments of the right kind for any alloy.

    For what needs a potential in place of an unknown one. Sizes are covalent radii (Cordero et al., Dalton Trans. 2832
    (2008)).
    """
    from ase.data import atomic_numbers, covalent_radii

    radii = np.array([covalent_radii[atomic_numbers[s]] for s in species])
    n, iron = len(species), FE_AL.species.index("Fe")
    tables: dict[str, Any] = {"species": species}
    for name, table in ((f.name, getattr(FE_AL, f.name)) for f in fields(FE_AL)):
        if isinstance(table, np.ndarray):
            tables[name] = np.full((n,) * table.ndim, table[(iron,) * table.ndim])
    tables["r0"] *= (radii[:, None] + radii) / (2.0 * covalent_radii[atomic_numbers["Fe"]])
    return replace(FE_AL, **tables)
