"""Tables of phonons: thermodynamic functions, and how moments answer to each other and to the atoms."""

from __future__ import annotations

import numpy as np

from magflow.presentation.blocks import Table
from magflow.presentation.formats import number
from magflow.presentation.sections import TitledTable
from magflow.properties.harmonic import TEMPERATURE, THERMODYNAMICS
from magflow.properties.measurement import SPREAD, Curve, Measurement
from magflow.properties.moment_response import COUPLING, DISTANCE, MOMENTS, STIFFNESS
from magflow.properties.quasi_harmonic import CURVE as QUASI_HARMONIC

EVERY = 100.0
"""K between the rows of a table against temperature."""
SHELLS = 6
"""Of neighbours that a table of moments has, at most."""


def tables(found: Measurement) -> list[TitledTable]:
    """Those of the curves that a measurement has: of phonons, or of the quasi-harmonic approximation."""
    said = []
    for name, title in ((THERMODYNAMICS, "Thermodynamic functions"), (QUASI_HARMONIC, "Quasi-harmonic")):
        if name in found.curves:
            curve = found.curves[name]
            said.append(TitledTable(title, _rows(curve, np.asarray(curve[TEMPERATURE]) % EVERY == 0.0)))
    pairs = {name.removeprefix(MOMENTS): c for name, c in found.curves.items() if name.startswith(MOMENTS)}
    if pairs:
        said.append(TitledTable("Spin stiffness and spin-lattice coupling by shell", _shells(pairs)))
    return said


def _rows(curve: Curve, chosen: np.ndarray) -> Table:
    heads = [head for head in curve if not head.startswith(SPREAD)]
    rows = [[number(float(curve[head][k]), 4) for head in heads] for k in np.flatnonzero(chosen)]
    return Table([head[0].upper() + head[1:] for head in heads], rows, frozenset(range(len(heads))))


def _shells(pairs: dict[str, Curve]) -> Table:
    """One row per pair of elements and distance."""
    heads = (DISTANCE, STIFFNESS, COUPLING)
    rows = [
        [name, *(number(float(curve[head][k]), 4) for head in heads)]
        for name, curve in pairs.items()
        for k in range(min(SHELLS, len(curve[DISTANCE])))
    ]
    return Table(["Moments", *heads], rows, frozenset({1, 2, 3}))
