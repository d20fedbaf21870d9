"""What was measured of one structure on one potential: values with unit and errors, the curves, the trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

from magflow.core.arrays import decode_arrays, encode_arrays
from magflow.core.frame import Frame, frames_from_arrays, frames_to_arrays
from magflow.core.types import FloatArray
from magflow.core.versions import Mark, known_fields


class Group(StrEnum):
    """What a property depends on; potentials are judged by group."""

    STATIC = "static"
    """Local: energies, lattice parameters, densities, elastic constants, force constants."""
    DYNAMIC = "dynamic"
    """Collective: viscosity, diffusion, melting."""
    STABILITY = "stability"
    """Whether the potential holds at all."""


class Moments(StrEnum):
    """What became of the moments while a property was measured."""

    NOT_READ = "not-read"
    """The potential reads none."""
    FIXED = "fixed"
    """They kept the values they were given."""
    RELAXED = "relaxed"
    """They were at rest in every configuration, or relaxed again and again along a run."""
    RELAXED_ONCE = "relaxed-once"
    """They were brought to rest in the first configuration and kept from there on."""


@dataclass(frozen=True)
class Value:
    """One number.

    Parameters
    ----------
    name
        Of the quantity, e.g. ``a0``, ``C11``, ``viscosity``.
    unit
        As it is printed; empty for a pure number.
    value
        The number.
    error
        Statistical error, one standard deviation; None: there is none (a value at 0 K).
    spread
        Standard deviation of the number over the members of the ensemble; None: not known.
    temperature
        K; None: at rest.
    at
        What else tells it apart: ``(110)``, ``x = 0.25``.
    """

    name: str
    unit: str
    value: float
    error: float | None = None
    spread: float | None = None
    temperature: float | None = None
    at: str = ""

    @property
    def key(self) -> tuple[str, float | None, str]:
        """Tells it apart from the other values of a measurement."""
        return self.name, self.temperature, self.at

    @property
    def uncertainty(self) -> float | None:
        """Error and spread together; None if neither is known."""
        known = [x for x in (self.error, self.spread) if x is not None]
        return float(np.hypot.reduce(known)) if known else None


Curve = Mapping[str, FloatArray]
"""Columns of equal length; heads carry the unit: ``volume (A^3/atom)``."""


@dataclass(frozen=True)
class Reading:
    """Values, curves and remarks as they come out of an analysis.

    Parameters
    ----------
    arrays
        What is too large for a measurement, and goes into files beside it.
    """

    values: tuple[Value, ...]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    arrays: Mapping[str, FloatArray] = field(default_factory=dict)

    def __add__(self, other: Reading) -> Reading:
        return Reading(
            (*self.values, *other.values),
            {**self.curves, **other.curves},
            (*self.remarks, *other.remarks),
            {**self.arrays, **other.arrays},
        )


@dataclass(frozen=True, eq=False)
class Measurement:
    """One property of one structure on one potential.

    Parameters
    ----------
    property, group
        What was measured.
    structure, formula, space_group
        Name, reduced formula and number of the space group (moments left aside) of the structure it was asked of.
    magnetic_state
        Ordering of the structure: ``FM``, ``AFM``, ``NM``...
    moments
        What became of the moments.
    values, curves
        The numbers, and the curves they come from by name.
    atoms
        Of the largest cell that was computed.
    picoseconds
        Of molecular dynamics, all runs together.
    outside
        Share of the configurations that lie outside the training domain; None: the family does not tell.
    failure
        Why there is no result; values may be there nevertheless. A potential that explodes is a result.
    remarks
        What else is to be known.
    frames
        Sound configurations worth a label: the last ones before a run left what the potential knows.
    settings
        Of the property, JSON-ready.
    cpu_seconds
        Spent.
    """

    form: ClassVar[Mark] = Mark("measurement", "magflow-measurement")

    property: str
    group: Group
    structure: str
    formula: str
    space_group: int
    magnetic_state: str
    moments: Moments
    values: tuple[Value, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)
    atoms: int = 0
    picoseconds: float = 0.0
    outside: float | None = None
    failure: str = ""
    remarks: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def __repr__(self) -> str:
        said = self.failure or ", ".join(f"{v.name} {v.value:.4g} {v.unit}".rstrip() for v in self.values[:3])
        return f"<Measurement {self.property} of {self.structure} {self.magnetic_state}: {said}>"

    def value(self, name: str, temperature: float | None = None, at: str = "") -> Value:
        """The value of that name.

        Raises
        ------
        KeyError
            If there is none.
        """
        return {v.key: v for v in self.values}[name, temperature, at]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("values", "curves", "frames")}
        curves = {name: {h: np.asarray(c).tolist() for h, c in curve.items()} for name, curve in self.curves.items()}
        return {
            **self.form.stamp,
            **plain,
            "values": [asdict(v) for v in self.values],
            "curves": curves,
            "frames": encode_arrays(frames_to_arrays(self.frames)) if self.frames else None,
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Measurement:
        """Inverse of :meth:`as_dict`."""
        d = cls.form.upgraded(d)
        frames = d["frames"]
        made = {
            "group": Group(d["group"]),
            "moments": Moments(d["moments"]),
            "values": tuple(Value(**known_fields(Value, v)) for v in d["values"]),
            "curves": {n: {h: np.asarray(c, float) for h, c in curve.items()} for n, curve in d["curves"].items()},
            "remarks": tuple(d["remarks"]),
            "frames": tuple(frames_from_arrays(decode_arrays(frames))) if frames else (),
        }
        return cls(**known_fields(cls, d) | made)


def with_spread(reading: Reading, members: list[Reading]) -> tuple[Value, ...]:
    """The values of `reading` with their standard deviation over what each member gives by itself.

    Parameters
    ----------
    members
        Of the members whose analysis succeeded; a value that fewer than two of them have gets no spread.
    """
    found: dict[tuple[str, float | None, str], list[float]] = {}
    for one in members:
        for v in one.values:
            found.setdefault(v.key, []).append(v.value)
    spread = {key: float(np.std(x, ddof=1)) for key, x in found.items() if len(x) > 1}
    return tuple(replace(v, spread=spread.get(v.key)) for v in reading.values)


SPREAD = "spread of "
"""Before the head of a column: its standard deviation over the members of the ensemble."""


def curves_with_spread(reading: Reading, members: list[Reading]) -> dict[str, Curve]:
    """The curves of `reading`, each column that differs among the members followed by its spread.

    The members whose curve has another abscissa, the first column, are left out; fewer than two give no spread.
    """
    return {
        name: _with_spread(curve, [m.curves.get(name, {}) for m in members]) for name, curve in reading.curves.items()
    }


def _with_spread(curve: Curve, members: list[Curve]) -> Curve:
    members = [m for m in members if _same_abscissa(curve, m)]
    if len(members) < 2:
        return curve
    spread = {head: np.std([m[head] for m in members], axis=0, ddof=1) for head in curve}
    return {**curve, **{SPREAD + head: column for head, column in spread.items() if np.any(column > 0.0)}}


def _same_abscissa(one: Curve, other: Curve) -> bool:
    if list(one) != list(other):
        return False
    x, y = (np.asarray(next(iter(c.values()))) for c in (one, other))
    return x.shape == y.shape and bool(np.allclose(x, y, rtol=1e-12, atol=1e-12))
