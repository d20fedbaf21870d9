"""Families side by side: the same labels, the same split, several seeds; errors, training and inference cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.files import replace_file
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES
from magflow.core.protocols import PotentialFamily, WorkProgress, silent
from magflow.errors import InputError, MagflowError
from magflow.io.importing.magnetic_states import MagneticStates, magnetic_states
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.strata import UsualVolume, residual_report
from magflow.potentials.training import EnsembleTask, train_ensemble
from magflow.studies.compare.result import ComparedFit, Comparison
from magflow.studies.compare.timing import inference_cost

FIT = "fit.json"


@dataclass(frozen=True)
class Entry:
    """One family with its settings, under a name of its own."""

    name: str
    family: PotentialFamily

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "._-" for c in self.name):
            raise InputError("not a name for an entry", seen=self.name, expected="letters, digits, '.', '_' and '-'")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "family": self.family.name,
            "magnetic": bool(self.family.magnetic),
            "settings": self.family.model_dump(mode="json"),
        }


def parts(labels: Dataset, unseen: Dataset | None, share: float) -> tuple[Dataset, Dataset]:
    """Labels to learn from and labels to be tested on.

    Parameters
    ----------
    unseen
        Test labels; those among `labels` are not learnt from. None: `labels` are split.
    share
        Of `labels` to learn from, if they are split.

    Raises
    ------
    InputError
        If the share is out of range.
    """
    if unseen is not None:
        known = {item.label_id for item in unseen}
        return labels.filter(lambda item: item.label_id not in known), unseen
    if not 0.0 < share < 1.0:
        raise InputError("share of the labels out of range", where="split", seen=share, expected="above 0, below 1")
    return labels.split(1.0 - share, seed=0)


@dataclass(frozen=True, eq=False)
class ComparisonTask:
    """Entries to be fitted to the same labels and held against the same others.

    Parameters
    ----------
    train, test
        Labels to learn from, and labels no fit sees.
    seeds
        Every entry is fitted once per seed.
    workdir
        Where fits are kept.
    validation
        Share of `train` each fit keeps aside to stop early.

    Raises
    ------
    InputError
        Nothing to compare, two entries of one name, labels both learnt from and tested on, an element only the test
        labels hold.
    """

    entries: tuple[Entry, ...]
    train: Dataset
    test: Dataset
    seeds: tuple[int, ...]
    workdir: Path
    validation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("entries", "train", "test", "seeds"):
            if not len(getattr(self, name)):
                raise InputError("nothing to work with", where=name, expected="at least one entry")
        names = [entry.name for entry in self.entries]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise InputError(
                "two entries have the same name", seen=", ".join(twice), hint="write NAME=FAMILY to tell them apart"
            )
        shared = {item.label_id for item in self.train} & {item.label_id for item in self.test}
        if shared:
            raise InputError(
                "labels to learn from are among those to be tested on", seen=f"{len(shared)}, such as {min(shared)}"
            )
        if foreign := sorted(set(self.test.elements) - set(self.train.elements)):
            raise InputError(
                "an element is in the test labels only",
                seen=", ".join(foreign),
                expected="only " + ", ".join(self.train.elements),
            )

    def fits(self) -> Iterator[tuple[Entry, int]]:
        """Entry and seed of every fit, seed by seed: an interrupted comparison is a complete one of fewer seeds."""
        for seed in self.seeds:
            for entry in self.entries:
                yield entry, seed

    def fit_task(self, entry: Entry, seed: int) -> EnsembleTask:
        """The training of one fit: all labels, one member."""
        return EnsembleTask(
            family=entry.family,
            dataset=self.train,
            elements=self.train.elements,
            members=1,
            seed=seed,
            bagging=False,
            validation=self.validation,
        )

    def run(self, progress: WorkProgress = silent) -> Comparison:
        """Fit and judge every entry with every seed; what `workdir` holds of the same fits is kept.

        A fit that was killed goes on where it was. One that fails is told and does not stop the others; it is tried
        again when the comparison is.

        Raises
        ------
        StoreError
            If `workdir` cannot be written.
        """
        wanted = list(self.fits())
        fits = []
        for done, (entry, seed) in enumerate(wanted):
            on_way = _part(progress, done, len(wanted), f"{entry.name}, seed {seed}")
            on_way(0.0)
            fits.append(_fit(self, entry, seed, on_way))
            on_way(1.0)
        return Comparison(tuple(fits), self.about())

    @cached_property
    def _test_key(self) -> str:
        return digest([self.test.fingerprint.encode(), repr([i.label.energy for i in self.test]).encode()])

    def key(self, entry: Entry, seed: int) -> str:
        """12 hex digits of everything that decides the result of one fit."""
        return digest([self.fit_task(entry, seed).key.encode(), self._test_key.encode()], 12)

    @cached_property
    def _states(self) -> MagneticStates | None:
        return magnetic_states(self.train)

    def about(self) -> dict[str, Any]:
        """What is compared, JSON-ready."""

        def told(part: Dataset) -> dict[str, Any]:
            return {
                "count": len(part),
                "kinds": [str(kind) for kind in part.kinds],
                "levels_of_theory": [level.as_dict() for level in part.levels_of_theory],
                "fingerprint": part.fingerprint,
                "quantities": [q for q in QUANTITIES if any(_has(item, q) for item in part)],
                "with_moments": sum(_has_moments(item) for item in part),
            }

        return {
            "elements": list(self.train.elements),
            "labels": {"train": told(self.train), "test": told(self.test)},
            "magnetic_states": None if self._states is None else self._states.as_dict(),
            "validation": self.validation,
            "entries": [entry.as_dict() for entry in self.entries],
        }


def _has(item: LabeledFrame, quantity: str) -> bool:
    values = item.components(quantity)
    return values is not None and bool(np.isfinite(values).any())


def _has_moments(item: LabeledFrame) -> bool:
    magmoms = item.configuration.magmoms
    return magmoms is not None and bool(magmoms.any())


def _part(progress: WorkProgress, done: int, total: int, name: str) -> Callable[[float], None]:
    """The progress of one fit of `total`, of which `done` are finished."""

    def tell(fraction: float) -> None:
        text = f"{done + int(fraction)}/{total}: {name}"
        progress((done + fraction) / total, text, milestone=fraction in (0.0, 1.0))

    return tell


def _fit(task: ComparisonTask, entry: Entry, seed: int, on_way: Callable[[float], None]) -> ComparedFit:
    directory = task.workdir / f"{entry.name}_{seed}_{task.key(entry, seed)}"
    if (directory / FIT).is_file():
        return _read(directory / FIT)
    try:
        fit = _judged(task, entry, seed, directory, on_way)
    except MagflowError as error:
        return ComparedFit(entry.name, seed, failure=" ".join(str(error).split()))
    except Exception as error:  # families come from plug-ins: what one of them raises must not lose the others
        return ComparedFit(entry.name, seed, failure=" ".join(f"{type(error).__name__}: {error}".split()))
    replace_file(directory / FIT, json.dumps(fit.as_dict()).encode())
    shutil.rmtree(directory / "training", ignore_errors=True)
    return fit


def _read(path: Path) -> ComparedFit:
    try:
        return ComparedFit.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError("a finished fit cannot be read", where=str(path), hint="remove its directory") from error


def _judged(
    task: ComparisonTask, entry: Entry, seed: int, directory: Path, on_way: Callable[[float], None]
) -> ComparedFit:
    """Train, hold against the test labels, time, and keep the potential in ``directory/potential``."""
    ensemble, (report,) = train_ensemble(
        task.fit_task(entry, seed), directory / "training", progress=lambda _, fraction, text: on_way(0.95 * fraction)
    )
    usual = UsualVolume.of([item.frame for item in task.train])
    judged = _errors(ensemble, task.test, usual)
    inference = inference_cost(ensemble.members[0], [item.configuration for item in task.test])
    ensemble.save(directory / "potential")
    return ComparedFit(
        entry.name,
        seed,
        errors=judged["errors"],
        train_errors=_errors(ensemble, task.train, usual)["errors"],
        strata=judged["strata"],
        converged=report.converged,
        fit_cpu_seconds=report.cost.cpu_seconds,
        fit_wall_seconds=report.cost.wall_seconds,
        inference=inference,
    )


def _errors(ensemble: PotentialEnsemble, labels: Dataset, usual: UsualVolume) -> dict[str, Any]:
    judged = residual_report(labels, as_labelled(ensemble, labels), usual)
    wrong = [q for q, found in judged["errors"].items() if not np.isfinite(found["rmse"])]
    if wrong:
        raise InputError("predictions are not finite", seen=", ".join(wrong))
    return judged
