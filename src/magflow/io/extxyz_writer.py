"""Writing extended XYZ; :mod:`magflow.io.extxyz` says what the keys and columns mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label, LevelOfTheory
from magflow.core.moments import is_collinear
from magflow.core.types import FloatArray
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.io.keyvalues import format_comment
from magflow.io.records import LABEL_KEY, Record, Writable, as_record
from magflow.io.text import write_text

_TEXTS: dict[str, Callable[[Any], str]] = {"U": str, "f": repr, "i": str, "b": "FT".__getitem__}


def write_extxyz(path: str | Path, items: Iterable[Writable]) -> int:
    """Write frames, labelled frames or records; returns how many.

    Raises
    ------
    InputError
        If the file cannot be written, or an extra key or column of a record has a name this format uses.
    """
    return write_text(path, (format_frame(as_record(item)) for item in items))


def losses_extxyz(record: Record) -> list[str]:
    """What of a record has no place here: nothing."""
    return []


def format_frame(record: Record) -> str:
    """The lines of one frame."""
    frame, label = record.frame, record.label
    info: dict[str, Any] = {"Lattice": frame.cell.ravel(), "Properties": "", "pbc": np.array([True] * 3)}
    columns: dict[str, np.ndarray] = {"species": np.array(frame.species), "pos": frame.positions}
    if label is None:
        _add(columns, "magmoms", _moments(frame.magmoms, record.vector_moments))
    else:
        _add(columns, "magmoms", _moments(label.magmoms, record.vector_moments))
        _add(columns, "target_magmoms", _moments(frame.magmoms, record.vector_moments))
        _add(columns, "forces", label.forces)
        _add(columns, "magnetic_forces", label.magnetic_forces)
        info |= {"energy": label.energy, "free_energy": label.energy}
        _add(info, "stress", None if label.stress is None else tensor(label.stress).ravel())
        info[LABEL_KEY] = _meta(frame, label)
    _add(columns, "constrained", frame.constrained)
    for own, extra, kind in ((info, record.info, "key"), (columns, record.columns, "column")):
        clash = sorted(set(own) & set(extra))
        if clash:
            raise InputError(f"an extra {kind} has a name this format uses", seen=", ".join(clash))
        own.update(extra)
    info["Properties"] = ":".join(_property(name, values) for name, values in columns.items())
    rows = zip(*(_words(name, values) for name, values in columns.items()), strict=True)
    return f"{len(frame)}\n{format_comment(info)}\n" + "".join(" ".join(row) + "\n" for row in rows)


def _add(target: dict[str, Any], name: str, value: Any) -> None:
    if value is not None:
        target[name] = value


def _moments(vectors: FloatArray | None, keep_vectors: bool) -> FloatArray | None:
    """(N,) for collinear moments unless vectors are asked for."""
    return vectors if vectors is None or keep_vectors or not is_collinear(vectors) else vectors[:, 2]


def _meta(frame: Frame, label: Label) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "level_of_theory": _level(label.level_of_theory),
        "cost": {name: getattr(label.cost, name) for name in ("cpu_seconds", "wall_seconds", "cores")},
        "attempts": label.attempts,
    }
    if label.details:
        meta["details"] = dict(label.details)
    if frame.magmoms is None and label.magmoms is not None:
        meta["non_magnetic_frame"] = True
    return meta


@lru_cache(maxsize=256)
def _level(level: LevelOfTheory) -> dict[str, Any]:
    return level.as_dict()


def _property(name: str, values: np.ndarray) -> str:
    kind = {"U": "S", "f": "R", "i": "I", "b": "L"}.get(values.dtype.kind)
    if kind is None or values.ndim not in (1, 2) or ":" in name:
        raise InputError(f"column {name} cannot be written", seen=f"{values.dtype} {values.shape}")
    return f"{name}:{kind}:{1 if values.ndim == 1 else values.shape[1]}"


def _words(name: str, values: np.ndarray) -> list[str]:
    """One text per atom."""
    to_text = _TEXTS[values.dtype.kind]
    if values.dtype.kind == "f":
        values = values.astype(float)
    rows = values.tolist()
    words = [to_text(v) for v in rows] if values.ndim == 1 else [" ".join(map(to_text, row)) for row in rows]
    width = 1 if values.ndim == 1 else values.shape[1]
    if values.dtype.kind == "U" and any(len(word.split()) != width for word in words):
        raise InputError(f"column {name} cannot be written", seen="text with spaces", expected="single words")
    return words
