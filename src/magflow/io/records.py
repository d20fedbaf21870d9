"""What a foreign file holds for one configuration: a frame, maybe a label, and whatever else was there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Cost, Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings

LABEL_KEY = "magflow_label"
"""Key that carries what a label holds beside its numbers: level of theory, cost, attempts, details."""
UNSPECIFIED = "unspecified"
"""Code and functional of a label whose file does not say how it was made."""


@dataclass(frozen=True, eq=False)
class Record:
    """One configuration of a file.

    Parameters
    ----------
    frame
        The configuration; its moments are the targets where the file tells targets from achieved moments.
    label
        The label, or None if the file holds no energy for it.
    info
        Keys of the frame that are neither geometry nor label, by name.
    columns
        (N,) or (N, k) per-atom values that are neither geometry nor label, by name.
    vector_moments
        True if the file gave moments as (N, 3).
    """

    frame: Frame
    label: Label | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    vector_moments: bool = False

    @property
    def labeled(self) -> LabeledFrame | None:
        """Frame and label joined; None without a label."""
        return None if self.label is None else LabeledFrame(self.frame, self.label)

    @property
    def configuration(self) -> Frame:
        """The frame with the achieved moments where there are any: what a potential is evaluated at."""
        if self.label is None or self.label.magmoms is None:
            return self.frame
        return self.frame.replace(magmoms=self.label.magmoms)


Writable = Frame | LabeledFrame | Record
"""What the writers accept."""


def as_record(item: Writable) -> Record:
    """`item` as a record."""
    if isinstance(item, Record):
        return item
    if isinstance(item, LabeledFrame):
        return Record(item.frame, item.label)
    return Record(item)


def labeled_frames(records: Iterable[Record]) -> list[LabeledFrame]:
    """The labelled frames among `records`, in order."""
    return [item for record in records if (item := record.labeled) is not None]


@lru_cache(maxsize=8)
def unspecified_level(*, magmoms: bool, magnetic_forces: bool, unknown_moments: bool = False) -> LevelOfTheory:
    """The level of theory of labels whose file does not name one.

    The kind follows from what is there: magnetic forces come from a constrained calculation, moments
    alone from a spin-polarised one. So do moments a calculation started from; those it ended with are unknown then,
    and such labels are no others' equals.
    """
    if unknown_moments:
        return LevelOfTheory(UNSPECIFIED, "", LabelKind.SPIN_POLARISED, UNSPECIFIED, {}, {"moments": "unknown"})
    without = LabelKind.SPIN_POLARISED if magmoms else LabelKind.NON_MAGNETIC
    kind = LabelKind.CONSTRAINED if magnetic_forces else without
    return LevelOfTheory(UNSPECIFIED, "", kind, UNSPECIFIED)


def has_unknown_moments(level: LevelOfTheory) -> bool:
    """Whether labels of this level have moments that nobody knows."""
    return level.parameters.get("moments") == "unknown"


class NotPeriodicError(InputError):
    """A frame that is not periodic in all three directions: a reader of many leaves it out, a reader of one refuses."""


def check_periodic(pbc: Any, *, cell: bool = True) -> None:
    """Refuse a frame that is not periodic in all three directions.

    Parameters
    ----------
    pbc
        Flags, one or three.
    cell
        Whether the frame has a cell at all.

    Raises
    ------
    NotPeriodicError
        If a flag is false or there is no cell.
    """
    flags = np.asarray(pbc)
    if flags.dtype != bool or flags.shape not in ((), (3,)):
        raise InputError("pbc is malformed", seen=pbc, expected='pbc="T T T"')
    if not flags.all() or not cell:
        raise NotPeriodicError(
            "the frame is not periodic in all three directions",
            seen=f"pbc = {' '.join('FT'[int(f)] for f in flags.ravel())}" if cell else "no cell",
            expected='a cell (Lattice="..." in extended XYZ) and pbc="T T T"',
            hint="put enough vacuum into the cell and declare it periodic",
        )


@dataclass(frozen=True)
class Moments:
    """The moments a file gives for one frame, each (N, 3) or None, sorted by what they are."""

    achieved: FloatArray | None = None
    targets: FloatArray | None = None
    initial: FloatArray | None = None

    def of_label(self, *, own: bool, findings: Findings, where: str = "") -> tuple[FloatArray | None, bool]:
        """Moments of the frame a label belongs to, and whether those it was computed at are unknown.

        Moments a calculation starts from are a guess: they are never the moments its energy belongs to. The same
        holds for targets of which nobody says that they were reached, unless magflow wrote the file (`own`).
        """
        if self.initial is not None and self.targets is None:
            findings.note(Fate.KEPT, "initial_magmoms: moments a calculation starts from are no result", where)
        if self.achieved is not None:
            return (self.achieved if self.targets is None else self.targets), False
        if own:
            return self.targets, False
        if self.targets is not None:
            findings.note(Fate.KEPT, "target_magmoms: nothing says that they were reached", where)
        unknown = self.targets is not None or self.initial is not None
        if unknown:
            findings.note(Fate.GUESSED, "the label is spin-polarised, its moments are unknown", where)
        return None, unknown

    def of_frame(self, *, evaluated: bool) -> FloatArray | None:
        """Moments of a frame without a label: the targets first; of one to be `evaluated` those achieved first."""
        order = (
            (self.achieved, self.targets, self.initial) if evaluated else (self.targets, self.initial, self.achieved)
        )
        return next((m for m in order if m is not None), None)


def build_label(
    frame: Frame,
    *,
    energy: float,
    level_of_theory: LevelOfTheory | None,
    forces: FloatArray | None = None,
    stress: FloatArray | None = None,
    magmoms: FloatArray | None = None,
    magnetic_forces: FloatArray | None = None,
    unknown_moments: bool = False,
    **meta: Any,
) -> Label:
    """A label for `frame` from a file, checked for shapes and finite numbers.

    Magnetic forces may be NaN: that marks an atom that was not constrained.

    Raises
    ------
    InputError
        On a wrong shape or a value that is not finite.
    """
    finite = {"energy": energy, "forces": forces, "stress": stress, "magmoms": magmoms}
    for name, value in finite.items():
        if value is not None and not np.isfinite(value).all():
            raise InputError(f"{name} has a value that is not finite", seen=np.asarray(value).tolist())
    level = level_of_theory or unspecified_level(
        magmoms=magmoms is not None,
        magnetic_forces=magnetic_forces is not None,
        unknown_moments=unknown_moments,
    )
    label = Label(
        frame.frame_id,
        level,
        frame.orientation,
        energy=float(energy),
        forces=forces,
        stress=stress,
        magmoms=magmoms,
        magnetic_forces=magnetic_forces,
        **meta,
    )
    return LabeledFrame(frame, label).label


def losses_of_targets(record: Record) -> list[str]:
    """What a format loses that holds achieved moments only: targets that differ, and which atoms were held."""
    lost = []
    label, frame = record.label, record.frame
    if label is not None and label.magmoms is not None and not _equal(label.magmoms, frame.magmoms):
        lost.append("target moments")
    if frame.constrained is not None:
        lost.append("which atoms were constrained")
    if label is not None and label.magnetic_forces is not None and np.isnan(label.magnetic_forces).any():
        lost.append("unknown magnetic forces (they become 0)")
    if label is not None and (label.cost != Cost() or label.details or label.attempts != 1):
        lost.append("cost and details of the calculation")
    return lost


def _equal(a: FloatArray, b: FloatArray | None) -> bool:
    return b is not None and np.array_equal(a, b)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put `where` on every InputError raised inside."""
    try:
        yield
    except InputError as error:
        raise type(error)(
            error.message, where=where, seen=error.seen, expected=error.expected, hint=error.hint
        ) from error
