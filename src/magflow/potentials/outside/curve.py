"""The learning curve that a training leaves in ``curve.jsonl``: one line per epoch, or every few turns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CURVE = "curve.jsonl"


@dataclass(frozen=True)
class Curve:
    """Errors by epoch, house units (energy in eV/atom).

    Parameters
    ----------
    epochs
        Epoch to what its line says: ``loss``, ``learning_rate``, ``train`` and maybe ``validation`` (quantity to RMSE)
        and ``score``, what the best epoch is judged by.
    counted
        What the lines are counted in.
    """

    epochs: Mapping[int, Mapping[str, Any]]
    counted: str = "epoch"

    @property
    def step(self) -> int:
        """The last epoch; 0 before the first is over."""
        return max(self.epochs, default=0)

    @property
    def diverged(self) -> bool:
        """Whether the loss of the last epoch is not finite."""
        return bool(self.epochs) and not math.isfinite(self.epochs[self.step]["loss"])

    @property
    def best(self) -> int:
        """The epoch with the lowest score, the last one without scores."""
        scores = {epoch: row["score"] for epoch, row in self.epochs.items() if "score" in row}
        return min(scores, key=scores.__getitem__) if scores else self.step

    @property
    def validations_since_best(self) -> int:
        """Epochs after the best one."""
        return sum(epoch > self.best for epoch in self.epochs)

    def history(self) -> tuple[dict[str, float], ...]:
        """One row per epoch: ``step``, ``learning_rate``, ``loss``, ``train_<quantity>``, ``validation_<quantity>``."""
        rows = []
        for epoch in sorted(self.epochs):
            said = self.epochs[epoch]
            row = {"step": float(epoch), "learning_rate": said["learning_rate"], "loss": said["loss"]}
            for part in ("train", "validation"):
                row |= {f"{part}_{name}": value for name, value in said.get(part, {}).items()}
            rows.append(row)
        return tuple(rows)

    def text(self) -> str:
        """The last epoch, for a person."""
        said = self.epochs[self.step]
        errors = said.get("validation") or said.get("train", {})
        units = {"energy": "meV/atom", "forces": "meV/A", "magnetic_forces": "meV/muB"}
        parts = [f"{1e3 * errors[name]:.3g} {unit}" for name, unit in units.items() if name in errors]
        if "force_constants" in errors:
            parts.insert(0, f"force constants {errors['force_constants']:.3g} eV/A^2")
        return f"{self.counted} {self.step}: {', '.join(parts)}"


def read_curve(directory: Path, counted: str = "epoch") -> Curve:
    """What there is so far; of an epoch that was made twice, after a kill, the second time counts.

    A line that is still being written, or was when the training was killed, is left out.
    """
    try:
        lines = (directory / CURVE).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return Curve({}, counted)
    found = {}
    for line in lines:
        try:
            row = json.loads(line)
            found[int(row[counted])] = row
        except (ValueError, KeyError, TypeError):
            continue
    return Curve(found, counted)
