"""A trained mMTP behind the Potential protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator
from numpy.typing import ArrayLike

from magflow.core.calibration import Calibration
from magflow.core.dynamics import Motion
from magflow.core.frame import Frame
from magflow.core.hessian import checked_vectors
from magflow.core.moments import GivenMoments
from magflow.core.prediction import Prediction, concatenate
from magflow.core.protocols import Propagator
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.calculator import FrameCalculator
from magflow.potentials.mmtp.dynamics import MmtpPropagator
from magflow.potentials.mmtp.geometry import Geometry, build_geometry
from magflow.potentials.mmtp.grade import active_set_from_arrays
from magflow.potentials.mmtp.leverage import PosteriorDraws
from magflow.potentials.mmtp.model import MmtpModel, decode, encode
from magflow.potentials.mmtp.native import kernel
from magflow.potentials.mmtp.scope import ActiveSet
from magflow.potentials.mmtp.together import not_finite, predict_together

CHUNK = 4096
"""Frames per batch: bounds the memory of the neighbour lists."""
_REVERSAL = np.array([1.0, 1.0, 1.0, -1.0])
"""Signs of dE/dr and of dE/dm under M -> -M."""


@dataclass(frozen=True, eq=False)
class MmtpPotential:
    """One magnetic moment tensor potential, with the active set its fit left.

    Moments beyond the fitted range and atoms closer than ``r_min`` are followed along the tangent of the
    polynomials (:class:`~magflow.potentials.mmtp.model.MmtpModel`), so energies stay smooth; the grade tells.
    Atoms closer than 0.5 A raise InputError.
    """

    family: ClassVar[str] = "mmtp"
    model: MmtpModel
    active: ActiveSet | None = None

    @property
    def species(self) -> tuple[str, ...]:
        """Elements it knows."""
        return self.model.species

    @property
    def cutoff(self) -> float:
        """Neighbour cutoff, A."""
        return self.model.cutoff

    @property
    def magnetic(self) -> bool:
        """Whether it knows moments."""
        return self.model.magnetic

    @property
    def max_moment(self) -> dict[str, float]:
        """Element to the largest moment it was fitted on, muB."""
        return dict(zip(self.species, self.model.max_moment.tolist(), strict=True))

    @property
    def r_min(self) -> float:
        """Shortest distance it was fitted on, A."""
        return self.model.r_min

    def geometry(self, frames: Sequence[Frame]) -> Geometry:
        """Neighbour lists for :meth:`predict_geometry`; can be shared by potentials of one family and cutoff."""
        return build_geometry(frames, self.species, self.cutoff, magnetic=self.magnetic)

    def shares_geometry(self, other: object) -> bool:
        """Whether `other` reads the same :class:`Geometry`."""
        return isinstance(other, MmtpPotential) and (self.species, self.cutoff, self.magnetic) == (
            other.species,
            other.cutoff,
            other.magnetic,
        )

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """Energy, forces, stress and magnetic forces.

        Raises
        ------
        InputError
            Unknown species, missing or non-collinear moments, atoms on top of each other, a prediction that is
            not finite.
        """
        return self.predict_with([self], frames)[0]

    def predict_with(self, members: Sequence[MmtpPotential], frames: Sequence[Frame]) -> list[Prediction]:
        """See :class:`magflow.core.protocols.PredictsTogether`."""
        return predict_together([m.model for m in members], frames)

    def predict_geometry(self, geometry: Geometry) -> Prediction:
        """Prediction from prepared neighbour lists."""
        raw = self.evaluate(geometry)
        n = len(geometry.counts)
        energy = np.bincount(geometry.frame, weights=raw["energy"], minlength=n).astype(float)
        finite = np.isfinite(energy)
        if not finite.all():
            raise not_finite(int(np.argmin(finite)))
        magnetic_forces = None
        if self.magnetic:
            magnetic_forces = np.zeros((len(geometry.type), 3))
            np.negative(raw["gradient"][:, 3], out=magnetic_forces[:, 2])
        return Prediction(
            geometry.counts, energy, -raw["gradient"][:, :3], raw["virial"] / geometry.volumes[:, None], magnetic_forces
        )

    def dynamics_with(
        self, members: Sequence[MmtpPotential], motions: Sequence[Motion], calibration: Calibration
    ) -> Propagator:
        """Molecular dynamics on the mean of `members`, which share their geometry."""
        return MmtpPropagator([m.model for m in members], motions, calibration=calibration)

    def label_stress_offset(self, frames: Sequence[Frame]) -> FloatArray:
        """(n, 6) eV/A^3, what the labels' stress holds beyond dE/d(strain)/V: the Pulay stress of their fixed cutoff.

        `predict` gives the derivative of the energy. Add this before comparing with labelled stresses.
        """
        out = np.zeros((len(frames), 6))
        constants = dict(zip(self.species, self.model.pulay.tolist(), strict=True))
        for row, frame in zip(out, frames, strict=True):
            row[:3] = sum(constants[s] for s in frame.species) / frame.volume
        return out

    def evaluate(
        self, geometry: Geometry, *, parameters: FloatArray | None = None, **options: bool
    ) -> dict[str, FloatArray]:
        """What the kernel says, symmetrised where the energy is.

        Parameters
        ----------
        parameters
            In place of those of the model.
        options
            ``gradients`` (True), ``basis`` (False).

        Returns
        -------
        dict
            ``energy`` (N,) eV; with gradients ``gradient`` (N, 4) dE/dr (eV/A) and dE/dm (eV/muB), ``virial`` (n, 6)
            dE/d(strain) (eV); with basis ``basis`` (N, n_scalar).
        """
        model, packing = self.model, geometry.packing(len(self.species))
        given = model.parameters if parameters is None else parameters
        here = (model.spec, given, packing, geometry.moment, geometry.vector)
        raw: dict[str, FloatArray] = kernel().evaluate(*here, **options)
        if model.symmetrise and self.magnetic:
            flipped = kernel().evaluate(*here, sign=-1.0, **options)
            for name, values in flipped.items():
                raw[name] = 0.5 * (raw[name] + (values * _REVERSAL if name == "gradient" else values))
        return raw

    def hessian_vector_product(self, frame: Frame, vectors: ArrayLike) -> FloatArray:
        """(k, N, 4) products with d2E/d(r, m)2: the kernel of the forces, differentiated along each vector.

        Exact (forward-mode automatic differentiation). The second derivative jumps where a neighbour crosses the cutoff
        and where the tangents beyond the fitted range set in: it is that of the side the atoms are on.
        """
        along = checked_vectors(vectors, len(frame))
        geometry, model = self.geometry([frame]), self.model
        packing = geometry.packing(len(self.species))
        here = (model.spec, model.parameters, packing, geometry.moment, geometry.vector)
        products: FloatArray = kernel().hessian_products(*here, 1.0, along)
        if model.symmetrise and self.magnetic:
            products = 0.5 * (products + kernel().hessian_products(*here, -1.0, along) * _REVERSAL)
        if not np.isfinite(products).all():
            raise InputError("the second derivatives are not finite")
        return products

    def atomic_energies(self, frames: Sequence[Frame]) -> FloatArray:
        """(sum N,) eV, each atom's share."""
        return self.evaluate(self.geometry(frames), gradients=False)["energy"]

    def basis_values(self, geometry: Geometry) -> FloatArray:
        """(sum N, n_scalar) basis functions B_alpha of every atom, symmetrised where the energy is."""
        return self.evaluate(geometry, gradients=False, basis=True)["basis"]

    def descriptors(self, frames: Sequence[Frame]) -> FloatArray:
        """(n, 2 T n_scalar + T) per species: fraction of the atoms, mean and standard deviation of each basis function.

        The same for M and -M, and for a supercell.
        """
        geometry = self.geometry(frames)
        values = self.basis_values(geometry)
        n, width = len(frames), values.shape[1]
        columns = []
        for t in range(len(self.species)):
            mine = geometry.type == t
            count = np.bincount(geometry.frame[mine], minlength=n).astype(float)
            total, square = np.zeros((n, width)), np.zeros((n, width))
            np.add.at(total, geometry.frame[mine], values[mine])
            mean = total / np.maximum(count, 1.0)[:, None]
            np.add.at(square, geometry.frame[mine], (values[mine] - mean[geometry.frame[mine]]) ** 2)
            spread = np.sqrt(square / np.maximum(count, 1.0)[:, None])
            columns += [(count / geometry.counts)[:, None], mean, spread]
        return np.concatenate(columns, axis=1)

    def atom_grades(self, frames: Sequence[Frame]) -> FloatArray:
        """(sum N,) extrapolation grade of every atom, see :mod:`magflow.potentials.mmtp.grade`.

        Raises
        ------
        InputError
            If the potential carries no active set, or one that grades whole frames only.
        """
        return self._active().atom_grades(self, self.geometry(frames))

    def grades(self, frames: Sequence[Frame]) -> FloatArray:
        """(n,) grade of every frame: the largest of its atoms, unless the active set is one of whole frames.

        Raises
        ------
        InputError
            If the potential carries no active set.
        """
        return self.grades_geometry(self.geometry(frames))

    def grades_geometry(self, geometry: Geometry) -> FloatArray:
        """(n,) grades from prepared neighbour lists."""
        return self._active().frame_grades(self, geometry)

    @property
    def graded(self) -> bool:
        """Whether it carries the active set of its fit."""
        return self.active is not None

    def deviations(self, frames: Sequence[Frame]) -> Prediction:
        """See :class:`magflow.core.uncertainty.TellsDeviations`: the posterior of the fit, by its draws.

        Raises
        ------
        InputError
            As :meth:`predict`, or if the potential carries no posterior.
        """
        draws = self._posterior()
        parts = []
        for at in range(0, max(len(frames), 1), CHUNK):
            geometry = self.geometry(frames[at : at + CHUNK])
            energy, gradient, strain = (np.sqrt(draws.noise * v) for v in draws.variances(self, geometry))
            magnetic = None
            if self.magnetic:
                magnetic = np.zeros((len(geometry.type), 3))
                magnetic[:, 2] = gradient[:, 3]
            stress = strain / geometry.volumes[:, None]
            parts.append(Prediction(geometry.counts, energy, gradient[:, :3], stress, magnetic))
        return parts[0] if len(parts) == 1 else concatenate(parts)

    def dynamics_alone(self, motions: Sequence[Motion], calibration: Calibration) -> Propagator:
        """Molecular dynamics with the deviation of the posterior, of models so near that their mean is this one.

        Raises
        ------
        InputError
            As :class:`~magflow.potentials.mmtp.dynamics.MmtpPropagator`, or if the potential carries no posterior.
        """
        models, unit = self._posterior().near(self.model)
        return MmtpPropagator(models, motions, calibration=calibration, unit=unit)

    def _posterior(self) -> PosteriorDraws:
        if not isinstance(self.active, PosteriorDraws) or np.isnan(self.active.noise):
            raise InputError(
                "the potential does not know what its labels left undecided",
                expected="a fit with grade: posterior, by this release",
                hint="fit it again",
            )
        return self.active

    def _active(self) -> ActiveSet:
        if self.active is None:
            raise InputError("the potential carries no active set", hint="fit it, or load one that was fitted")
        return self.active

    def to_bytes(self) -> bytes:
        """``.npz``: model and active set."""
        return encode(self.model, {} if self.active is None else self.active.arrays())

    @classmethod
    def from_bytes(cls, data: bytes) -> MmtpPotential:
        """Inverse of :meth:`to_bytes`.

        Raises
        ------
        InputError
            If the bytes are no usable model.
        """
        model, extra = decode(data)
        return cls(model, active_set_from_arrays(extra, model) if extra else None)

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """ASE calculator at these moments, or at those of the atoms."""
        return FrameCalculator(self, moments=moments)
