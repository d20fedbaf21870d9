"""Frames and labels as encoded arrays, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from magflow.core.arrays import decode_arrays, encode_arrays
from magflow.core.frame import Frame, frames_from_arrays, frames_to_arrays
from magflow.core.label import Cost, Label, LabeledFrame, LevelOfTheory

_PER_ATOM = ("forces", "magmoms", "magnetic_forces")


def pack_frame(frame: Frame) -> str:
    """One frame as text."""
    return encode_arrays(frames_to_arrays([frame]))


def unpack_frame(text: str) -> Frame:
    """Inverse of :func:`pack_frame`."""
    return frames_from_arrays(decode_arrays(text))[0]


def pack_labelled(items: Sequence[LabeledFrame]) -> str:
    """Labelled frames as text; an array that a label lacks is stored as NaN rows and a flag.

    Arrays per frame: ``energy`` (n,), ``stress`` (n, 6), ``cost`` (n, 3), ``orientation`` (n,), ``level`` (n,) index
    into ``levels``; per atom: ``label_forces``, ``label_magmoms``,
    ``label_magnetic_forces`` (sum N, 3); ``has_<name>`` (n,).
    """
    arrays = frames_to_arrays([item.frame for item in items])
    levels = {item.label.level_of_theory.fingerprint: item.label.level_of_theory for item in items}
    order = list(levels)
    arrays["levels"] = np.array([json.dumps(t.as_dict(), sort_keys=True) for t in levels.values()], dtype=str)
    labels = [item.label for item in items]
    arrays["level"] = np.array([order.index(x.level_of_theory.fingerprint) for x in labels], dtype=np.int64)
    arrays["energy"] = np.array([x.energy for x in labels], dtype=float)
    arrays["orientation"] = np.array([x.orientation for x in labels], dtype=np.int64)
    arrays["attempts"] = np.array([x.attempts for x in labels], dtype=np.int64)
    arrays["cost"] = np.array([[x.cost.cpu_seconds, x.cost.wall_seconds, x.cost.cores] for x in labels]).reshape(-1, 3)
    for name in ("stress", *_PER_ATOM):
        values = [getattr(x, name) for x in labels]
        shapes = [(6,) if name == "stress" else (len(item.frame), 3) for item in items]
        filled = [np.full(s, np.nan) if v is None else v for v, s in zip(values, shapes, strict=True)]
        joined = np.stack if name == "stress" else np.concatenate
        arrays["label_" + name] = joined(filled) if items else np.zeros((0, 6 if name == "stress" else 3))
        arrays["has_" + name] = np.array([v is not None for v in values], dtype=bool)
    return encode_arrays(arrays)


def pack_candidates(frames: Sequence[Frame], sources: Sequence[str]) -> str:
    """Frames and where each came from, as text."""
    return encode_arrays(frames_to_arrays(list(frames)) | {"source": np.array(sources, dtype=str)})


def unpack_candidates(text: str) -> tuple[list[Frame], list[str]]:
    """Inverse of :func:`pack_candidates`."""
    arrays = decode_arrays(text)
    return frames_from_arrays(arrays), [str(s) for s in arrays["source"]]


def pack_batch(items: Sequence[LabeledFrame], failed: Sequence[Frame]) -> str:
    """A batch: labelled frames (:func:`pack_labelled`) and frames whose label failed, under ``failed_<name>``."""
    arrays = decode_arrays(pack_labelled(items))
    return encode_arrays(arrays | {f"failed_{k}": v for k, v in frames_to_arrays(list(failed)).items()})


def unpack_failed(text: str) -> list[Frame]:
    """The frames of a batch whose label failed."""
    arrays = decode_arrays(text)
    return frames_from_arrays({k.removeprefix("failed_"): v for k, v in arrays.items() if k.startswith("failed_")})


def unpack_labelled(text: str) -> list[LabeledFrame]:
    """Inverse of :func:`pack_labelled`."""
    arrays = decode_arrays(text)
    levels = [LevelOfTheory.from_dict(json.loads(str(t))) for t in arrays["levels"]]
    frames = frames_from_arrays(arrays)
    ends = np.cumsum(arrays["counts"])
    items = []
    for i, frame in enumerate(frames):
        atoms = slice(int(ends[i]) - len(frame), int(ends[i]))
        forces, magmoms, magnetic_forces = (
            arrays["label_" + n][atoms].copy() if arrays["has_" + n][i] else None for n in _PER_ATOM
        )
        cpu, wall, cores = arrays["cost"][i]
        label = Label(
            frame.frame_id,
            levels[int(arrays["level"][i])],
            int(arrays["orientation"][i]),
            energy=float(arrays["energy"][i]),
            stress=arrays["label_stress"][i].copy() if arrays["has_stress"][i] else None,
            cost=Cost(float(cpu), float(wall), int(cores)),
            attempts=int(arrays["attempts"][i]),
            forces=forces,
            magmoms=magmoms,
            magnetic_forces=magnetic_forces,
        )
        items.append(LabeledFrame(frame, label))
    return items
