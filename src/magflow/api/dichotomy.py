"""One file, one command: frames, labels of several kinds, potentials on each set, and the properties of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np

from magflow.api.validation import validate
from magflow.campaign.dichotomy import DichotomySpec, PotentialSpec, load_dichotomy
from magflow.core.dataset import Dataset
from magflow.core.files import replace_file
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame, LabelKind, ignoring_moments
from magflow.core.protocols import WorkProgress, silent
from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.errors import CampaignError
from magflow.execution.labelling import Labelled, LabelTask
from magflow.explore.builders import from_builder
from magflow.explore.pool import ferromagnetic
from magflow.io.extxyz_writer import format_frame
from magflow.io.findings import Findings
from magflow.io.gather import gather
from magflow.io.records import Record
from magflow.io.sources import Wish
from magflow.potentials.ensemble import MANIFEST, PotentialEnsemble
from magflow.potentials.training import EnsembleTask
from magflow.presentation.page import page
from magflow.studies.base import read_result
from magflow.studies.dichotomy.result import Dichotomy, FittedPotential, LabelSet
from magflow.studies.dichotomy.section import section
from magflow.studies.train.result import FILE, TrainResult
from magflow.studies.train.task import TrainTask
from magflow.studies.validate.result import Validation
from magflow.studies.validate.section import section as validation_section
from magflow.studies.validate.task import QUESTION

FRAMES, LABELS, POTENTIALS, VALIDATION = "frames.extxyz", "labels", "potentials", "validation"
"""In the directory of a dichotomy."""
SUMMARY, PAGE = "dichotomy.json", "dichotomy.html"
TURN = 8
"""Frames that are labelled in all kinds before the next ones: whenever it ends, the sets hold the same frames."""


class Step(StrEnum):
    """The steps, each of which needs those before it."""

    LABELS = "labels"
    POTENTIALS = "potentials"
    VALIDATION = "validation"


@dataclass(frozen=True, eq=False)
class DichotomyRun:
    """A dichotomy in a directory; every step keeps what an earlier run has finished.

    Parameters
    ----------
    spec
        The file.
    directory
        Gets `frames.extxyz`, `labels/KIND`, `potentials/NAME-KEY`, `validation/` and a page.
    """

    spec: DichotomySpec
    directory: Path

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """The frames; drawn once, read from then on: another machine's arithmetic must not make others of them."""
        path = self.directory / FRAMES
        if not path.is_file():
            model = PotentialEnsemble((SpinLatticeModel(),), "spin-lattice")  # type: ignore[arg-type]  # never saved
            drawn = self.spec.frames.candidates(model, self.spec.moments, self.spec.seed)
            texts = [format_frame(Record(c.frame, info={"source": c.source})) for c in drawn]
            replace_file(path, "".join(texts).encode())
        return tuple(record.frame for record in gather([path], Wish(), Findings()))

    def label(self, workers: int = 1, progress: WorkProgress = silent) -> dict[LabelKind, Labelled]:
        """Label in turns, all kinds of some frames at a time, until all are labelled or the core-hours are spent.

        Raises
        ------
        MissingToolError
            If the engine lacks something.
        """
        kinds, total = self.spec.label.kinds, len(self.frames)
        self._task(kinds[0], self.frames).require_ready()
        for begin in range(0, total, TURN):
            if self._spent() >= self.spec.label.core_hours:
                break
            for kind in kinds:
                task = self._task(kind, self.frames[begin : begin + TURN])
                if len(task.finished().items) < len(task.frames):
                    task.run(workers, lambda done, n: None)
                progress(begin / total, f"{kind} labels of frames {begin + 1} to {begin + TURN}", milestone=True)
        return {kind: self._task(kind, self.frames).finished() for kind in kinds}

    def train(self, labelled: Mapping[LabelKind, Labelled], progress: WorkProgress = silent) -> Dichotomy:
        """Train every potential that there is not yet.

        Raises
        ------
        CampaignError
            If a set has too few labels.
        """
        fitted = []
        for k, (name, task) in enumerate(self.trainings(labelled).items()):
            progress(k / len(self.spec.potentials), f"training {name}", milestone=True)
            made = read_result(task.directory / FILE, TrainResult) if (task.directory / MANIFEST).is_file() else None
            spec = self.spec.potentials[name]
            reads = task.training.family.magnetic and spec.moments == "read" and spec.labels != LabelKind.NON_MAGNETIC
            fitted.append(FittedPotential(name, str(spec.labels), reads, made or task.run()))
        return self.described(labelled, fitted)

    def trainings(self, labelled: Mapping[LabelKind, Labelled]) -> dict[str, TrainTask]:
        """Name of a potential to its training on these labels.

        Raises
        ------
        CampaignError
            If a set has too few labels.
        """
        out = {}
        for name, spec in self.spec.potentials.items():
            items = labelled[spec.labels].items
            known = [ignoring_moments(i) for i in items] if spec.moments == "ignored" else items
            out[name] = self._training(name, spec, known)
        return out

    def described(self, labelled: Mapping[LabelKind, Labelled], fitted: Sequence[FittedPotential] = ()) -> Dichotomy:
        """Label sets and potentials in numbers."""
        sets = tuple(_described(kind, found) for kind, found in labelled.items())
        difference = _difference(list(labelled.values()))
        return Dichotomy(self.spec.name, len(self.frames), sets, tuple(fitted), difference)

    def examine(
        self, labelled: Mapping[LabelKind, Labelled], *, quick: bool = False, progress: WorkProgress = silent
    ) -> Validation:
        """Ask every potential every property."""
        asked, out = self.spec.validation, self.directory / VALIDATION
        crystals = {
            name: ferromagnetic(from_builder(how, name), self.spec.moments) for name, how in asked.structures.items()
        }
        return validate(
            {name: task.directory for name, task in self.trainings(labelled).items()},
            out,
            structures=dict(crystals),
            properties=list(asked.properties),
            settings=asked.properties,
            quick=quick,
            references=asked.references,
            resume=any(out.rglob(QUESTION)),
            progress=progress,
        )

    def write(self, result: Dichotomy, validation: Validation | None = None) -> Path:
        """Write what is known, and the page; returns the page's path."""
        replace_file(self.directory / SUMMARY, json.dumps(result.as_dict(), indent=1).encode())
        shown = [section(result)] + ([] if validation is None else [validation_section(validation)])
        text = page(result.name, "magflow dichotomy", ", ".join(self.spec.potentials), shown)
        replace_file(self.directory / PAGE, text.encode())
        return self.directory / PAGE

    def _task(self, kind: LabelKind, frames: Sequence[Frame]) -> LabelTask:
        engine, place = self.spec.label.engine_of(kind), self.directory / LABELS / kind
        return LabelTask(tuple(frames), engine, tuple(sorted(self.spec.elements)), place)

    def _spent(self) -> float:
        """Core-hours of all labels."""
        return sum(self._task(kind, self.frames).finished().core_hours for kind in self.spec.label.kinds)

    def _parts(self, items: Sequence[LabeledFrame]) -> tuple[Dataset, Dataset]:
        """Labels to learn from, and those of every so many frames to test on."""
        kept = {f.non_magnetic().frame_id for f in self.frames[:: self.spec.label.test_every]}
        parts: tuple[list[LabeledFrame], list[LabeledFrame]] = ([], [])
        for item in items:
            parts[item.frame.non_magnetic().frame_id in kept].append(item)
        return Dataset(parts[0]), Dataset(parts[1])

    def _training(self, name: str, spec: PotentialSpec, items: Sequence[LabeledFrame]) -> TrainTask:
        """The training of one potential; other labels or settings have a directory of their own."""
        train, test = self._parts(items)
        if not len(train) or not len(test):
            raise CampaignError("too few labels to learn from and to test on", where=name, seen=f"{len(items)} labels")
        task = EnsembleTask(
            family=spec.settings,  # type: ignore[arg-type]
            dataset=train,
            elements=tuple(sorted(self.spec.elements)),
            members=spec.ensemble,
            seed=self.spec.seed,
            bagging=spec.bags,
            uncertainty=spec.uncertainty,
            validation=spec.validation,
        )
        return TrainTask(task, test, self.directory / POTENTIALS / f"{name}-{task.key[:8]}", jobs=1)


def _described(kind: LabelKind, found: Labelled) -> LabelSet:
    sizes = sorted({len(item.frame) for item in found.items})
    costs = {n: [item.label.cost.cpu_seconds for item in found.items if len(item.frame) == n] for n in sizes}
    moments = [i.label.magmoms[:, 2].mean() for i in found.items if i.label.magmoms is not None]
    return LabelSet(
        kind=str(kind),
        labels=len(found.items),
        failures={name: len(messages) for name, messages in found.failures.items()},
        cpu_hours=sum(map(sum, costs.values())) / 3600.0,
        core_hours=found.core_hours,
        by_size={str(n): (len(c), float(np.mean(c))) for n, c in costs.items()},
        moment=float(np.mean(moments)) if moments else None,
    )


def _difference(sets: Sequence[Labelled]) -> float | None:
    """Root mean square of the forces of the second set less those of the first on the same frames, eV/A."""
    if len(sets) < 2:
        return None
    first, second = (
        {i.frame.non_magnetic().frame_id: i.label.forces for i in s.items if i.label.forces is not None}
        for s in sets[:2]
    )
    off = [second[key] - first[key] for key in first if key in second]
    return float(np.sqrt(np.mean(np.concatenate(off) ** 2))) if off else None


def dichotomy(
    file: str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    until: Step = Step.VALIDATION,
    quick: bool = False,
    progress: WorkProgress = silent,
) -> tuple[Dichotomy, Validation | None]:
    """Frames, labels of several kinds, potentials on each set, and what they say of materials.

    Parameters
    ----------
    file
        What is to be made (`magflow.campaign.dichotomy`).
    out
        Its directory; all that an earlier run has finished there is kept, so that it can be killed and run again.
    workers
        Labels at the same time.
    until
        The last step: ``labels``, ``potentials`` or ``validation``.
    quick
        Settings of the properties that answer within minutes; those in the file have the last word.

    Raises
    ------
    InputError
        A file that is not valid.
    CampaignError
        Too few labels.
    """
    run = DichotomyRun(load_dichotomy(Path(file)), Path(out))
    labelled = run.label(workers, progress)
    if until is Step.LABELS:
        return run.described(labelled), None
    made = run.train(labelled, progress)
    run.write(made)
    if until is Step.POTENTIALS:
        return made, None
    validation = run.examine(labelled, quick=quick, progress=progress)
    run.write(made, validation)
    return made, validation
