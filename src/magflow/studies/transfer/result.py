"""Transfer from non-magnetic to magnetic labels, measured: errors against labels and cost, beside fits from scratch.

For each seed a potential is pre-trained once on the non-magnetic labels. For each number of magnetic labels, drawn at
random and nested (the labels of a smaller number are among those of a larger one), it is fine-tuned on them, and
another is fitted to them from scratch. All are held against magnetic labels none of them has seen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.comparison import compare
from magflow.core.dataset import Dataset
from magflow.core.files import replace_file
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.training import EnsembleTask, train_ensemble
from magflow.studies.transfer.task import STARTED, Arm, TransferTask

POINT = "point.json"
FORMAT = "magflow-transfer-1"

Progress = Callable[[int, int, str], None]
"""Called with the number of finished points, that of all points, and a short text."""


@dataclass(frozen=True)
class TransferPoint:
    """One fit, or one ensemble of them.

    Parameters
    ----------
    rmse
        Quantity to RMSE on the test labels, house units (energy in eV/atom).
    core_hours, cpu_hours
        Labels it took, non-magnetic ones included where it used them: wall time x cores, and CPU time.
    fit_cpu_seconds
        Its fits, and its part of the pre-training: all of it, as one user would pay.
    """

    arm: Arm
    seed: int
    magnetic_labels: int
    non_magnetic_labels: int
    rmse: Mapping[str, float]
    core_hours: float
    cpu_hours: float
    fit_cpu_seconds: float


@dataclass(frozen=True, eq=False)
class TransferCurve:
    """All points, and what they were made from (`about`, JSON-ready)."""

    points: tuple[TransferPoint, ...]
    about: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"format": FORMAT, "about": dict(self.about), "points": [asdict(p) for p in self.points]}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> TransferCurve:
        """Inverse of :meth:`as_dict`."""
        return cls(tuple(TransferPoint(**(p | {"arm": Arm(p["arm"])})) for p in d["points"]), d["about"])

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms there are points of."""
        return tuple(arm for arm in Arm if any(p.arm is arm for p in self.points))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds there are points of."""
        return tuple(sorted({p.seed for p in self.points}))

    def of(self, arm: Arm, seed: int) -> list[TransferPoint]:
        """Points of one arm and seed, by number of magnetic labels."""
        return sorted((p for p in self.points if (p.arm, p.seed) == (arm, seed)), key=lambda p: p.magnetic_labels)


def transfer_curve(
    task: TransferTask, workdir: Path, *, jobs: int = 1, progress: Progress | None = None
) -> TransferCurve:
    """Fit every point that is not finished yet in `workdir`, members side by side up to `jobs` at a time.

    One that was killed goes on where it was.

    Raises
    ------
    InputError
        If `workdir` holds the points of another task, or what the family raises.
    """
    _claim(task, workdir)
    wanted = list(task.points())
    points = []
    for done, (seed, arm, size) in enumerate(wanted):
        if progress:
            progress(done, len(wanted), f"seed {seed}, {size} magnetic labels, {arm}")
        points.append(_point(task, workdir, seed, arm, size, jobs))
    if progress:
        progress(len(wanted), len(wanted), "done")
    return TransferCurve(tuple(points), _about(task))


def _claim(task: TransferTask, workdir: Path) -> None:
    """Write down what is measured in `workdir`, or check that it is the same."""
    path = workdir / "task.json"
    if not path.is_file():
        replace_file(path, json.dumps({"key": task.key}).encode())
        return
    if _read(path).get("key") != task.key:
        raise InputError(
            "the directory holds the points of other labels or settings",
            where=str(workdir),
            hint="repeat its labels and settings, or choose another directory; only sizes and seeds may change",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError("a finished part cannot be read", where=str(path), hint="remove it") from error


def _point(task: TransferTask, workdir: Path, seed: int, arm: Arm, size: int, jobs: int) -> TransferPoint:
    directory = workdir / f"seed_{seed}" / f"{arm.replace(' ', '_')}_{size}"
    if (directory / POINT).is_file():
        found = _read(directory / POINT)
        return TransferPoint(**(found | {"arm": Arm(found["arm"])}))
    start, pretraining_seconds = None, 0.0
    if arm in STARTED:
        start, pretraining_seconds = _pretrained(task, workdir, seed, jobs)
    learnt = task.learnt(arm, size, seed)
    ensemble, seconds = _train(task, task.family, learnt, seed, directory / "fits", jobs, start)
    bought = list(task.magnetic(size, seed))
    if arm is not Arm.SCRATCH:
        bought += list(task.non_magnetic)
    point = TransferPoint(
        arm,
        seed,
        size,
        len(bought) - size,
        held_out_errors(ensemble, task.test),
        core_hours=sum(item.label.cost.core_hours for item in bought),
        cpu_hours=sum(item.label.cost.cpu_seconds for item in bought) / 3600.0,
        fit_cpu_seconds=seconds + pretraining_seconds,
    )
    replace_file(directory / POINT, json.dumps(asdict(point)).encode())
    shutil.rmtree(directory / "fits", ignore_errors=True)
    return point


def _pretrained(task: TransferTask, workdir: Path, seed: int, jobs: int) -> tuple[PotentialEnsemble, float]:
    """The non-magnetic potential of one seed, and the CPU seconds it took; fitted once."""
    return _train(task, task.pretraining, task.non_magnetic, seed, workdir / f"seed_{seed}" / "pretrained", jobs, None)


def _train(
    task: TransferTask,
    family: Any,
    dataset: Dataset,
    seed: int,
    workdir: Path,
    jobs: int,
    start: PotentialEnsemble | None,
) -> tuple[PotentialEnsemble, float]:
    schedule = task.schedule
    fit = EnsembleTask(
        family=family,
        dataset=dataset,
        elements=task.elements,
        members=schedule.members,
        seed=seed,
        bagging=schedule.bagging,
        validation=schedule.validation,
        start=start,
    )
    ensemble, reports = train_ensemble(fit, workdir, jobs=jobs)
    return ensemble, sum(r.cost.cpu_seconds for r in reports)


def held_out_errors(ensemble: PotentialEnsemble, test: Sequence[LabeledFrame]) -> dict[str, float]:
    """RMSE of the mean of an ensemble by quantity, house units (energy in eV/atom)."""
    prediction = as_labelled(ensemble, test)
    found = {q: compare(prediction, test, q).error for q in QUANTITIES}
    return {q: float(np.sqrt((error**2).mean())) for q, error in found.items() if len(error)}


def _about(task: TransferTask) -> dict[str, Any]:
    parts = {"non_magnetic": task.non_magnetic, "pool": task.pool, "test": task.test}
    return {
        "elements": list(task.elements),
        "family": task.family.name,
        "settings": task.family.model_dump(mode="json"),
        "pretraining": task.pretraining.model_dump(mode="json"),
        "schedule": task.schedule.model_dump(mode="json"),
        "labels": {
            name: {
                "count": len(part),
                "kinds": [str(kind) for kind in part.kinds],
                "core_hours": sum(item.label.cost.core_hours for item in part),
                "cpu_hours": sum(item.label.cost.cpu_seconds for item in part) / 3600.0,
                "fingerprint": part.fingerprint,
            }
            for name, part in parts.items()
        },
    }
