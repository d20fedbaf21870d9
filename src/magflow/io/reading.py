"""How frames are to be read, and the one way from what a file holds for a frame to a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.names import understand
from magflow.io.quantities import Chosen, Keys, Quantity
from magflow.io.records import NotPeriodicError, Record, has_unknown_moments, located
from magflow.io.values import Values

REFERENCE = "reference_"
"""What the names of label values begin with where no labels are wanted."""


@dataclass(frozen=True)
class Reading:
    """How a file is to be read, and what is found while it is.

    Parameters
    ----------
    keys
        The names a user takes for quantities.
    level_of_theory
        Level of labels that do not carry their own. None: the level ``unspecified``.
    virial_sign
        -1 if a virial is -stress x volume, +1 if it is +stress x volume. None: nobody said.
    labels
        Whether labels are wanted; if not, their values keep names that begin with ``reference_``.
    findings
        Filled while the file is read.
    names
        All names that were met.
    """

    keys: tuple[tuple[Quantity, Chosen], ...] = ()
    level_of_theory: LevelOfTheory | None = None
    virial_sign: int | None = None
    labels: bool = True
    findings: Findings = field(default_factory=Findings)
    names: set[str] = field(default_factory=set)

    def check_keys(self, where: str) -> None:
        """Refuse a name of a user's that no frame had.

        Raises
        ------
        InputError
            Names it and those there are.
        """
        absent = [c.name for _, c in self.keys if c.name is not None and c.name not in self.names]
        if absent:
            there = "one of " + ", ".join(sorted(self.names))
            raise InputError("no frame has what --keys names", where=where, seen=", ".join(absent), expected=there)


def reading_of(
    keys: Keys | None,
    level_of_theory: LevelOfTheory | None,
    virial_sign: int | None,
    findings: Findings | None,
    *,
    labels: bool = True,
) -> Reading:
    """The :class:`Reading` of what a reader's caller said."""
    chosen = tuple(sorted((keys or {}).items()))
    return Reading(chosen, level_of_theory, virial_sign, labels, Findings() if findings is None else findings)


def periodic(built: Iterable[tuple[str, Callable[[], Record]]], findings: Findings) -> Iterator[Record]:
    """The records of a file, built one after the other; frames that are not periodic are left out and counted.

    Parameters
    ----------
    built
        Place of each frame, and what makes its record.

    Raises
    ------
    NotPeriodicError
        If no frame is periodic.
    InputError
        From building a record, with the place of the frame.
    """
    used, excuse = 0, None
    for where, build in built:
        try:
            with located(where):
                record = build()
        except NotPeriodicError as error:
            findings.note(Fate.LEFT_OUT, error.message, where)
            excuse = excuse or error
            continue
        used += 1
        yield record
    if excuse is not None and not used:
        raise excuse


@dataclass(frozen=True)
class Geometry:
    """Species, cell, positions and constraint flags of one frame, as for :class:`Frame`."""

    species: tuple[str, ...]
    cell: FloatArray
    positions: FloatArray
    constrained: np.ndarray | None = None


@dataclass(frozen=True)
class Origin:
    """What a file says about a label as a whole.

    Parameters
    ----------
    level_of_theory
        Its own level; None if the file does not say.
    non_magnetic_frame
        The frame of the label has no moments although the label has.
    extra
        Cost, attempts and details.
    """

    level_of_theory: LevelOfTheory | None = None
    non_magnetic_frame: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def assemble(
    geometry: Geometry,
    info: dict[str, Any],
    columns: dict[str, np.ndarray],
    reading: Reading,
    origin: Origin | None = None,
    where: str = "",
) -> Record:
    """The record of one frame.

    Parameters
    ----------
    info, columns
        What the file holds beside the geometry, per frame and per atom, by name; what is no label stays in them.
    where
        The frame's place, for the findings.

    Raises
    ------
    InputError
        If values contradict each other, have a wrong shape, are not finite, or are label values without an energy.
    """
    origin = origin or Origin()
    reading.names.update(info, columns)
    names = understand(tuple(info), tuple(columns), reading.keys)
    for name in names.dropped:
        (info if name in info else columns).pop(name)
    values = Values(names.found, info, columns)
    if reading.labels:
        values.take()
    else:
        values.set_aside(REFERENCE)
    moments = values.moments(len(geometry.species))
    is_label = reading.labels and values.energy is not None
    unknown = False
    if is_label:
        own = origin.level_of_theory is not None and not has_unknown_moments(origin.level_of_theory)
        wanted, unknown = moments.of_label(own=own, findings=reading.findings, where=where)
        wanted = None if origin.non_magnetic_frame else wanted
    else:
        wanted = moments.of_frame(evaluated=not reading.labels)
        values.refuse_without_energy(wanted=reading.labels)
    columns |= values.unused_moments(used=(wanted, moments.achieved if is_label else None))
    frame = Frame(geometry.species, geometry.cell, geometry.positions, wanted, geometry.constrained)
    label = None
    if is_label:
        label = values.label(
            frame,
            moments.achieved,
            level_of_theory=origin.level_of_theory or reading.level_of_theory,
            virial_sign=reading.virial_sign,
            unknown_moments=unknown,
            **origin.extra,
        )
    record = Record(frame, label, info, columns, values.vector_moments)
    for fate, what in names.notes:
        reading.findings.note(fate, what, where)
    reading.findings.count_record(record)
    return record
