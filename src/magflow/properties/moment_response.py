"""How moments answer to each other and to the atoms: the moment blocks of the Hessian, in values and columns.

Derivatives are by the lengths of the moments, so that they are the same for M and -M and alike on both sublattices of
an antiferromagnet.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from magflow.core.frame import Frame
from magflow.core.hessian import Hessian
from magflow.core.moments import collinear
from magflow.core.types import FloatArray
from magflow.properties.measurement import Curve, Reading, Value

DISTANCE, STIFFNESS, COUPLING = "distance (A)", "E_mm (eV/muB^2)", "E_rm along the bond (eV/(A muB))"
MOMENTS = "moments "
"""Curves are called by the elements of a pair: ``moments Fe-Al``, and ``, antiparallel`` where they are."""
STIFFNESS_OF = "local spin stiffness"
LEAST = "least spin stiffness"
SHELL = 1e-3
"""A; neighbours no further apart than this are one shell."""


def response_of(frame: Frame, found: Hessian, atoms: Iterable[int]) -> Reading:
    """Local spin stiffness and spin-lattice coupling of some atoms of a perfect supercell, averaged by shell.

    Values: d2E/dm_i^2 by element and the least eigenvalue of E_mm, eV/muB^2. Curves, one for each pair of elements and
    relative direction of their moments: d2E/dm_i dm_j, and d2E/dr_i dm_j along the bond from i to j, eV/(A muB).
    """
    up = np.where(collinear(np.zeros((len(frame), 3)) if frame.magmoms is None else frame.magmoms) < 0.0, -1.0, 1.0)
    stiffness = found.stiffness * np.outer(up, up)
    coupling = found.coupling.reshape(len(frame), 3, len(frame)) * up
    local: dict[str, list[float]] = {}
    pairs: dict[str, list[tuple[float, float, float]]] = {}
    for i in atoms:
        local.setdefault(frame.species[i], []).append(stiffness[i, i])
        bonds = _bonds(frame, i)
        for j in range(len(frame)):
            if i == j:
                continue
            distance = float(np.linalg.norm(bonds[j]))
            name = f"{MOMENTS}{frame.species[i]}-{frame.species[j]}" + ("" if up[i] == up[j] else ", antiparallel")
            along = float(coupling[i, :, j] @ bonds[j]) / distance
            pairs.setdefault(name, []).append((distance, float(stiffness[i, j]), along))
    values = [Value(STIFFNESS_OF, "eV/muB^2", float(np.mean(of)), at=element) for element, of in local.items()]
    values.append(Value(LEAST, "eV/muB^2", float(np.linalg.eigvalsh(stiffness)[0])))
    return Reading(tuple(values), {name: _shells(np.array(rows)) for name, rows in pairs.items()})


def _bonds(frame: Frame, i: int) -> FloatArray:
    """(N, 3) A, from atom i to the nearest image of each."""
    from ase.geometry import find_mic

    bonds: FloatArray = find_mic(frame.positions - frame.positions[i], frame.cell, pbc=True)[0]
    return bonds


def _shells(rows: FloatArray) -> Curve:
    """Means over the rows of one distance."""
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    shell = np.concatenate([[0], np.cumsum(np.diff(rows[:, 0]) > SHELL)])
    count = np.bincount(shell)
    means = [np.bincount(shell, weights=column) / count for column in rows.T]
    return dict(zip((DISTANCE, STIFFNESS, COUPLING), means, strict=True))
