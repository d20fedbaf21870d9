"""Elastic constants from the stresses of strained cells, as pymatgen strains and fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA, tensor
from magflow.explore.relaxation.held import Held
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import MARKERS, SERIES, draw
from magflow.properties.at_rest import decorated
from magflow.properties.base import PointProperty
from magflow.properties.measurement import Curve, Measurement, Moments, Reading, Value
from magflow.properties.subject import Subject, UnmeasurableError

if TYPE_CHECKING:
    from pymatgen.analysis.elasticity import ElasticTensor
    from pymatgen.core import Structure
    from pymatgen.core.tensors import TensorMapping

CURVE = "elastic tensor"
CLAMPED = "clamped moments"
"""``at`` of the constants at the moments of the unstrained crystal, where those above are at relaxed ones."""
FINER = 100.0
"""The tolerances of a relaxation are divided by it: a strain of 0.5 % moves a magnetic force by some meV/muB."""
_DIRECTIONS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class Elastic(PointProperty):
    """Stresses at small strains along the six independent directions, symmetry used; internal atoms at rest.

    With moments at rest in every configuration the constants at clamped moments are given too.
    """

    name: ClassVar[str] = "elastic"
    title: ClassVar[str] = "Elastic constants"
    headline: ClassVar[tuple[str, ...]] = ("C11", "C12", "C44", "C'")

    strain: float = Field(default=0.005, gt=0, le=0.05, description="largest strain")
    points: int = Field(
        default=4, ge=2, le=20, multiple_of=2, description="strains along each direction, of both signs"
    )

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The crystal at rest; strained with its moments kept; the same with moments at rest, where that is wanted."""
        rest = subject.at_rest(finer=FINER)
        strained = [_deformed(rest, x * np.asarray(e)) for e in _directions(decorated(rest)) for x in self._amounts()]
        clamped = subject.all_at_rest(strained, Held.CELL, Held.MOMENTS, finer=FINER)
        if subject.moments is not Moments.RELAXED:
            return [rest, *clamped]
        return [rest, *clamped, *subject.all_at_rest(clamped, Held.CELL, finer=FINER)]

    def _amounts(self) -> FloatArray:
        """(points,) strains of both signs."""
        half = np.linspace(self.strain, 0.0, self.points // 2, endpoint=False)
        return np.concatenate([-half, half[::-1]])

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """Fit the tensor, one for each treatment of the moments."""
        structure = decorated(frames[0])
        directions = _directions(structure)
        n = len(directions) * self.points
        stresses = [tensor(s) for s in points.stress]
        sets = {"": stresses[1 : n + 1]}
        if len(frames) > n + 1:
            sets = {"": stresses[n + 1 :], CLAMPED: stresses[1 : n + 1]}
        tensors = {at: _fitted(directions, self._amounts(), found, structure) for at, found in sets.items()}
        values = [v for at, found in tensors.items() for v in _values(found, structure, at)]
        if not np.isfinite([v.value for v in values]).all():
            raise UnmeasurableError("the stresses give no elastic constants", where=subject.name)
        unstable = [v.at for v in values if v.name == LOWEST and v.value <= 0.0]
        remarks = tuple(f"elastically unstable{f' at {at}' if at else ''}" for at in unstable)
        return Reading(tuple(values), {CURVE: _curve(tensors)}, remarks)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """The constants side by side."""
        shown = [(label, m) for label, m in found if m.values]
        if not shown:
            return []
        names = list(dict.fromkeys(v.name for _, m in shown for v in m.values if v.name != LOWEST))

        def paint(axes: Any) -> None:
            for k, (label, m) in enumerate(shown):
                shift = 0.5 * (k - 0.5 * (len(shown) - 1)) / len(shown)
                for at, filled in (("", True), (CLAMPED, False)):
                    _marks(axes, m, names, at, k, shift, label if filled else f"{label}, {CLAMPED}", filled=filled)
            axes.set_xticks(range(len(names)), [_SHORT.get(n, n) for n in names])
            axes.set_ylabel("GPa")
            axes.legend()

        structure = found[0][1].structure
        caption = f"Elastic constants of {structure}; bars: spread of the ensemble."
        numbers: dict[str, Any] = {"constant": names}
        for label, m in shown:
            for at in (at for at in ("", CLAMPED) if any(v.at == at for v in m.values)):
                column = {v.name: v.value for v in m.values if v.at == at}
                numbers[f"{label}{', ' + at if at else ''} (GPa)"] = [column.get(n, np.nan) for n in names]
        return [plot(draw(5.1, 3.2, paint), f"elastic-{structure}", caption, numbers)]


LOWEST = "lowest eigenvalue"
"""Of the tensor, GPa: a crystal is elastically stable when it is above zero."""
_SHORT = {"bulk modulus": "B", "shear modulus": "G"}


def _deformed(rest: Frame, strain: FloatArray) -> Frame:
    """`rest` strained without rotation; `strain` (3, 3) is that of Green and Lagrange."""
    matrix = _gradient(strain)
    return rest.replace(cell=rest.cell @ matrix.T, positions=rest.positions @ matrix.T)


def _gradient(strain: FloatArray) -> FloatArray:
    """(3, 3) deformation gradient of a strain of Green and Lagrange, symmetric."""
    from pymatgen.analysis.elasticity import Strain

    return np.asarray(Strain(strain).get_deformation_matrix("symmetric"))


def _directions(structure: Structure) -> TensorMapping:
    """The unit strains that symmetry leaves of the six, each with the operations that make the others of it."""
    from pymatgen.analysis.elasticity import Strain
    from pymatgen.core.tensors import Tensor, symmetry_reduce

    return symmetry_reduce([Tensor(Strain.from_index_amount(at, 1.0)) for at in _DIRECTIONS], structure)


def _fitted(
    directions: TensorMapping, amounts: FloatArray, cauchy: Sequence[FloatArray], structure: Structure
) -> ElasticTensor:
    """The tensor, GPa, in the orientation of IEEE Std 176 (for a cubic crystal: axes along the edges of the cube).

    The second Piola-Kirchhoff stress is linear in the strain of Green and Lagrange.

    Parameters
    ----------
    cauchy
        (3, 3) eV/A^3 each, direction by direction.
    """
    from pymatgen.analysis.elasticity import ElasticTensor, Strain, Stress

    pairs = []
    for k, (direction, operations) in enumerate(directions.items()):  # type: ignore[no-untyped-call]
        for amount, found in zip(amounts, cauchy[k * len(amounts) :], strict=False):
            strain = Strain(amount * np.asarray(direction))
            stress = Stress(Stress(found).piola_kirchoff_2(_gradient(strain)))  # type: ignore[no-untyped-call]
            pairs += [(strain, stress), *((strain.transform(op), stress.transform(op)) for op in operations)]
    none = Stress(np.zeros((3, 3)))  # its slope is fitted: any will do
    found = ElasticTensor.from_independent_strains(
        [e for e, _ in pairs], [s for _, s in pairs], eq_stress=none, tol=0.0
    )
    c = np.asarray(found.voigt) * EV_PER_A3_IN_GPA
    return ElasticTensor.from_voigt(0.5 * (c + c.T)).convert_to_ieee(structure, initial_fit=True)


def _values(found: ElasticTensor, structure: Structure, at: str) -> list[Value]:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    c = np.asarray(found.voigt)
    lowest = float(np.linalg.eigvalsh(0.5 * (c + c.T)).min())
    values = [Value("bulk modulus", "GPa", float(found.k_vrh), at=at)]
    if SpacegroupAnalyzer(structure).get_crystal_system() == "cubic":
        cubic = {"C11": c[0, 0], "C12": c[0, 1], "C44": c[3, 3], "C'": 0.5 * (c[0, 0] - c[0, 1])}
        values += [Value(name, "GPa", float(x), at=at) for name, x in cubic.items()]
    else:
        values.append(Value("shear modulus", "GPa", float(found.g_vrh), at=at))
    return [*values, Value(LOWEST, "GPa", lowest, at=at)]


def _curve(tensors: dict[str, ElasticTensor]) -> Curve:
    """Rows of the whole tensor in Voigt form."""
    i, j = np.indices((6, 6))
    columns = {f"C (GPa){', ' + at if at else ''}": np.asarray(c.voigt).ravel() for at, c in tensors.items()}
    rows: dict[str, FloatArray] = {"row": 1.0 + i.ravel().astype(float), "column": 1.0 + j.ravel().astype(float)}
    return rows | columns


def _marks(
    axes: Any, m: Measurement, names: Sequence[str], at: str, k: int, shift: float, label: str, *, filled: bool
) -> None:
    """The constants of one measurement at one treatment of the moments."""
    values = [v for v in m.values if v.at == at and v.name in names]
    if not values:
        return
    colour = SERIES[k % len(SERIES)]
    axes.errorbar(
        [names.index(v.name) + shift + (0.0 if filled else 0.12) for v in values],
        [v.value for v in values],
        yerr=None if values[0].spread is None else [v.spread for v in values],
        linestyle="none",
        marker=MARKERS[k % len(MARKERS)],
        color=colour,
        markerfacecolor=colour if filled else "none",
        capsize=2.0,
        elinewidth=0.8,
        label=label,
    )
