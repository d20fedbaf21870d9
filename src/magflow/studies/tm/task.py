"""Every metal, contender, number of labels and seed is one fit: kept as soon as it is done, never done twice."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.files import held, replace_file
from magflow.core.label import ignoring_moments
from magflow.core.prediction import QUANTITIES
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError, MagflowError, MissingToolError
from magflow.potentials.training import EnsembleTask, train_ensemble
from magflow.studies.compare.timing import inference_cost
from magflow.studies.tm.contenders import Contender, Reading
from magflow.studies.tm.judged import judge
from magflow.studies.tm.pace import Pace
from magflow.studies.tm.result import Case, TmBenchmark, TmFit
from magflow.studies.tm.rows import Row, Sorted

FIT, TRAINING = "fit.json", "training"
Parts = tuple[list[Sorted], list[Sorted]]
"""Labels to learn from, in the order in which they are drawn, and labels to test on."""


@dataclass(frozen=True, eq=False)
class TmTask:
    """What is measured.

    Parameters
    ----------
    sizes
        Numbers of labels to learn from; those that a row cannot give are left out there.
    seeds
        Each splits the labels, draws those to learn from, and fits.
    share
        Of the labels of a row without a split of its own, to test on.
    readings
        What becomes of moments, where labels carry some and a family reads them.
    workdir
        Where fits are kept.

    Raises
    ------
    InputError
        Nothing to work with, a name that stands for two things, a share out of range, or no row with as many labels as
        the fewest asked for.
    """

    rows: tuple[Row, ...]
    contenders: tuple[Contender, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    workdir: Path
    share: float = 0.2
    readings: tuple[Reading, ...] = (Reading.READ, Reading.IGNORED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(sorted(set(self.sizes))))
        for name in ("rows", "contenders", "sizes", "seeds", "readings"):
            if not getattr(self, name):
                raise InputError("nothing to work with", where=name, expected="at least one entry")
        for what, named in (("row", self.rows), ("contender", self.contenders)):
            names = [one.name for one in named]
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise InputError(f"two {what}s have the same name", seen=", ".join(twice))
        if not 0.0 < self.share < 1.0:
            raise InputError("share of the labels out of range", seen=self.share, expected="above 0, below 1")
        if self.sizes[0] < 1:
            raise InputError("number of labels out of range", seen=self.sizes[0], expected="at least 1")
        most = {row.name: len(self._both(row, self.seeds[0])[0]) for row in self.rows}
        if not any(self.sizes[0] <= n for n in most.values()):
            raise InputError(
                "no row has as many labels to learn from",
                seen=f"{self.sizes[0]} wanted of " + ", ".join(f"{n} ({name})" for name, n in most.items()),
                hint="ask for fewer, or give more",
            )

    def cases(self) -> Iterator[tuple[Row, Contender, Case]]:
        """Every fit, seed by seed: an interrupted benchmark is a complete one of fewer seeds."""
        for seed in self.seeds:
            for size in self.sizes:
                for row in self.rows:
                    if size > len(self._both(row, seed)[0]):
                        continue
                    for contender in self.contenders:
                        for reading in contender.readings(has_moments=row.has_moments, wanted=self.readings):
                            yield row, contender, Case(row.name, contender.name, reading, size, seed)

    def run(self, progress: WorkProgress = silent) -> TmBenchmark:
        """Do every fit that `workdir` does not hold yet.

        One that was killed goes on where its family can. One that fails is kept with its reason and does not stop the
        others; if only a program was missing, it is tried again when the benchmark is.

        Raises
        ------
        StoreError
            If `workdir` cannot be written, or another process works there.
        InputError
            If a fit that is kept there cannot be read.
        """
        with held(self.workdir, "this benchmark"):
            fits = self._fits(progress)
        return TmBenchmark(tuple(fits), self.about())

    def _fits(self, progress: WorkProgress) -> list[TmFit]:
        """All fits, in the order of :meth:`cases`."""
        wanted = list(self.cases())
        places = [self._place(*one) for one in wanted]
        kept = [_kept(place) for place in places]
        pace = Pace()
        for fit in kept:
            if fit is not None:
                pace.note(fit)
        fits = []
        for k, ((row, contender, case), place) in enumerate(zip(wanted, places, strict=True)):
            fit = kept[k]
            if fit is None:
                rest = [
                    (c, self._atoms(r, c)) for (r, _, c), done in zip(wanted[k:], kept[k:], strict=True) if not done
                ]
                told = f"{k}/{len(wanted)}: {case}{pace.told(rest)}"
                progress(k / len(wanted), told, milestone=True)
                fit = self._fit(row, contender, case, place, _part(progress, k, len(wanted), told))
                pace.note(fit)
            fits.append(fit)
        progress(1.0, f"{len(wanted)}/{len(wanted)}: done", milestone=True)
        return fits

    def about(self) -> dict[str, Any]:
        """What is measured, JSON-ready."""
        return {
            "rows": {row.name: _described(row, self.share, self.seeds[0]) for row in self.rows},
            "contenders": [contender.as_dict() for contender in self.contenders],
            "sizes": list(self.sizes),
            "seeds": list(self.seeds),
            "share": self.share,
        }

    @cached_property
    def _parts(self) -> dict[tuple[str, int, bool], Parts]:
        """Labels to learn from and to test on that were asked for, by row, seed and whether they have lost moments."""
        return {}

    def _both(self, row: Row, seed: int, *, bare: bool = False) -> Parts:
        key = (row.name, seed, bare)
        if key not in self._parts:
            both = row.parts(self.share, seed)
            self._parts[key] = (_without_moments(both[0]), _without_moments(both[1])) if bare else both
        return self._parts[key]

    def _labels(self, row: Row, case: Case) -> tuple[list[Sorted], list[Sorted]]:
        """Labels one fit learns from, and those it is tested on."""
        learnt, tested = self._both(row, case.seed, bare=case.reading is Reading.IGNORED)
        return learnt[: case.labels], tested

    def _atoms(self, row: Row, case: Case) -> int:
        return sum(len(member.item.frame) for member in self._labels(row, case)[0])

    def _training(self, row: Row, contender: Contender, case: Case) -> EnsembleTask:
        learnt, _ = self._labels(row, case)
        return EnsembleTask(
            family=contender.family,  # type: ignore[arg-type]  # asked only where there is one
            dataset=Dataset(member.item for member in learnt),
            elements=row.elements,
            members=1,
            seed=case.seed,
            bagging=False,
        )

    def _place(self, row: Row, contender: Contender, case: Case) -> Path | None:
        """Directory of one fit, which other labels or settings do not share; None of a family that is missing."""
        if contender.family is None:
            return None
        tested = self._labels(row, case)[1]
        held = [m.item.label_id.encode() + repr(m.item.label.energy).encode() for m in tested]
        cells = [repr(sorted(m.strata.items())).encode() for m in tested]
        key = digest([self._training(row, contender, case).key.encode(), *held, *cells])
        words = (case.row, case.contender, case.reading, str(case.labels), str(case.seed))
        return self.workdir / "_".join([re.sub(r"[^A-Za-z0-9.+-]+", "-", word) for word in words] + [key[:12]])

    def _fit(self, row: Row, contender: Contender, case: Case, place: Path | None, progress: WorkProgress) -> TmFit:
        if place is None:
            return TmFit(case, failure=contender.missing)
        begin = time.perf_counter()
        try:
            fit = self._judged(row, contender, case, place, progress)
        except MissingToolError as error:
            return TmFit(case, failure=_line(error))
        except MagflowError as error:
            fit = TmFit(case, failure=_line(error))
        except Exception as error:  # families come from plug-ins: what one of them raises must not lose the others
            fit = TmFit(case, failure=_line(error, type(error).__name__))
        fit = replace(fit, wall_seconds=time.perf_counter() - begin)
        replace_file(place / FIT, json.dumps(fit.as_dict()).encode())
        shutil.rmtree(place / TRAINING, ignore_errors=True)
        return fit

    def _judged(self, row: Row, contender: Contender, case: Case, place: Path, progress: WorkProgress) -> TmFit:
        """Train, hold against the test labels, and time."""
        learnt, tested = self._labels(row, case)
        ensemble, (report,) = train_ensemble(
            self._training(row, contender, case),
            place / TRAINING,
            progress=lambda _, fraction, text: progress(0.95 * fraction, ""),
        )
        return TmFit(
            case,
            judged=judge(ensemble, tested),
            atoms=sum(len(member.item.frame) for member in learnt),
            converged=report.converged,
            fit_cpu_seconds=report.cost.cpu_seconds,
            inference=inference_cost(ensemble.members[0], [member.item.configuration for member in tested]),
        )


def _part(progress: WorkProgress, k: int, n: int, about: str) -> WorkProgress:
    """The progress of fit `k` of `n`, under the same text."""

    def told(fraction: float, text: str, *, milestone: bool = False) -> None:
        progress((k + fraction) / n, about)

    return told


def _kept(place: Path | None) -> TmFit | None:
    if place is None or not (place / FIT).is_file():
        return None
    try:
        return TmFit.from_dict(json.loads((place / FIT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            "a finished fit cannot be read", where=str(place / FIT), hint="remove its directory"
        ) from error


def _without_moments(members: list[Sorted]) -> list[Sorted]:
    return [replace(member, item=ignoring_moments(member.item)) for member in members]


def _line(error: Exception, name: str = "") -> str:
    return " ".join(f"{name}: {error}".split()) if name else " ".join(str(error).split())


def _described(row: Row, share: float, seed: int) -> dict[str, Any]:
    learnt, tested = row.parts(share, seed)
    forces = [m.item.label.forces for m in row.members if m.item.label.forces is not None]
    return {
        "elements": list(row.elements),
        "column": row.column,
        "kind": str(row.level.kind),
        "smearing": row.smearing,
        "electrons": row.electrons,
        "labels": len(row.members),
        "to_learn_from": len(learnt),
        "to_test_on": len(tested),
        "own_split": row.own_split,
        "atoms": sum(len(m.item.frame) for m in row.members),
        "rms_force": float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) if forces else None,
        "strata": {
            kind: sorted({m.strata[kind] for m in row.members if kind in m.strata})
            for kind in sorted({kind for m in row.members for kind in m.strata})
        },
        "quantities": [q for q in QUANTITIES if any(m.item.components(q) is not None for m in row.members)],
        "has_moments": row.has_moments,
    }
