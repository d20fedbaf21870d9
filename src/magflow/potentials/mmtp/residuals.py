"""The weighted least-squares problem of a fit: residual rows of all labels and their Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.moments import is_collinear
from magflow.core.prediction import QUANTITIES
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError
from magflow.potentials.mmtp.geometry import Geometry, build_geometry
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.native import kernel

CHUNK_ROWS = 20_000
"""Jacobian rows held at once."""


class MmtpWeights(BaseModel):
    """What one unit of error of each quantity weighs: the residual of a component is weight x error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    energy: float = Field(default=200.0, ge=0.0, description="Weight of the energy per atom, 1/(eV/atom).")
    forces: float = Field(default=25.0, ge=0.0, description="Weight of a force component, 1/(eV/A).")
    stress: float = Field(default=25.0, ge=0.0, description="Weight of a stress component times V/N, 1/(eV/atom).")
    magnetic_forces: float = Field(default=33.0, ge=0.0, description="Weight of a magnetic force, 1/(eV/muB).")


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels as rows in the kernel's order: per frame E, dE/dr (3N), dE/d(strain) (6), dE/dm (N)."""

    values: FloatArray
    weights: FloatArray
    quantity: IntArray
    unit: FloatArray
    """Factor from a row's error to the house unit the RMSE is reported in (eV/atom, eV/A, eV/A^3, eV/muB)."""


def training_frame(item: LabeledFrame, *, magnetic: bool) -> Frame:
    """The configuration a potential is fitted on; without moments for a non-magnetic potential."""
    return item.configuration if magnetic else item.configuration.non_magnetic()


def build_targets(items: Sequence[LabeledFrame], repeats: IntArray, weights: MmtpWeights, *, magnetic: bool) -> Targets:
    """Rows of `items`; an entry that a label lacks (None or NaN) has weight zero.

    Parameters
    ----------
    repeats
        (n,) how often each item counts.
    """
    values, scales, kinds, units = [], [], [], []
    for item, count in zip(items, repeats, strict=True):
        label, n, volume = item.label, len(item.frame), item.frame.volume
        blocks = (
            (np.array([label.energy], dtype=float), weights.energy / n, 1.0 / n, 1),
            (None if label.forces is None else -label.forces.ravel(), weights.forces, 1.0, 3 * n),
            (None if label.stress is None else volume * label.stress, weights.stress / n, 1.0 / volume, 6),
            (_along_z(label.magnetic_forces) if magnetic else None, weights.magnetic_forces, 1.0, n),
        )
        for kind, (target, weight, unit, size) in enumerate(blocks):
            row = np.full(size, np.nan) if target is None else np.asarray(target, dtype=float)
            known = np.isfinite(row)
            values.append(np.where(known, row, 0.0))
            scales.append(np.where(known, weight * np.sqrt(count), 0.0))
            kinds.append(np.full(size, kind))
            units.append(np.full(size, unit))
    return Targets(*(np.concatenate(x) for x in (values, scales, kinds, units)))


def _along_z(magnetic_forces: FloatArray | None) -> FloatArray | None:
    return None if magnetic_forces is None else -magnetic_forces[:, 2]


def pulay_columns(geometry: Geometry, n_species: int) -> FloatArray:
    """(rows, T) what one unit of each species' Pulay constant adds to a row: its atoms, on the diagonal of the strain.

    A plane-wave code differentiates the energy at a fixed number of plane waves, while energies of several cells are
    compared at a fixed cutoff. The labelled stress is therefore off by an isotropic 2/3 dE/d(ln E_cut) / V
    (Froyen, Cohen, J. Phys. C 19, 2623 (1986)), nearly a constant energy per atom of a species. Without it the
    energies and stresses of one label set contradict each other.
    """
    composition = np.zeros((len(geometry.counts), n_species))
    np.add.at(composition, (geometry.frame, geometry.type), 1.0)
    sizes = 1 + 3 * geometry.counts + 6 + geometry.counts
    frame = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    within = np.arange(len(frame)) - starts[frame]
    first = 1 + 3 * geometry.counts[frame]
    diagonal = (within >= first) & (within < first + 3)
    return np.where(diagonal[:, None], composition[frame], 0.0)


@dataclass(eq=False)
class Problem:
    """Residuals of a set of labels as a function of the parameters of one form.

    ``normal(parameters)`` gives J^T J, J^T r and |r|^2 in one pass, a chunk of frames at a time.
    """

    model: MmtpModel
    geometry: Geometry
    targets: Targets
    pulay: FloatArray
    designs: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        geometries = [self.geometry]
        if self.model.symmetrise and self.model.magnetic:
            geometries.append(self.geometry.reversed())
        self.designs = tuple(kernel().Design(self.model.spec, *g.kernel_arguments) for g in geometries)

    @classmethod
    def of(cls, model: MmtpModel, items: Sequence[LabeledFrame], repeats: IntArray, weights: MmtpWeights) -> Problem:
        """The problem of fitting `model` to `items`."""
        frames = [training_frame(item, magnetic=model.magnetic) for item in items]
        geometry = build_geometry(frames, model.species, model.cutoff, magnetic=model.magnetic)
        targets = build_targets(items, repeats, weights, magnetic=model.magnetic)
        return cls(model, geometry, targets, pulay_columns(geometry, len(model.species)))

    @property
    def size(self) -> int:
        """Number of unknowns: the parameters of the model, then the Pulay constant of each species."""
        return int(self.model.spec.n_parameters) + self.pulay.shape[1]

    @cached_property
    def chunks(self) -> list[tuple[int, int]]:
        """Frames per Jacobian chunk."""
        n = len(self.geometry.counts)
        edges, rows = [0], 0
        for f in range(n):
            size = self.designs[0].row_begin(f + 1) - self.designs[0].row_begin(f)
            if rows and rows + size > CHUNK_ROWS:
                edges.append(f)
                rows = 0
            rows += size
        return list(zip(edges, [*edges[1:], n], strict=True)) if n else []

    def rows(self, parameters: FloatArray, begin: int, end: int, *, derivatives: bool) -> tuple[FloatArray, FloatArray]:
        """Values and weighted Jacobian of the frames ``begin .. end``."""
        design, unknowns = self.designs[0], self.pulay.shape[1]
        parameters, constants = parameters[: len(parameters) - unknowns], parameters[len(parameters) - unknowns :]
        span = slice(design.row_begin(begin), design.row_begin(end))
        weight = self.targets.weights[span]
        values, jacobian = design.jacobian(self.model.spec, parameters, begin, end, weight, derivatives)
        if len(self.designs) == 2:
            v, j = self.designs[1].jacobian(self.model.spec, parameters, begin, end, weight, derivatives)
            sign = np.where(self.targets.quantity[span] == QUANTITIES.index("magnetic_forces"), -0.5, 0.5)
            values = 0.5 * values + sign * v
            if derivatives:
                jacobian *= 0.5
                jacobian += sign[:, None] * j
        values = values + self.pulay[span] @ constants
        if derivatives:
            jacobian = np.concatenate([jacobian, weight[:, None] * self.pulay[span]], axis=1)
        return values, jacobian

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """(rows,) value minus target, not weighted; zero where there is no target."""
        parts = [self.rows(parameters, a, b, derivatives=False)[0] for a, b in self.chunks]
        return (np.concatenate(parts) - self.targets.values) * (self.targets.weights > 0.0)

    def normal(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """J^T J, J^T r and |r|^2, weighted."""
        size = len(parameters)
        jtj, jtr, loss = np.zeros((size, size)), np.zeros(size), 0.0
        for a, b in self.chunks:
            values, jacobian = self.rows(parameters, a, b, derivatives=True)
            span = slice(self.designs[0].row_begin(a), self.designs[0].row_begin(b))
            residual = (values - self.targets.values[span]) * self.targets.weights[span]
            jtj += jacobian.T @ jacobian
            jtr += jacobian.T @ residual
            loss += float(residual @ residual)
        return jtj, jtr, loss

    def loss_and_gradient(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """|r|^2, weighted, and its gradient by the unknowns."""
        _, jtr, loss = self.normal(parameters)
        return loss, 2.0 * jtr

    def loss(self, residuals: FloatArray) -> float:
        """Weighted sum of squares."""
        return float(((residuals * self.targets.weights) ** 2).sum())

    def rmse(self, residuals: FloatArray) -> dict[str, float]:
        """RMSE per quantity in house units (energy per atom), over the components that have a target; repeats count."""
        out = {}
        for kind, name in enumerate(QUANTITIES):
            mine = (self.targets.quantity == kind) & (self.targets.weights > 0.0)
            if mine.any():
                error = (residuals * self.targets.unit)[mine]
                out[name] = float(np.sqrt((error**2).mean()))
        return out


def check_collinear(items: Sequence[LabeledFrame]) -> None:
    """Refuse labels this potential cannot take.

    Raises
    ------
    InputError
        Mixed magnetic and non-magnetic labels, or non-collinear moments.
    """
    with_moments = [item.configuration.magmoms is not None for item in items]
    if any(with_moments) and not all(with_moments):
        raise InputError(
            "labels with and without moments in one fit",
            seen=f"{sum(with_moments)} of {len(items)} have moments",
            expected="all or none",
        )
    for item in items:
        magmoms = item.configuration.magmoms
        if magmoms is not None and not is_collinear(magmoms):
            raise InputError(
                "moments are non-collinear", where=f"label {item.label_id}", expected="moments along z only"
            )
