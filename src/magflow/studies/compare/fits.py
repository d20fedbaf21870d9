"""Families side by side: the same labels, the same split, several seeds; errors, training and inference cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.files import replace_file
from magflow.errors import InputError, MagflowError
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.strata import UsualVolume, residual_report
from magflow.potentials.training import train_ensemble
from magflow.studies.compare.result import Comparison
from magflow.studies.compare.task import ComparedFit, ComparisonTask, Entry
from magflow.studies.compare.timing import inference_cost

FIT = "fit.json"

Progress = Callable[[int, int, str, float], None]
"""Called with the number of finished fits, that of all fits, the name of the present one and its fraction done."""


def compare_families(task: ComparisonTask, workdir: Path, *, progress: Progress | None = None) -> Comparison:
    """Fit and judge every entry with every seed; what `workdir` holds of the same fits is kept.

    A fit that was killed goes on where it was. One that fails is told and does not stop the others; it is tried again
    when the comparison is.

    Raises
    ------
    StoreError
        If `workdir` cannot be written.
    """
    wanted = list(task.fits())
    told = progress or (lambda done, total, name, fraction: None)
    fits = []
    for done, (entry, seed) in enumerate(wanted):
        name = f"{entry.name}, seed {seed}"

        def on_way(fraction: float, done: int = done, name: str = name) -> None:
            told(done, len(wanted), name, fraction)

        on_way(0.0)
        fits.append(_fit(task, entry, seed, workdir, on_way))
        on_way(1.0)
    return Comparison(tuple(fits), task.about())


def _fit(task: ComparisonTask, entry: Entry, seed: int, workdir: Path, on_way: Callable[[float], None]) -> ComparedFit:
    directory = workdir / f"{entry.name}_{seed}_{task.key(entry, seed)}"
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


def _errors(ensemble: PotentialEnsemble, labels: Any, usual: UsualVolume) -> dict[str, Any]:
    judged = residual_report(labels, as_labelled(ensemble, labels), usual)
    wrong = [q for q, found in judged["errors"].items() if not np.isfinite(found["rmse"])]
    if wrong:
        raise InputError("predictions are not finite", seen=", ".join(wrong))
    return judged
