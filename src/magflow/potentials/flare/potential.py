"""A trained FLARE behind the Potential protocol."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator
from scipy.linalg import LinAlgError
from threadpoolctl import threadpool_limits

from magflow.core.arrays import DAMAGE, read_archive
from magflow.core.frame import Frame
from magflow.core.moments import GivenMoments
from magflow.core.prediction import QUANTITIES, Prediction
from magflow.core.types import FloatArray
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.potentials.calculator import FrameCalculator
from magflow.potentials.flare.environments import Form
from magflow.potentials.flare.process import Process
from magflow.potentials.flare.settings import Descriptor
from magflow.potentials.flare.sparse import SparseSet
from magflow.potentials.mmtp.leverage import REACH

FORMAT = Mark("FLARE model", "magflow-flare")


@dataclass(frozen=True, eq=False)
class FlarePotential:
    """A sparse Gaussian process on B1, B2 or B3 descriptors.

    Parameters
    ----------
    form
        Of the descriptors.
    process
        On them.
    r_min
        Shortest distance it was fitted on, A.
    """

    form: Form
    process: Process
    r_min: float

    family: ClassVar[str] = "flare"
    magnetic: ClassVar[bool] = False

    @property
    def species(self) -> tuple[str, ...]:
        """Elements it knows."""
        return self.form.species

    @property
    def cutoff(self) -> float:
        """A."""
        return self.form.cutoff

    def predict(self, frames: Sequence[Frame], *, mapped: bool = True) -> Prediction:
        """Energy, forces and stress.

        Parameters
        ----------
        mapped
            By the quadratic form of the descriptors that the process is (:attr:`Process.quadratic`); else by the sum
            over sparse atoms, which is the same number.

        Raises
        ------
        InputError
            Unknown species, atoms closer than 0.5 A.
        MissingToolError
            No mir-flare-core.
        """
        rows = []
        for frame in self.form.environments(frames):
            energy, slope = self.process.atoms(frame, mapped=mapped)
            gradient, strain = frame.pulled(slope)
            rows.append(np.concatenate([[energy.sum()], -gradient.ravel(), strain]))
        return _prediction(frames, rows)

    def atomic_energies(self, frames: Sequence[Frame]) -> FloatArray:
        """(sum N,) eV, each atom's share."""
        return np.concatenate(
            [np.zeros(0), *(self.process.atoms(frame)[0] for frame in self.form.environments(frames))]
        )

    def deviations(self, frames: Sequence[Frame]) -> Prediction:
        """Standard deviation of every predicted number, without the noise of labels.

        DTC (:mod:`magflow.potentials.flare.variance`): what the labels leave undecided, and what they cannot decide
        because no sparse atom is like these.
        """
        with threadpool_limits(limits=1, user_api="blas"):
            variances = [self.process.variances(frame)[1] for frame in self.form.environments(frames)]
        return _prediction(frames, [np.sqrt(v) for v in variances])

    def local_deviations(self, frames: Sequence[Frame]) -> FloatArray:
        """(sum N,) eV, of the energy of each atom: how unlike all sparse atoms it is.

        By this FLARE decides which atoms to learn from: it is known without a label and not lowered by one.
        """
        parts = [np.sqrt(self.process.local_variances(frame)) for frame in self.form.environments(frames)]
        return np.concatenate([np.zeros(0), *parts])

    def grades(self, frames: Sequence[Frame]) -> FloatArray:
        """(n,) the largest deviation of its energy, forces and stress, in units of 5 (forces: 2.5) noise levels."""
        told, found = self.deviations(frames), []
        level = np.where(np.isfinite(self.process.noise), self.process.noise, np.inf) * REACH
        for i, size in enumerate(told.counts):
            one = told.frame(i)
            force = float(np.linalg.norm(one.forces, axis=1).max()) / level[1]
            stress = float(one.stress.max()) * frames[i].volume / size / level[2]
            found.append(max(float(one.energy[0]) / size / level[0], force, stress))
        return np.array(found)

    def descriptors(self, frames: Sequence[Frame]) -> FloatArray:
        """(n, T D) mean descriptor of the atoms of each species, times their share of the atoms."""
        species = range(len(self.species))
        rows = [
            np.concatenate([frame.unit[frame.types == t].sum(axis=0) / len(frame) for t in species])
            for frame in self.form.environments(frames)
        ]
        return np.array(rows).reshape(len(frames), len(self.species) * self.form.size)

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """ASE calculator; moments make no difference."""
        return FrameCalculator(self, moments=moments)

    def to_bytes(self) -> bytes:
        """``.npz``: sparse atoms, coefficients and their precision; no pickle, no label."""
        process, shape = self.process, asdict(self.form)
        header = {"format": str(FORMAT), "form": shape, "power": process.sparse.power, "r_min": self.r_min}
        arrays = {
            "units": np.concatenate(process.sparse.units),
            "atoms": np.array([len(u) for u in process.sparse.units]),
            "coefficients": process.coefficients,
            "root": process.root[np.tril_indices(len(process.root))],
            "signal": np.array(process.signal),
            "noise": process.noise,
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> FlarePotential:
        """Inverse of :meth:`to_bytes`.

        Raises
        ------
        InputError
            If the bytes are no usable model.
        """
        try:
            arrays = read_archive(data)
            header = FORMAT.upgraded(json.loads(str(arrays["header"])))
            form = _form(header["form"])
            return cls(form, _process(form, int(header["power"]), arrays), float(header["r_min"]))
        except (*DAMAGE, LinAlgError) as error:
            raise InputError(
                "not a usable FLARE model", seen=f"{len(data)} bytes: {error}", hint="the file may be damaged"
            ) from error


def _prediction(frames: Sequence[Frame], rows: Sequence[FloatArray]) -> Prediction:
    """Of rows (1 + 3 N + 6,): the energy, numbers per atom, and dE/d(strain) or its deviation."""
    volumes = np.array([frame.volume for frame in frames])
    return Prediction(
        np.array([len(frame) for frame in frames], dtype=np.int64),
        np.array([row[0] for row in rows]),
        np.concatenate([np.zeros((0, 3)), *(row[1:-6].reshape(-1, 3) for row in rows)]),
        np.array([row[-6:] for row in rows]).reshape(-1, 6) / volumes[:, None],
    )


def _form(said: dict[str, Any]) -> Form:
    species = tuple(str(s) for s in said["species"])
    return Form(species, Descriptor(said["descriptor"]), int(said["n_max"]), int(said["l_max"]), float(said["cutoff"]))


def _process(form: Form, power: int, arrays: dict[str, np.ndarray]) -> Process:
    atoms = [int(n) for n in arrays["atoms"]]
    size = len(form.species) + sum(atoms)
    shapes = {
        "units": (sum(atoms), form.size),
        "coefficients": (size,),
        "root": (size * (size + 1) // 2,),
        "signal": (),
        "noise": (len(QUANTITIES),),
    }
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float64 or not (name == "noise" or np.isfinite(array).all()):
            raise ValueError(f"{name} does not belong to it")
    if len(atoms) != len(form.species):
        raise ValueError("sparse atoms of other species")
    root = np.zeros((size, size))
    root[np.tril_indices(size)] = arrays["root"]
    sparse = SparseSet(tuple(np.split(arrays["units"], np.cumsum(atoms)[:-1])), power)
    return Process(sparse, arrays["coefficients"], root, float(arrays["signal"]), arrays["noise"])
