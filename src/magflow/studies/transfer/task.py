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
from typing import Any

import numpy as np

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.files import replace_file
from magflow.core.label import LabelKind
from magflow.core.protocols import PotentialFamily, WorkProgress, silent
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.replay import check_same_surface, with_replay
from magflow.potentials.training import EnsembleTask, train_ensemble
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
    sizes
        Numbers of magnetic labels.
    seeds
        Each draws its own labels and fits its own potentials.
    workdir
        Where finished points are kept.
    arms
        What is compared.
    jobs
        Members fitted side by side.

    Raises
    ------
    InputError
        Labels of the wrong kind, sizes beyond the pool, labels that are both learnt from and tested on, an arm with
        replay where the two kinds of label do not lie on one energy surface.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(sorted(set(self.sizes))))
        for name in ("non_magnetic", "pool", "test", "sizes", "seeds", "arms"):
            if not len(getattr(self, name)):
                raise InputError("nothing to work with", where=name.replace("_", "-"), expected="at least one entry")
        for name in ("non_magnetic", "pool", "test"):
            _check_kind(name, getattr(self, name))
        if not 1 <= self.sizes[0] <= self.sizes[-1] <= len(self.pool):
            raise InputError(
                "numbers of magnetic labels out of range",
                where="sizes",
                seen=", ".join(map(str, self.sizes)),
                expected=f"1 to {len(self.pool)}, the magnetic labels there are",
            )
        shared = {item.label_id for item in self.pool} & {item.label_id for item in self.test}
        if shared:
            raise InputError(
                "labels to learn from are among those to be tested on", seen=f"{len(shared)}, such as {min(shared)}"
            )
        if self.family.name != self.pretraining.name and STARTED & set(self.arms):
            raise InputError(
                "a potential cannot be fine-tuned into one of another family",
                seen=f"{self.pretraining.name} to {self.family.name}",
                expected="one family for both stages",
                hint="mmtp goes from labels without moments to labels with them; dp reads none of them in either stage",
            )
        if self.pretraining.needs_moments and STARTED & set(self.arms):
            raise InputError(
                "this family cannot be pre-trained on labels without moments",
                where="family",
                seen=self.pretraining.name,
                expected="mmtp or dp, or another family that can do without moments",
            )
        if BOTH & set(self.arms):
            for own in self.pool.levels_of_theory:
                for other in self.non_magnetic.levels_of_theory:
                    check_same_surface(other, own)

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

    def magnetic(self, size: int, seed: int) -> Dataset:
        """The `size` magnetic labels of one seed."""
        order = np.random.default_rng(seed).permutation(len(self.pool))
        return Dataset(self.pool.take(np.sort(order[:size]).tolist()), mixed=self.pool.mixed)

    def learnt(self, arm: Arm, size: int, seed: int) -> Dataset:
        """The labels one point learns from."""
        magnetic = self.magnetic(size, seed)
        if arm not in BOTH:
            return magnetic
        return with_replay(magnetic, self.non_magnetic, share=self.schedule.replay, seed=seed)

    def points(self) -> Iterator[tuple[int, Arm, int]]:
        """Seed, arm and size of every point."""
        for seed in self.seeds:
            for size in self.sizes:
                for arm in self.arms:
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
        progress(1.0, f"{len(wanted)}/{len(wanted)}: done", milestone=True)
        return TransferCurve(tuple(points), _about(self))


def _check_kind(name: str, labels: Dataset) -> None:
    """Non-magnetic labels for the first part, magnetic ones for the others."""
    plain = name == "non_magnetic"
    if (labels.kinds == (LabelKind.NON_MAGNETIC,)) != plain:
        raise InputError(
            "labels of the wrong kind",
            where=name.replace("_", "-"),
            seen=", ".join(labels.kinds),
            expected="non-magnetic" if plain else "constrained or spin-polarised",
        )


def _claim(task: TransferTask) -> None:
    """Write down what is measured in `workdir`, or check that it is the same."""
    path = task.workdir / "task.json"
    if not path.is_file():
        replace_file(path, json.dumps({"key": task.key}).encode())
        return
    if _read(path).get("key") != task.key:
        raise InputError(
            "the directory holds the points of other labels or settings",
            where=str(task.workdir),
            hint="repeat its labels and settings, or choose another directory; only sizes and seeds may change",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError("a finished part cannot be read", where=str(path), hint="remove it") from error


def _point(task: TransferTask, seed: int, arm: Arm, size: int) -> TransferPoint:
    directory = task.workdir / f"seed_{seed}" / f"{arm.replace(' ', '_')}_{size}"
    if (directory / POINT).is_file():
        return TransferPoint.from_dict(_read(directory / POINT))
    start, pretraining_seconds = None, 0.0
    if arm in STARTED:
        start, pretraining_seconds = _pretrained(task, seed)
    learnt = task.learnt(arm, size, seed)
    ensemble, seconds = _train(task, task.family, learnt, seed, directory / "fits", start)
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
