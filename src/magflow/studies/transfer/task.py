"""Transfer from non-magnetic to magnetic labels, measured beside fits from scratch.

For each seed a potential is pre-trained once on the non-magnetic labels. For each number of magnetic labels, drawn at
random and nested (the labels of a smaller number are among those of a larger one), it is fine-tuned on them, and
another is fitted to them from scratch. All are held against magnetic labels none of them has seen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.files import replace_file
from magflow.core.protocols import PotentialFamily, WorkProgress, silent
from magflow.core.types import IntArray
from magflow.errors import InputError
from magflow.potentials.difference import DifferenceFamily
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.replay import with_replay
from magflow.potentials.training import EnsembleTask, train_ensemble
from magflow.studies.transfer.about import about
from magflow.studies.transfer.checks import check_task
from magflow.studies.transfer.finished import read_finished
from magflow.studies.transfer.limit import ceiling_of
from magflow.studies.transfer.result import Bought, TransferCurve, TransferPoint, measured
from magflow.studies.transfer.ways import BOTH, STARTED, Arm, TransferSchedule

POINT = "point.json"


@dataclass(frozen=True, eq=False)
class TransferTask:
    """What is measured.

    Parameters
    ----------
    pretraining, family
        Settings of the family for the non-magnetic labels, and for the magnetic ones.
    non_magnetic, pool, test
        Non-magnetic labels; magnetic ones to learn from; magnetic ones to be held against.
    sizes, scratch_sizes
        Numbers of magnetic labels; and others that are fitted from scratch alone.
    seeds
        Each draws its own labels and fits its own potentials.
    workdir
        Where finished points are kept.
    arms
        What is compared.
    correction
        What is fitted to the difference, for the arm of that name.
    jobs
        Members fitted side by side.

    Raises
    ------
    InputError
        See :func:`~magflow.studies.transfer.checks.check_task`.
    """

    pretraining: PotentialFamily
    family: PotentialFamily
    non_magnetic: Dataset
    pool: Dataset
    test: Dataset
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    workdir: Path
    schedule: TransferSchedule = field(default_factory=TransferSchedule)
    arms: tuple[Arm, ...] = (Arm.SCRATCH, Arm.TUNED, Arm.REPLAYED)
    jobs: int = 1
    scratch_sizes: tuple[int, ...] = ()
    correction: DifferenceFamily | None = None

    def __post_init__(self) -> None:
        for name in ("sizes", "scratch_sizes"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        check_task(self)

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Elements of all labels."""
        return tuple(sorted({e for part in (self.non_magnetic, self.pool, self.test) for e in part.elements}))

    @cached_property
    def key(self) -> str:
        """24 hex digits of what decides a point, apart from its arm, size and seed: these may be added to later."""
        texts = [self.pretraining.name, self.family.name]
        texts += [model.model_dump_json() for model in (self.pretraining, self.family, self.schedule)]
        parts = [text.encode() for text in texts]
        for part in (self.non_magnetic, self.pool, self.test):
            parts += [part.fingerprint.encode(), np.array([item.label.energy for item in part]).tobytes()]
        return digest(parts)

    def order(self, seed: int) -> IntArray:
        """(n,) the magnetic labels in the order in which one seed draws them."""
        return np.random.default_rng(seed).permutation(len(self.pool))

    def magnetic(self, size: int, seed: int) -> Dataset:
        """The `size` magnetic labels of one seed."""
        return Dataset(self.pool.take(np.sort(self.order(seed)[:size]).tolist()), mixed=self.pool.mixed)

    def learnt(self, arm: Arm, size: int, seed: int) -> Dataset:
        """The labels one point learns from."""
        magnetic = self.magnetic(size, seed)
        if arm not in BOTH:
            return magnetic
        return with_replay(magnetic, self.non_magnetic, share=self.schedule.replay, seed=seed)

    def points(self) -> Iterator[tuple[int, Arm, int]]:
        """Seed, arm and size of every point."""
        for seed in self.seeds:
            for size in sorted({*self.sizes, *self.scratch_sizes}):
                for arm in self.arms:
                    if size in self.sizes or arm is Arm.SCRATCH:
                        yield seed, arm, size

    def run(self, progress: WorkProgress = silent) -> TransferCurve:
        """Fit every point that is not finished yet in `workdir`, members side by side up to `jobs` at a time.

        One that was killed goes on where it was.

        Raises
        ------
        InputError
            If `workdir` holds the points of another task, or what the family raises.
        """
        _claim(self)
        wanted = list(self.points())
        points = []
        for done, (seed, arm, size) in enumerate(wanted):
            text = f"{done}/{len(wanted)}: seed {seed}, {size} magnetic labels, {arm}"
            progress(done / len(wanted), text, milestone=True)
            points.append(_point(self, seed, arm, size))
        curve = TransferCurve(tuple(points), about(self), ceiling_of(self))
        progress(1.0, f"{len(wanted)}/{len(wanted)}: done", milestone=True)
        return curve


def _claim(task: TransferTask) -> None:
    """Write down what is measured in `workdir`, or check that it is the same."""
    path = task.workdir / "task.json"
    if not path.is_file():
        replace_file(path, json.dumps({"key": task.key}).encode())
        return
    if read_finished(path).get("key") != task.key:
        raise InputError(
            "the directory holds the points of other labels or settings",
            where=str(task.workdir),
            hint="repeat its labels and settings, or choose another directory; only sizes and seeds may change",
        )


def _point(task: TransferTask, seed: int, arm: Arm, size: int) -> TransferPoint:
    directory = task.workdir / f"seed_{seed}" / f"{arm.replace(' ', '_')}_{size}"
    family = task.family
    if arm is Arm.DIFFERENCE and task.correction is not None:
        family = task.correction
        directory /= digest([family.model_dump_json().encode()])
    if (directory / POINT).is_file():
        return TransferPoint.from_dict(read_finished(directory / POINT))
    start, pretraining_seconds = None, 0.0
    if arm in STARTED:
        start, pretraining_seconds = _pretrained(task, seed)
    learnt = task.learnt(arm, size, seed)
    ensemble, seconds = _train(task, family, learnt, seed, directory / "fits", start)
    point = measured(
        arm,
        seed,
        ensemble,
        task.test,
        magnetic=Bought.of(task.magnetic(size, seed)),
        beside=Bought() if arm is Arm.SCRATCH else Bought.of(task.non_magnetic),
        fit_cpu_seconds=seconds + pretraining_seconds,
    )
    replace_file(directory / POINT, json.dumps(asdict(point)).encode())
    shutil.rmtree(directory / "fits", ignore_errors=True)
    return point


def _pretrained(task: TransferTask, seed: int) -> tuple[PotentialEnsemble, float]:
    """The non-magnetic potential of one seed, and the CPU seconds it took; fitted once."""
    return _train(task, task.pretraining, task.non_magnetic, seed, task.workdir / f"seed_{seed}" / "pretrained", None)


def _train(
    task: TransferTask,
    family: PotentialFamily,
    dataset: Dataset,
    seed: int,
    workdir: Path,
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
    ensemble, reports = train_ensemble(fit, workdir, jobs=task.jobs)
    return ensemble, sum(r.cost.cpu_seconds for r in reports)
