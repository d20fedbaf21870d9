"""The state of a molecular dynamics run as bytes: all a run needs to go on, to the last bit, and no pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.arrays import DAMAGE, read_archive
from magflow.core.dynamics import Integration, Limits, Motion, Pistons
from magflow.core.files import replace_file
from magflow.core.frame import frames_from_arrays, frames_to_arrays
from magflow.core.versions import Mark, known_fields
from magflow.errors import InputError

FORMAT = Mark("state of a run", "magflow-motion")


def write_motion(path: Path, motion: Motion, facts: Mapping[str, Any]) -> None:
    """Write `motion` and JSON-ready `facts` in one step that survives a kill.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    replace_file(path, motion_to_bytes(motion, facts))


def motion_to_bytes(motion: Motion, facts: Mapping[str, Any]) -> bytes:
    """What :func:`write_motion` writes."""
    integration = asdict(motion.integration) | {"pistons": int(motion.integration.pistons)}
    header = {
        **FORMAT.stamp,
        "integration": integration,
        "limits": asdict(motion.limits),
        "heat": motion.heat,
        "step": motion.step,
        "facts": dict(facts),
    }
    arrays = frames_to_arrays([motion.frame]) | {"velocities": motion.velocities, "piston": motion.piston}
    if motion.listed is not None:
        arrays["listed_positions"], arrays["listed_cell"] = motion.listed
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(buffer, allow_pickle=False, header=text, **arrays)
    return buffer.getvalue()


def read_motion(path: Path) -> tuple[Motion, dict[str, Any]]:
    """Inverse of :func:`write_motion`: the motion and the facts.

    Raises
    ------
    InputError
        If there is no such file or it is damaged.
    NewerFormatError
        If a newer magflow wrote it.
    """
    try:
        return motion_from_bytes(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise InputError("there is no run to go on with", where=str(path)) from error
    except OSError as error:
        raise InputError("the state of the run is damaged", where=str(path), seen=str(error)) from error


def motion_from_bytes(data: bytes, where: str) -> tuple[Motion, dict[str, Any]]:
    """Inverse of :func:`motion_to_bytes`.

    Parameters
    ----------
    where
        Where the bytes come from, for errors.

    Raises
    ------
    InputError
        If they are damaged.
    NewerFormatError
        If a newer magflow wrote them.
    """
    try:
        arrays = read_archive(data)
        header = FORMAT.upgraded(json.loads(arrays.pop("header").tobytes().decode()), where)
        how = known_fields(Integration, header["integration"])
        listed = (arrays["listed_positions"], arrays["listed_cell"]) if "listed_cell" in arrays else None
        motion = Motion(
            frames_from_arrays(arrays)[0],
            arrays["velocities"],
            Integration(**how | {"pistons": Pistons(how["pistons"])}),
            Limits(**known_fields(Limits, header["limits"])),
            arrays["piston"],
            header["heat"],
            header["step"],
            listed,
        )
    except DAMAGE as error:
        raise InputError("the state of the run is damaged", where=where, seen=str(error)) from error
    return motion, header["facts"]
