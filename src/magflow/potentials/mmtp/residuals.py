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
    force_constants: float = Field(
        default=20.0, ge=0.0, description="Weight of a force constant where some are learnt, 1/(eV/A^2)."
    )


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


@dataclass(frozen=True, eq=False)
class RowLayout:
    """Where energy, dE/dr, dE/d(strain) and dE/dm of n frames with N atoms sit among the rows.

    Parameters
    ----------
    begin
        (n + 1,) first row of each frame: its energy.
    positions, strain, moments
        Rows of dE/dr (N, 3), dE/d(strain) (n, 6) and dE/dm (N,).
    """

    begin: IntArray
    positions: IntArray
    strain: IntArray
    moments: IntArray

    @classmethod
    def of(cls, geometry: Geometry) -> RowLayout:
        """The layout of the frames of `geometry`."""
        counts = geometry.counts
        begin = np.concatenate([[0], np.cumsum(4 * counts + 7)])
        within = np.arange(len(geometry.frame)) - geometry.offsets[geometry.frame]
        first = begin[geometry.frame]
        return cls(
            begin,
            (first + 1 + 3 * within)[:, None] + np.arange(3),
            (begin[:-1] + 1 + 3 * counts)[:, None] + np.arange(6),
            first + 7 + 3 * counts[geometry.frame] + within,
        )

    def flat(self, energy: FloatArray, gradient: FloatArray, strain: FloatArray) -> FloatArray:
        """(rows,) of energy (n,), dE/dr and dE/dm (N, 4), dE/d(strain) (n, 6)."""
        out = np.empty(self.begin[-1])
        out[self.begin[:-1]] = energy
        out[self.positions] = gradient[:, :3]
        out[self.strain] = strain
        out[self.moments] = gradient[:, 3]
        return out

    def split(self, rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Inverse of :meth:`flat`."""
        atom = np.concatenate([rows[self.positions], rows[self.moments][:, None]], axis=1)
        return rows[self.begin[:-1]], atom, rows[self.strain]


def pulay_columns(geometry: Geometry, n_species: int) -> FloatArray:
    """(rows, T) what one unit of each species' Pulay constant adds to a row: its atoms, on the diagonal of the strain.

    A plane-wave code differentiates the energy at a fixed number of plane waves, while energies of several cells are
    compared at a fixed cutoff. The labelled stress is therefore off by an isotropic 2/3 dE/d(ln E_cut) / V
    (Froyen, Cohen, J. Phys. C 19, 2623 (1986)), nearly a constant energy per atom of a species. Without it the
    energies and stresses of one label set contradict each other.
    """
    composition = np.zeros((len(geometry.counts), n_species))
    np.add.at(composition, (geometry.frame, geometry.type), 1.0)
    layout = RowLayout.of(geometry)
    columns = np.zeros((layout.begin[-1], n_species))
    columns[layout.strain[:, :3]] = composition[:, None, :]
    return columns


@dataclass(eq=False)
class Problem:
    """Residuals of a set of labels as a function of the parameters of one form.

    ``normal(parameters)`` gives J^T J, J^T r and |r|^2 in one pass, a chunk of frames at a time.
    """

    model: MmtpModel
    geometry: Geometry
    targets: Targets
    pulay: FloatArray
    layout: RowLayout = field(init=False)

    def __post_init__(self) -> None:
        self.layout = RowLayout.of(self.geometry)

    @property
    def signs(self) -> tuple[float, ...]:
        """Of the moments the energy is the mean over."""
        return (1.0, -1.0) if self.model.symmetrise and self.model.magnetic else (1.0,)

    @cached_property
    def designs(self) -> tuple[Any, ...]:
        """The kernel's tables for the Jacobian, one per sign."""
        geometries = [self.geometry, self.geometry.reversed()][: len(self.signs)]
        return tuple(kernel().Design(self.model.spec, *g.design_arguments) for g in geometries)

    @classmethod
    def of(cls, model: MmtpModel, items: Sequence[LabeledFrame], repeats: IntArray, weights: MmtpWeights) -> Problem:
        """The problem of fitting `model` to `items`."""
        frames = [training_frame(item, magnetic=model.magnetic) for item in items]
        geometry = build_geometry(frames, model.species, model.cutoff, magnetic=model.magnetic)
        targets = build_targets(items, repeats, weights, magnetic=model.magnetic)
        return cls(model, geometry, targets, pulay_columns(geometry, len(model.species)))

    @cached_property
    def known(self) -> int:
        """Number of rows that have a target."""
        return int((self.targets.weights > 0.0).sum())

    @property
    def size(self) -> int:
        """Number of unknowns: the parameters of the model, then the Pulay constant of each species."""
        return int(self.model.spec.n_parameters) + int(self.pulay.shape[1])

    @cached_property
    def chunks(self) -> list[tuple[int, int]]:
        """Frames per Jacobian chunk."""
        n = len(self.geometry.counts)
        edges, rows = [0], 0
        for f in range(n):
            size = self.layout.begin[f + 1] - self.layout.begin[f]
            if rows and rows + size > CHUNK_ROWS:
                edges.append(f)
                rows = 0
            rows += size
        return list(zip(edges, [*edges[1:], n], strict=True)) if n else []

    def split(self, unknowns: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Parameters of the model, and the Pulay constants."""
        n = len(unknowns) - self.pulay.shape[1]
        return unknowns[:n], unknowns[n:]

    def rows(self, unknowns: FloatArray, begin: int, end: int) -> tuple[FloatArray, FloatArray]:
        """Values and weighted Jacobian of the frames ``begin .. end``."""
        parameters, constants = self.split(unknowns)
        span = slice(self.layout.begin[begin], self.layout.begin[end])
        weight = self.targets.weights[span]
        values, jacobian = self.designs[0].jacobian(self.model.spec, parameters, begin, end, weight, True)
        if len(self.designs) == 2:
            v, j = self.designs[1].jacobian(self.model.spec, parameters, begin, end, weight, True)
            sign = np.where(self.targets.quantity[span] == QUANTITIES.index("magnetic_forces"), -0.5, 0.5)
            values = 0.5 * values + sign * v
            jacobian *= 0.5
            jacobian += sign[:, None] * j
        values = values + self.pulay[span] @ constants
        return values, np.concatenate([jacobian, weight[:, None] * self.pulay[span]], axis=1)

    def residuals(self, unknowns: FloatArray) -> FloatArray:
        """(rows,) value minus target, not weighted; zero where there is no target."""
        parameters, constants = self.split(unknowns)
        packing = self.geometry.packing(len(self.model.species))
        values = np.zeros(len(self.targets.values))
        for sign in self.signs:
            raw = kernel().evaluate(
                self.model.spec, parameters, packing, self.geometry.moment, self.geometry.vector, sign=sign
            )
            raw["gradient"][:, 3] *= sign
            values += self.layout.flat(self._energies(raw["energy"]), raw["gradient"], raw["virial"])
        values = values / len(self.signs) + self.pulay @ constants
        return (values - self.targets.values) * (self.targets.weights > 0.0)

    def _energies(self, per_atom: FloatArray) -> FloatArray:
        return np.bincount(self.geometry.frame, weights=per_atom, minlength=len(self.geometry.counts)).astype(float)

    def normal(self, unknowns: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """J^T J, J^T r and |r|^2, weighted."""
        size = len(unknowns)
        jtj, jtr, loss = np.zeros((size, size)), np.zeros(size), 0.0
        for a, b in self.chunks:
            values, jacobian = self.rows(unknowns, a, b)
            span = slice(self.layout.begin[a], self.layout.begin[b])
            residual = (values - self.targets.values[span]) * self.targets.weights[span]
            jtj += jacobian.T @ jacobian
            jtr += jacobian.T @ residual
            loss += float(residual @ residual)
        return jtj, jtr, loss

    def loss_and_gradient(self, unknowns: FloatArray) -> tuple[float, FloatArray]:
        """|r|^2, weighted, and its gradient by the unknowns, without a Jacobian."""
        residuals = self.residuals(unknowns)
        return self.loss(residuals), 2.0 * self.pulled_back(unknowns, residuals)

    def pulled_back(self, unknowns: FloatArray, residuals: FloatArray) -> FloatArray:
        """J^T r, both weighted, without a Jacobian; `residuals` come without their weights.

        It is the gradient of one number, sum of (weight^2 r) x row: an energy and a directional derivative of the
        energy, which the kernel differentiates in one sweep forward and one back.
        """
        pull = self.targets.weights**2 * residuals
        energy, atom, strain = self.layout.split(pull / len(self.signs))
        parameters, _ = self.split(unknowns)
        packing = self.geometry.packing(len(self.model.species))
        here = (self.model.spec, parameters, packing, self.geometry.moment, self.geometry.vector)
        slope = np.zeros(len(parameters))
        for sign in self.signs:
            slope += kernel().parameter_gradient(*here, sign, energy, atom, strain)
        return np.concatenate([slope, pull @ self.pulay])

    def loss(self, residuals: FloatArray) -> float:
        """Weighted sum of squares."""
        return float(((residuals * self.targets.weights) ** 2).sum())

    def rmse(self, residuals: FloatArray) -> dict[str, float]:
        """RMSE per quantity in house units (energy per atom), over the components that have a target.

        Each label counts once, however often it is repeated.
        """
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
