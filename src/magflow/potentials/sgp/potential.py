"""A trained Gaussian process behind the Potential protocol."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.linalg import solve_triangular

from magflow.core.arrays import DAMAGE, read_archive
from magflow.core.frame import Frame
from magflow.core.prediction import QUANTITIES, Prediction, concatenate
from magflow.core.types import FloatArray
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.potentials.mmtp.geometry import Geometry
from magflow.potentials.mmtp.leverage import DRAWS, REACH, PosteriorDraws
from magflow.potentials.mmtp.model import MmtpModel, decode, encode
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.residuals import Problem, Targets, pulay_columns
from magflow.potentials.mmtp.scope import Graded, Scope
from magflow.potentials.sgp.features import Scaling, linear_size, without_products

FORMAT = Mark("SGP model", "magflow-sgp")
FRAMES = 256
"""Frames whose neighbour lists are held at once for their variances."""


@dataclass(frozen=True, eq=False)
class Process:
    """What a fit knows beside the mean: how precisely the labels decide the coefficients.

    Parameters
    ----------
    scaling
        From basis functions to features.
    root
        (C, C) lower triangular L: L L^T is the precision of the coefficients, of species, features and Pulay constants.
    noise
        (4,) standard deviations of the labels, eV/atom, eV/A, eV/atom (stress times volume per atom), eV/muB; NaN of a
        quantity that none held.
    start
        Parameters of the mMTP that gave the radial functions, for a fit that starts from this one.
    """

    scaling: Scaling
    root: FloatArray
    noise: FloatArray
    start: FloatArray
    scope = Scope.POSTERIOR

    def variances(self, model: MmtpModel, geometry: Geometry) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n,) of the energies, (N, 4) of dE/dr and dE/dm, (n, 6) of dE/d(strain): exact, without the labels' noise."""
        size = int(4 * len(geometry.type) + 7 * len(geometry.counts))
        whole = Targets(np.zeros(size), np.ones(size), np.zeros(size, dtype=np.int64), np.ones(size))
        problem = Problem(model, geometry, whole, pulay_columns(geometry, len(model.species)))
        unknowns = np.concatenate([model.parameters, model.pulay])
        parts = [self._of_rows(model, problem.rows(unknowns, a, b)[1]) for a, b in problem.chunks]
        return problem.layout.split(np.concatenate(parts) if parts else np.zeros(0))

    def _of_rows(self, model: MmtpModel, jacobian: FloatArray) -> FloatArray:
        features = feature_rows(model, self.scaling, jacobian)
        features[:, -len(model.species) :] = 0.0  # the Pulay constants are no part of the energy
        whitened = solve_triangular(self.root, features.T, lower=True, check_finite=False)
        return np.asarray((whitened**2).sum(axis=0))

    def _grades(self, potential: Graded, geometry: Geometry) -> tuple[FloatArray, FloatArray]:
        """(N,) of atoms and (n,) of frames: deviations over noises, in units of :data:`REACH`."""
        energy, atom, strain = self.variances(potential.model, geometry)
        level = np.where(np.isfinite(self.noise), self.noise, np.inf) * REACH
        atoms = np.stack([atom[:, :3].sum(axis=1) / level[1] ** 2, atom[:, 3] / level[3] ** 2], axis=1)
        squares = np.concatenate([energy[:, None] / level[0] ** 2, strain / level[2] ** 2], axis=1)
        return np.sqrt(atoms.max(axis=1, initial=0.0)), np.sqrt(squares.max(axis=1, initial=0.0)) / geometry.counts

    def draws(self, model: MmtpModel) -> PosteriorDraws:
        """Deviations of the parameters of `model`, whose scatter is about the deviation of what it predicts."""
        types, whitened = len(model.species), np.random.default_rng(0).normal(size=(len(self.root), DRAWS))
        off = solve_triangular(self.root, whitened, lower=True, trans="T").T
        raw = off[:, types:-types] @ self.scaling.matrix.T
        radial = np.zeros((DRAWS, model.n_radial))
        directions = np.concatenate([radial, raw[:, 1:], off[:, :types] + raw[:, :1]], axis=1)
        weights = np.where(np.isfinite(self.noise), 1.0 / self.noise, 0.0)
        return PosteriorDraws(np.ascontiguousarray(directions), weights, 1.0)

    def atom_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(sum N,) grade of every atom: of its force and its magnetic force."""
        return self._grades(potential, geometry)[0]

    def frame_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(n,) grade of every frame: the largest of its atoms, its energy and its stress."""
        atoms, frames = self._grades(potential, geometry)
        return np.maximum(np.maximum.reduceat(atoms, geometry.offsets[:-1]), frames) if len(frames) else frames

    def arrays(self) -> dict[str, np.ndarray]:
        """For the file; of the root its lower triangle."""
        return {
            "centre": self.scaling.centre,
            "weight": self.scaling.weight,
            "constant": np.array(self.scaling.constant),
            "root": self.root[np.tril_indices(len(self.root))],
            "noise": self.noise,
            "start": self.start,
        }


def feature_rows(model: MmtpModel, scaling: Scaling, jacobian: FloatArray) -> FloatArray:
    """(R, C) derivatives by the coefficients of species, features and Pulay constants.

    Parameters
    ----------
    jacobian
        (R, U) by the parameters of `model`, which has products, and its Pulay constants.
    """
    begin, n, types = model.n_radial, model.basis.n_scalar, len(model.species)
    by_species = jacobian[:, begin + n : begin + n + types]
    raw = np.concatenate([by_species.sum(axis=1, keepdims=True), jacobian[:, begin : begin + n]], axis=1)
    return np.concatenate([by_species, raw @ scaling.matrix, jacobian[:, begin + n + types :]], axis=1)


def with_coefficients(model: MmtpModel, scaling: Scaling, coefficients: FloatArray) -> MmtpModel:
    """`model` with the parameters that coefficients of species, features and Pulay constants stand for."""
    types = len(model.species)
    species, features, pulay = coefficients[:types], coefficients[types:-types], coefficients[-types:]
    raw = scaling.matrix @ features
    parameters = np.concatenate([model.parameters[: model.n_radial], raw[1:], species + raw[0]])
    return replace(model, parameters=parameters, pulay=np.ascontiguousarray(pulay))


@dataclass(frozen=True, eq=False)
class SgpPotential(MmtpPotential):
    """A Gaussian process on the descriptors of an mMTP: its mean is an mMTP of a longer basis, evaluated as one."""

    family: ClassVar[str] = "sgp"

    @property
    def process(self) -> Process:
        """What it knows beside its mean."""
        if not isinstance(self.active, Process):
            raise InputError("the potential carries no variance")
        return self.active

    @cached_property
    def start(self) -> MmtpPotential:
        """The mMTP that gave the radial functions."""
        return MmtpPotential(without_products(self.model, self.process.start))

    def deviations(self, frames: Sequence[Frame]) -> Prediction:
        """Standard deviation of every predicted number: what the labels leave undecided of the coefficients, exactly.

        The radial functions count as known, and the noise of labels is no part of it: raw numbers are too small by a
        factor that new labels tell.
        """
        parts = [self._deviations(frames[at : at + FRAMES]) for at in range(0, max(len(frames), 1), FRAMES)]
        return parts[0] if len(parts) == 1 else concatenate(parts)

    def _deviations(self, frames: Sequence[Frame]) -> Prediction:
        geometry = self.geometry(frames)
        energy, atom, strain = (np.sqrt(v) for v in self.process.variances(self.model, geometry))
        magnetic = np.zeros((len(atom), 3))
        magnetic[:, 2] = atom[:, 3]
        stress = strain / geometry.volumes[:, None]
        return Prediction(geometry.counts, energy, atom[:, :3], stress, magnetic if self.magnetic else None)

    def _posterior(self) -> PosteriorDraws:
        """Few draws, whose scatter molecular dynamics can follow at every step."""
        return self.process.draws(self.model)

    def basis_values(self, geometry: Geometry) -> FloatArray:
        """(sum N, n) basis functions of the descriptors alone: products say nothing new of a frame."""
        return super().basis_values(geometry)[:, : linear_size(self.model.basis.n_scalar)]

    def to_bytes(self) -> bytes:
        """``.npz``: the model, the precision of its coefficients and the mMTP it stands on; no pickle."""
        buffer, mean = io.BytesIO(), np.frombuffer(encode(self.model, {}), dtype=np.uint8)
        header = np.array(json.dumps({"format": str(FORMAT)}))
        np.savez_compressed(buffer, allow_pickle=False, header=header, mean=mean, **self.process.arrays())
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> SgpPotential:
        """Inverse of :meth:`to_bytes`.

        Raises
        ------
        InputError
            If the bytes are no usable model.
        """
        try:
            arrays = read_archive(data)
            FORMAT.upgraded(json.loads(str(arrays["header"])))
            model, _ = decode(arrays["mean"].tobytes())
            process = _process(model, arrays)
        except DAMAGE as error:
            raise InputError(
                "not a usable SGP model", seen=f"{len(data)} bytes: {error}", hint="the file may be damaged"
            ) from error
        return cls(model, process)


def _process(model: MmtpModel, arrays: dict[str, np.ndarray]) -> Process:
    n, types = linear_size(model.basis.n_scalar), len(model.species)
    size = model.basis.n_scalar + 2 * types
    shapes = {"centre": (n,), "weight": (n,), "constant": (), "noise": (len(QUANTITIES),)}
    shapes |= {"root": (size * (size + 1) // 2,), "start": (model.n_radial + n + types,)}
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float64 or not (name == "noise" or np.isfinite(array).all()):
            raise ValueError(f"{name} does not belong to it")
    root = np.zeros((size, size))
    root[np.tril_indices(size)] = arrays["root"]
    scaling = Scaling(arrays["centre"], arrays["weight"], float(arrays["constant"]))
    return Process(scaling, root, arrays["noise"], arrays["start"])
