"""Reference values with their sources: what a measured value is held against.

A file of references is YAML::

    magflow_references: 1
    references:
      - property: equation-of-state
        name: a0
        of: {formula: Fe, space_group: 229, magnetic_state: FM}
        value: 2.831
        unit: A
        kind: DFT                 # experiment, DFT, own DFT
        source: where it is published
      - property: viscosity
        name: viscosity
        of: {formula: Fe}
        unit: mPa s
        table: [[1811, 5.85], [1900, 4.99]]    # temperature (K), value; straight lines in between
        relative_error: 0.03
        kind: experiment
        source: ...
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from magflow.errors import InputError
from magflow.properties.known import known_names, known_text
from magflow.properties.measurement import Measurement, Value

VERSION = 1
TEMPERATURE_TOLERANCE = 1.0
"""K within which a reference at one temperature serves."""


class Kind(StrEnum):
    """Where a reference value comes from; the first kind counts: a potential is to say what its labels say."""

    OWN_DFT = "own DFT"
    DFT = "DFT"
    EXPERIMENT = "experiment"


class Of(BaseModel):
    """The structures it is a value of; what is left out is any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    formula: str = Field(description="reduced, elements in alphabetical order: Fe, AlFe, AlFe3")
    space_group: int | None = Field(default=None, ge=1, le=230, description="number of the space group of the atoms")
    magnetic_state: str | None = Field(default=None, description="FM, AFM, FiM, NM")

    def covers(self, m: Measurement) -> bool:
        """Whether it is a value of what was measured; a potential that reads no moments stands for any state."""
        state = self.magnetic_state in (None, m.magnetic_state)
        return self.formula == m.formula and self.space_group in (None, m.space_group) and state


class Reference(BaseModel):
    """One value, or a table of them against temperature."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    property: str = Field(description="name of the property")
    name: str = Field(description="name of its value")
    of: Of
    at: str = Field(default="", description="what else tells the value apart, as the property writes it")
    unit: str
    value: float | None = None
    temperature: float | None = Field(default=None, ge=0, description="K; left out: at rest")
    table: tuple[tuple[float, float], ...] = Field(default=(), description="temperature (K) and value, rising")
    error: float | None = Field(default=None, ge=0, description="standard uncertainty, in the unit of the value")
    relative_error: float | None = Field(default=None, ge=0, description="the same, as a share of the value")
    kind: Kind
    source: str = Field(min_length=5, description="where it is published, or how it was computed")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.value is None) == (not self.table):
            raise ValueError("give either value or table")
        temperatures = [t for t, _ in self.table]
        if temperatures != sorted(set(temperatures)) or (self.table and self.temperature is not None):
            raise ValueError("the temperatures of a table rise, and stand in it alone")
        return self

    def number(self, temperature: float | None) -> float | None:
        """The value at `temperature` K (None: at rest); None if it has none there."""
        if self.table:
            t, y = np.array(self.table).T
            inside = temperature is not None and t[0] <= temperature <= t[-1]
            return float(np.interp(temperature or 0.0, t, y)) if inside else None
        same = self.temperature == temperature or (
            None not in (self.temperature, temperature)
            and abs((self.temperature or 0.0) - (temperature or 0.0)) <= TEMPERATURE_TOLERANCE
        )
        return self.value if same else None

    def uncertainty(self, number: float) -> float | None:
        """Standard uncertainty of `number`; None if the source states none."""
        return self.error if self.relative_error is None else abs(self.relative_error * number)


def references_in(measurement: Measurement, source: str) -> list[Reference]:
    """The values of a measurement by own DFT, as references."""
    m = measurement
    of = Of(formula=m.formula, space_group=m.space_group, magnetic_state=m.magnetic_state)
    return [
        Reference(
            property=m.property,
            name=v.name,
            of=of,
            at=v.at,
            unit=v.unit,
            value=v.value,
            temperature=v.temperature,
            kind=Kind.OWN_DFT,
            source=source,
        )
        for v in m.values
    ]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    magflow_references: int = Field(ge=1, le=VERSION)
    references: tuple[Reference, ...]


def read_references(paths: Iterable[Path]) -> list[Reference]:
    """The references of some files; a path without suffix is the name of one that comes with magflow.

    Raises
    ------
    InputError
        If one cannot be read, or says something unusable.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    found: list[Reference] = []
    for path in paths:
        try:
            content = YAML(typ="safe", pure=True).load(_text(path))
            found += _File.model_validate(content).references
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise InputError("references cannot be read", where=str(path), seen=str(error)) from error
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"not references: {first['msg']}", where=f"{path}: {at}", seen=first.get("input")
            ) from error
    return found


def _text(path: Path) -> str:
    if path.suffix or path.exists():
        return path.read_text(encoding="utf-8")
    if path.name not in known_names():
        raise InputError("no such references", where=str(path), seen=path.name, expected=", ".join(known_names()))
    return known_text(path.name)


def references_of(
    measurement: Measurement, value: Value, references: Sequence[Reference]
) -> list[tuple[Reference, float]]:
    """References of one value with their number; those in another unit do not count.

    They come in the order of their kinds.
    """
    order = list(Kind)
    fitting = []
    for r in references:
        if (r.property, r.name, r.at, r.unit) == (measurement.property, value.name, value.at, value.unit):
            number = r.number(value.temperature)
            if number is not None and r.of.covers(measurement):
                fitting.append((r, number))
    return sorted(fitting, key=lambda pair: order.index(pair[0].kind))
