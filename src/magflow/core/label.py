"""Label: the answer of one calculation for one frame, and the level of theory it was made at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from magflow.core.arrays import digest
from magflow.core.frame import Frame
from magflow.core.moments import is_collinear
from magflow.core.notebook import facts_html
from magflow.core.terms import FailureKind as FailureKind
from magflow.core.terms import LabelKind as LabelKind
from magflow.core.types import BoolArray, FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.errors import InputError

ELECTRONS = "electrons"
"""Key of a label's details: name, with its unit, to a number that tells its electronic structure."""


@dataclass(frozen=True)
class Failure:
    """One failed calculation: its kind and one line a person can act on."""

    kind: FailureKind
    message: str


@dataclass(frozen=True)
class Cost:
    """What a calculation or a training took."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    cores: int = 1

    @property
    def core_hours(self) -> float:
        """Wall time x cores, h."""
        return self.wall_seconds * self.cores / 3600.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.cpu_seconds + other.cpu_seconds,
            self.wall_seconds + other.wall_seconds,
            max(self.cores, other.cores),
        )


@dataclass(frozen=True)
class LevelOfTheory:
    """Everything that must match for two labels to be comparable.

    Parameters
    ----------
    code, version
        ``"abinit"``, ``"9.6.2"``; a model Hamiltonian says so in `code`.
    kind
        The kind of label.
    functional
        ``"PBE"``.
    datasets
        Element to md5 of its pseudopotential or PAW dataset.
    parameters
        Cutoffs, k-points, smearing, constraint radius, ... with the unit in the key where it has one
        (``ecut_ha``). Convergence aids that do not change the answer stay out.

    Examples
    --------
    >>> from magflow import LevelOfTheory
    >>> level = LevelOfTheory("abinit", "9.6.2", "constrained", "PBE", parameters={"ecut_ha": 20.0})
    >>> level.fingerprint
    '39a024a6bcdbdb24'
    """

    code: str
    version: str
    kind: LabelKind
    functional: str
    datasets: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {
            "kind": str(self.kind),
            "datasets": dict(self.datasets),
            "parameters": dict(self.parameters),
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> LevelOfTheory:
        """Inverse of :meth:`as_dict`; keys that start with ``@`` are ignored."""
        known = {k: v for k, v in d.items() if not k.startswith("@")}
        return cls(**(known | {"kind": LabelKind(known["kind"])}))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits."""
        return digest([json.dumps(self.as_dict(), sort_keys=True).encode()], 16)

    def __hash__(self) -> int:
        return hash(self.fingerprint)


_UNITS = {
    "energy": "eV",
    "energy_per_atom": "eV",
    "pressure_gpa": "GPa",
    "force_max": "eV/A",
    "moment_total": "muB",
    "moment_max": "muB",
    "magnetic_force_max": "eV/muB",
}
"""Of :meth:`Label.summary`."""


def label_id(frame_id: str, level_of_theory: LevelOfTheory) -> str:
    """24 hex digits; a label is computed once in the life of a store, whoever asks."""
    return digest([frame_id.encode(), level_of_theory.fingerprint.encode()])


@dataclass(frozen=True, eq=False)
class Label:
    """The answer of one calculation. `failure` is None exactly when the label is usable.

    Parameters
    ----------
    frame_id, orientation
        The frame it was computed for, and that frame's :attr:`Frame.orientation`.
    energy
        eV per cell, force-consistent (free energy), penalty energy excluded.
    forces
        (N, 3) eV/A.
    stress
        (6,) Voigt xx yy zz yz xz xy, eV/A^3, positive in tension.
    magmoms
        (N, 3) muB, achieved. None for a non-magnetic calculation.
    magnetic_forces
        (N, 3) eV/muB, -dE/dm; NaN on atoms that were not constrained. None where undefined.

    Examples
    --------
    >>> import numpy as np
    >>> from magflow import Frame, Label, LevelOfTheory
    >>> frame = Frame(("Fe",), 2.5 * np.eye(3), [[0, 0, 0]], magmoms=[2.2])
    >>> level = LevelOfTheory("abinit", "9.6.2", "constrained", "PBE")
    >>> Label(frame.frame_id, level, energy=-8.1, forces=np.zeros((1, 3)))
    <Label constrained, abinit 9.6.2: -8.1 eV>
    """

    frame_id: str
    level_of_theory: LevelOfTheory
    orientation: int = 1
    energy: float | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    magmoms: FloatArray | None = None
    magnetic_forces: FloatArray | None = None
    failure: Failure | None = None
    cost: Cost = Cost()
    attempts: int = 1
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label_id(self) -> str:
        """See :func:`label_id`."""
        return label_id(self.frame_id, self.level_of_theory)

    def __repr__(self) -> str:
        level = self.level_of_theory
        said = f"{self.energy} eV" if self.failure is None else f"failed, {self.failure.kind}"
        return f"<Label {level.kind}, {level.code} {level.version}: {said}>"

    def _repr_html_(self) -> str:
        level = self.level_of_theory
        facts: dict[str, object] = {"level of theory": f"{level.kind}, {level.code} {level.version} {level.functional}"}
        facts |= {} if self.failure is None else {"failed": f"{self.failure.kind}: {self.failure.message}"}
        facts |= {
            name.replace("_", " "): f"{value:.6g} {_UNITS[name]}"
            for name, value in self.summary().items()
            if value is not None
        }
        facts |= {"cost": f"{self.cost.cpu_seconds:.3g} CPU s", "label_id": self.label_id}
        return facts_html("Label", facts)

    @property
    def ok(self) -> bool:
        """True for a usable label."""
        return self.failure is None

    def summary(self) -> dict[str, float | None]:
        """What a label says in a few numbers, None where it says nothing.

        energy (eV), energy_per_atom (eV), pressure_gpa, force_max (eV/A), moment_total (of the collinear component,
        muB), moment_max (muB), magnetic_force_max (eV/muB).
        """
        n = 0 if self.forces is None else len(self.forces)
        return {
            "energy": self.energy,
            "energy_per_atom": self.energy / n if self.energy is not None and n else None,
            "pressure_gpa": None if self.stress is None else float(-self.stress[:3].mean() * EV_PER_A3_IN_GPA),
            "force_max": _largest(self.forces),
            "moment_total": None if self.magmoms is None else float(self.magmoms[:, 2].sum()),
            "moment_max": _largest(self.magmoms),
            "magnetic_force_max": _largest(self.magnetic_forces),
        }

    def for_frame(self, frame: Frame) -> Label:
        """The same label in the orientation of `frame` (M or -M): moments and magnetic forces may change sign.

        Raises
        ------
        InputError
            If `frame` is another frame.
        """
        if frame.frame_id != self.frame_id:
            raise InputError("label of another frame", seen=self.frame_id, expected=frame.frame_id)
        sign = frame.orientation * self.orientation
        if sign == 1:
            return self
        return Label(
            **{
                **{name: getattr(self, name) for name in self.__dataclass_fields__},
                "orientation": frame.orientation,
                "magmoms": None if self.magmoms is None else -self.magmoms,
                "magnetic_forces": None if self.magnetic_forces is None else -self.magnetic_forces,
            }
        )

    @classmethod
    def failed(
        cls,
        frame: Frame,
        level_of_theory: LevelOfTheory,
        kind: FailureKind,
        message: str,
        *,
        cost: Cost = Cost(),
        attempts: int = 1,
        details: Mapping[str, Any] | None = None,
    ) -> Label:
        """A label that records a failure."""
        return cls(
            frame.frame_id,
            level_of_theory,
            frame.orientation,
            failure=Failure(kind, message),
            cost=cost,
            attempts=attempts,
            details=details or {},
        )


def _largest(vectors: FloatArray | None) -> float | None:
    """The largest norm of (N, 3) vectors, those that are not finite left out."""
    norms = np.zeros(0) if vectors is None else np.linalg.norm(vectors, axis=1)
    return float(np.nanmax(norms)) if np.isfinite(norms).any() else None


AGREEMENT = {"energy": 1e-5, "forces": 1e-3, "stress": 1e-4, "magmoms": 1e-3, "magnetic_forces": 1e-3}
"""How far two labels of one frame may be apart and still be one, in house units. It is
what SCF cycles that end a step apart and files of six digits leave; two k-point meshes differ by more. Energies are
compared per atom."""


def disagreement(a: Label, b: Label, n_atoms: int) -> str | None:
    """What tells two labels of one frame of `n_atoms` apart beyond :data:`AGREEMENT`; None if they are one.

    Both in one orientation. A quantity that only one of them has tells them apart, too.
    """
    for name, tolerance in AGREEMENT.items():
        x, y = getattr(a, name), getattr(b, name)
        if (x is None) != (y is None):
            return f"only one of them has {name}"
        if x is None:
            continue
        off = float(np.nanmax(np.abs(np.subtract(x, y)), initial=0.0))
        if off > tolerance * (n_atoms if name == "energy" else 1):
            return f"{name} {_ends(x, y)}" if name == "energy" else f"{name} by {off:.3g}"
    return None


def _ends(x: float, y: float) -> str:
    return f"{x:.6f} and {y:.6f} eV"


@dataclass(frozen=True, eq=False)
class LabeledFrame:
    """A frame with a usable label in the same orientation.

    Raises
    ------
    InputError
        If the label failed, belongs to another frame, or an array has the wrong shape.

    Examples
    --------
    >>> import numpy as np
    >>> from magflow import Frame, Label, LabeledFrame, LevelOfTheory
    >>> frame = Frame(("Fe",), 2.5 * np.eye(3), [[0, 0, 0]], magmoms=[2.2])
    >>> level = LevelOfTheory("abinit", "9.6.2", "constrained", "PBE")
    >>> LabeledFrame(frame, Label(frame.frame_id, level, energy=-8.1))
    <LabeledFrame Fe1 FM, constrained: -8.1 eV>
    """

    frame: Frame
    label: Label

    def __post_init__(self) -> None:
        if self.label.failure is not None:
            raise InputError(
                "a failed label cannot enter a dataset", where=self.label.label_id, seen=self.label.failure.kind
            )
        label = self.label.for_frame(self.frame)
        n = len(self.frame)
        shapes = {"forces": (n, 3), "stress": (6,), "magmoms": (n, 3), "magnetic_forces": (n, 3)}
        for name, shape in shapes.items():
            array = getattr(label, name)
            if array is not None and np.shape(array) != shape:
                raise InputError(f"label {name} has the wrong shape", seen=np.shape(array), expected=str(shape))
        if label.energy is None or not np.isfinite(label.energy):
            raise InputError("label has no finite energy", where=label.label_id, seen=label.energy)
        object.__setattr__(self, "label", label)

    def __repr__(self) -> str:
        kind = self.label.level_of_theory.kind
        return f"<LabeledFrame {self.frame.formula} {self.frame.ordering}, {kind}: {self.label.energy} eV>"

    def _repr_html_(self) -> str:
        return self.frame._repr_html_() + self.label._repr_html_()

    @property
    def label_id(self) -> str:
        """See :func:`label_id`."""
        return self.label.label_id

    @cached_property
    def configuration(self) -> Frame:
        """The frame with the moments that were achieved: what a potential is fitted on."""
        magmoms = self.label.magmoms
        return self.frame if magmoms is None else self.frame.replace(magmoms=magmoms)

    def components(self, quantity: str) -> FloatArray | None:
        """The labelled components of a predicted quantity, NaN where they do not count; None if there are none.

        Of magnetic forces those count that :attr:`magnetic_force_mask` names.
        """
        values = getattr(self.label, quantity)
        if quantity == "magnetic_forces" and values is not None:
            values = np.where(self.magnetic_force_mask, values, np.nan)
        return None if values is None else np.asarray(values, dtype=float)

    @cached_property
    def magnetic_force_mask(self) -> BoolArray:
        """(N, 3) which components of the magnetic forces are labels.

        A component counts if it is finite; in a collinear configuration only z does: x and y vanish there by
        symmetry and would only dilute an error.
        """
        values = self.label.magnetic_forces
        if values is None:
            return np.zeros((len(self.frame), 3), dtype=bool)
        mask = np.isfinite(values)
        magmoms = self.configuration.magmoms
        if magmoms is not None and is_collinear(magmoms):
            mask[:, :2] = False
        return mask


def ignoring_moments(item: LabeledFrame) -> LabeledFrame:
    """The same label of the atoms alone, for a family that would read moments if there were any."""
    frame = item.frame.non_magnetic()
    bare = replace(item.label, frame_id=frame.frame_id, orientation=1, magmoms=None, magnetic_forces=None)
    return LabeledFrame(frame, bare)
