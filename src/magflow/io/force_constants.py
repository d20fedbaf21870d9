"""Force constants in a file of our own: what others' formats leave out - level of theory, moments - is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magflow.core.arrays import DAMAGE, decode_arrays, encode_arrays
from magflow.core.files import replace_file
from magflow.core.force_constants import ForceConstantLabel, MomentsOf
from magflow.core.frame import frames_from_arrays, frames_to_arrays
from magflow.core.label import LevelOfTheory
from magflow.core.versions import FORMAT, Mark
from magflow.errors import InputError, MagflowError

FORCE_CONSTANTS = Mark("file of force constants", "magflow-force-constants")
SUFFIX = ".json"


def write_force_constants(path: Path, labels: Sequence[ForceConstantLabel]) -> None:
    """Write `labels` to a JSON file, in one step.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    content = {**FORCE_CONSTANTS.stamp, "labels": [force_constants_as_dict(label) for label in labels]}
    replace_file(path, json.dumps(content, indent=1).encode())


def read_force_constants(path: Path) -> list[ForceConstantLabel]:
    """Inverse of :func:`write_force_constants`.

    Raises
    ------
    InputError
        If there is no such file, it is damaged or something else.
    NewerFormatError
        If a newer magflow wrote it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or FORMAT not in content:
            raise InputError("no file of force constants", where=str(path), expected=f"{FORMAT}: {FORCE_CONSTANTS}")
        return [force_constants_from_dict(d) for d in FORCE_CONSTANTS.upgraded(content, str(path))["labels"]]
    except MagflowError as error:
        error.where = error.where or str(path)
        raise
    except DAMAGE as error:
        raise InputError("the force constants cannot be read", where=str(path), seen=str(error)) from error


def force_constants_as_dict(label: ForceConstantLabel) -> dict[str, Any]:
    """JSON-ready: ``formula``, ``level_of_theory``, ``moments``, ``source`` and ``arrays``, as text."""
    arrays = {"atoms": label.atoms, "array": label.array, **frames_to_arrays([label.frame])}
    return {
        "formula": label.frame.formula,
        "level_of_theory": label.level_of_theory.as_dict(),
        "moments": str(label.moments),
        "source": label.source,
        "arrays": encode_arrays(arrays),
    }


def force_constants_from_dict(d: Mapping[str, Any]) -> ForceConstantLabel:
    """Inverse of :func:`force_constants_as_dict`."""
    arrays = decode_arrays(d["arrays"])
    atoms, array = arrays.pop("atoms"), arrays.pop("array")
    (frame,) = frames_from_arrays(arrays)
    level = LevelOfTheory.from_dict(d["level_of_theory"])
    return ForceConstantLabel(frame, level, atoms, array, MomentsOf(d["moments"]), d["source"])
