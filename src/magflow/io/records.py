"""What a foreign file holds for one configuration: a frame, maybe a label, and whatever else was there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.errors import InputError

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


def unspecified_level(*, magmoms: bool, magnetic_forces: bool) -> LevelOfTheory:
    """The level of theory of labels whose file does not name one.

    The kind follows from what is there: magnetic forces come from a constrained calculation, moments
    alone from a spin-polarised one.
    """
    without = LabelKind.SPIN_POLARISED if magmoms else LabelKind.NON_MAGNETIC
    kind = LabelKind.CONSTRAINED if magnetic_forces else without
    return LevelOfTheory(UNSPECIFIED, "", kind, UNSPECIFIED)


def build_label(
    frame: Frame,
    *,
    energy: float,
    level_of_theory: LevelOfTheory | None,
    forces: FloatArray | None = None,
    stress: FloatArray | None = None,
    magmoms: FloatArray | None = None,
    magnetic_forces: FloatArray | None = None,
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
        magmoms=magmoms is not None, magnetic_forces=magnetic_forces is not None
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


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put `where` on every InputError raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(
            error.message, where=where, seen=error.seen, expected=error.expected, hint=error.hint
        ) from error


def read_text(path: str | Path, what: str) -> str:
    """Contents of a UTF-8 text file.

    Raises
    ------
    InputError
        If it is absent, a directory, unreadable or not text.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path), expected=what) from error
    except UnicodeDecodeError as error:
        raise InputError("the file is not text", where=str(path), expected=what) from error
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=str(path), expected=what) from error


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` in one step: an interrupted write leaves no half file.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True) if partial.parent.is_dir() else None
        raise InputError(
            f"cannot write the file: {error.strerror}", where=str(path), expected="a writable place"
        ) from error
