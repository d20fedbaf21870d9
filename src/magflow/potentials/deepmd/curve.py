"""The learning curve deepmd-kit writes: ``lcurve.out`` of one batch each, ``val.log`` of all validation frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LCURVE, VALIDATION_LOG = "lcurve.out", "val.log"
_TRAIN = {"e": "energy", "f": "forces", "fr": "forces", "fm": "magnetic_forces"}
_VALIDATION = {"E": "energy", "F": "forces", "FR": "forces", "FM": "magnetic_forces", "S": "stress"}


@dataclass(frozen=True)
class Curve:
    """Errors by step, house units (energy in eV/atom).

    Parameters
    ----------
    batches
        RMSE on one batch: step to ``learning_rate``, ``loss`` and quantities.
    validated
        RMSE on all validation frames: step to quantities.
    best_step
        The step deepmd-kit kept as the best validated one.
    """

    batches: Mapping[int, Mapping[str, float]]
    validated: Mapping[int, Mapping[str, float]]
    best_step: int | None = None

    @property
    def step(self) -> int:
        """The last step with a point; 0 before the first."""
        return max(self.batches, default=0)

    @property
    def diverged(self) -> bool:
        """Whether the loss of the last point is not finite."""
        return bool(self.batches) and not math.isfinite(self.batches[self.step]["loss"])

    @property
    def validations_since_best(self) -> int:
        """Validations after the best one."""
        return 0 if self.best_step is None else sum(step > self.best_step for step in self.validated)

    def history(self) -> tuple[dict[str, float], ...]:
        """One row per step: ``step``, ``learning_rate``, ``loss``, ``train_<quantity>``, ``validation_<quantity>``."""
        rows = []
        for step in sorted({*self.batches, *self.validated}):
            row = {"step": float(step)}
            for name, value in self.batches.get(step, {}).items():
                row[name if name in ("learning_rate", "loss") else f"train_{name}"] = value
            row |= {f"validation_{name}": value for name, value in self.validated.get(step, {}).items()}
            rows.append(row)
        return tuple(rows)

    def text(self) -> str:
        """The last point, for a person."""
        point = self.batches[self.step]
        parts = {"energy": "meV/atom", "forces": "meV/A", "magnetic_forces": "meV/muB"}
        errors = (f"{1e3 * point[q]:.3g} {unit}" for q, unit in parts.items() if q in point)
        return f"step {self.step}: {', '.join(errors)}"


def read_curve(directory: Path) -> Curve:
    """What there is so far; a line that is still being written is left out."""
    best = None
    validated: dict[int, Mapping[str, float]] = {}
    names: list[str] = []
    for line in _lines(directory / VALIDATION_LOG):
        if line.startswith("# step"):
            names = line[1:].split()
        elif line.startswith("# saved best checkpoint"):
            best = max(validated, default=None)
        elif not line.startswith("#") and len(values := line.split()) == len(names):
            validated[int(values[0])] = {
                _VALIDATION[head]: 1e-3 * float(value)  # written in meV
                for name, value in zip(names, values, strict=True)
                if name.partition("(")[0].endswith("_RMSE")
                and (head := name.partition("_")[0]) in _VALIDATION
                and math.isfinite(float(value))
            }
    return Curve(_batches(directory / LCURVE), validated, best)


def _batches(path: Path) -> dict[int, Mapping[str, float]]:
    found: dict[int, Mapping[str, float]] = {}
    names: list[str] = []
    for line in _lines(path):
        if line.startswith("# step"):
            names = line[1:].split()
        elif not line.startswith("#") and len(values := line.split()) == len(names):
            row = dict(zip(names, map(float, values), strict=True))
            point = {"learning_rate": row["lr"], "loss": row.get("rmse_trn", row.get("rmse", math.nan))}
            for key, quantity in _TRAIN.items():
                # Without validation deepmd-kit leaves the suffix out; NaN marks a quantity without labels.
                value = row.get(f"rmse_{key}_trn", row.get(f"rmse_{key}", math.nan))
                if math.isfinite(value):
                    point[quantity] = value
            found[int(values[0])] = point
    return found


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return text[: text.rfind("\n") + 1].splitlines()
