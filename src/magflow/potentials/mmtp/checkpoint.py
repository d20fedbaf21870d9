"""The state of a fit on disk: a fit that is killed goes on from it and ends where it would have ended."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.arrays import DAMAGE, digest, read_archive
from magflow.core.files import replace_file
from magflow.core.label import Cost
from magflow.core.versions import Mark, known_fields
from magflow.errors import InputError
from magflow.potentials.mmtp.state import Ending, Stage, State


def _with_stages(header: dict[str, Any]) -> dict[str, Any]:
    """Format 2: a search has stages, and says why it ended."""
    old = dict(header["state"])
    converged = old.pop("converged")
    new = {
        "stage": Stage.NEWTON,
        "objective": np.nan,
        "promise": np.nan,
        "ending": Ending.CONVERGED if converged else None,
    }
    return header | {"state": old | new}


FORMAT = Mark("checkpoint of a fit", "magflow-mmtp-checkpoint", (_with_stages,))
NAME = "checkpoint.npz"
SHARE = 0.02
"""Share of the time that may go into writing checkpoints."""
_ARRAYS = ("parameters", "best", "inverse_hessian")
_NUMBERS = ("objective", "previous", "damping", "growth", "promise", "best_monitor", "since_best", "iteration")
_WORDS = ("stage", "ending")


def fit_key(settings: str, arrays: Iterable[np.ndarray]) -> str:
    """24 hex digits of everything that decides how a fit ends."""
    return digest([settings.encode(), *(np.ascontiguousarray(a).tobytes() for a in arrays)])


@dataclass(eq=False)
class Checkpoint:
    """The checkpoint of one fit.

    Parameters
    ----------
    directory
        Where it is; one fit each.
    key
        See :func:`fit_key`.
    """

    directory: Path
    key: str
    next_write: float = field(default=0.0, init=False)

    @property
    def path(self) -> Path:
        """Its file."""
        return self.directory / NAME

    def load(self) -> tuple[State, Cost] | None:
        """The state an earlier attempt left and what it had cost; None if there is none.

        Raises
        ------
        InputError
            If it is damaged, or belongs to other labels or settings.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"the checkpoint cannot be read: {error.strerror}", where=str(self.path)) from error
        try:
            header, state = _decode(data, str(self.path))
            cost = Cost(**known_fields(Cost, header["cost"]))
        except DAMAGE as error:
            raise InputError(
                "the checkpoint is damaged", where=str(self.path), seen=str(error), hint="remove it to start afresh"
            ) from error
        if header["key"] != self.key:
            raise InputError(
                "the checkpoint belongs to a fit of other labels or settings",
                where=str(self.path),
                hint="use the labels and settings of that fit, or remove it to start afresh",
            )
        return state, cost

    def save(self, state: State, cost: Cost, *, now: bool = False) -> None:
        """Write `state`, unless that was done so lately that it would take more than :data:`SHARE` of the time."""
        begin = time.monotonic()
        if not now and begin < self.next_write:
            return
        replace_file(self.path, _encode(self.key, state, cost))
        end = time.monotonic()
        self.next_write = end + (end - begin) / SHARE


def _encode(key: str, state: State, cost: Cost) -> bytes:
    header = {
        **FORMAT.stamp,
        "key": key,
        "cost": {"cpu_seconds": cost.cpu_seconds, "wall_seconds": cost.wall_seconds, "cores": cost.cores},
        "state": {name: getattr(state, name) for name in (*_NUMBERS, *_WORDS)},
        "history": state.history,
    }
    arrays = {name: getattr(state, name) for name in _ARRAYS if getattr(state, name) is not None}
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(buffer, allow_pickle=False, header=text, **arrays)
    return buffer.getvalue()


def _decode(data: bytes, where: str) -> tuple[dict[str, Any], State]:
    arrays = read_archive(data)
    header = FORMAT.upgraded(json.loads(arrays.pop("header").tobytes().decode()), where)
    numbers = header["state"]
    if set(numbers) != {*_NUMBERS, *_WORDS} or not set(_ARRAYS[:2]) <= set(arrays) <= set(_ARRAYS):
        raise ValueError("entries are missing")
    words = {"stage": Stage(numbers["stage"]), "ending": numbers["ending"] and Ending(numbers["ending"])}
    return header, State(**arrays, **(numbers | words), history=header["history"])
