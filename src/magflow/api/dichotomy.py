"""One file, one command: frames, labels of several kinds, potentials on each set, and the properties of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np

from magflow.api.opening import read_labels
from magflow.api.validation import validate
from magflow.campaign.dichotomy import DichotomySpec, PotentialSpec, load_dichotomy
from magflow.core.dataset import Dataset
from magflow.core.files import replace_file
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame, LabelKind, ignoring_moments
from magflow.core.protocols import WorkProgress, silent
from magflow.core.readiness import require_all
from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.errors import CampaignError
from magflow.execution.label_sets import LabelSets, place
from magflow.execution.labelling import Labelled
from magflow.explore.builders import from_builder
from magflow.explore.pool import ferromagnetic
from magflow.io.extxyz_writer import format_frame
from magflow.io.findings import Findings
from magflow.io.gather import gather
from magflow.io.records import Record, as_record
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
KEPT = "labels.extxyz"
"""All labels there are in one file, as `labels` of another dichotomy takes them."""
SUMMARY, PAGE = "dichotomy.json", "dichotomy.html"


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
        Gets `frames.extxyz`, `labels/KIND`, `labels.extxyz`, `potentials/NAME-KEY`, `validation/` and a page.
    """

    spec: DichotomySpec
    directory: Path

    @cached_property
    def sets(self) -> LabelSets:
        """Frames and labels.

        Raises
        ------
        InputError
            If labels of the file cannot be read or are of another level of theory.
        """
        label, elements = self.spec.label, tuple(sorted(self.spec.elements))
        engines = {kind: label.engine_of(kind) for kind in label.kinds}
        given = tuple(item for path in self.spec.labels for item in read_labels(path, mixed=True))
        known = {place(item.frame): ferromagnetic(item.frame, self.spec.moments) for item in given}
        frames = known | {place(frame): frame for frame in self._drawn()}
        return LabelSets(tuple(frames.values()), engines, elements, self.directory / LABELS, given)

    def require_families(self) -> None:
        """Refuse to begin without what the potentials are trained with.

        Raises
        ------
        MissingToolError
            Names what is missing.
        """
        families = {str(spec.settings): spec.settings for spec in self.spec.potentials.values()}
        require_all(probe for family in families.values() for probe in family.probe())  # type: ignore[attr-defined]

    def label(self, workers: int = 1, progress: WorkProgress = silent) -> dict[LabelKind, Labelled]:
        """Label until all frames are or the core-hours are spent; the labels lie in ``labels.extxyz`` then.

        Raises
        ------
        MissingToolError
            If an engine lacks something.
        """
        found = self.sets.label(self.spec.label.core_hours, workers, progress)
        self._keep([item for labelled in found.values() for item in labelled.items])
        return found

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
        return Dichotomy(self.spec.name, len(self.sets.frames), sets, tuple(fitted), difference)

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

    def _keep(self, items: Sequence[LabeledFrame]) -> None:
        """Write all labels into one file, unless it holds them already."""
        text = "".join(format_frame(as_record(item)) for item in items).encode()
        path = self.directory / KEPT
        if not path.is_file() or path.read_bytes() != text:
            replace_file(path, text)

    def _drawn(self) -> tuple[Frame, ...]:
        """Frames to be labelled; drawn once, read from then on: another machine's arithmetic makes others of them."""
        path = self.directory / FRAMES
        if not path.is_file():
            model = PotentialEnsemble((SpinLatticeModel(),), "spin-lattice")  # type: ignore[arg-type]  # never saved
            drawn = self.spec.frames.candidates(model, self.spec.moments, self.spec.seed)
            texts = [format_frame(Record(c.frame, info={"source": c.source})) for c in drawn]
            replace_file(path, "".join(texts).encode())
        return tuple(record.frame for record in gather([path], Wish(), Findings()))

    def _parts(self, items: Sequence[LabeledFrame]) -> tuple[Dataset, Dataset]:
        """Labels to learn from, and those of every so many frames to test on."""
        kept = {place(frame) for frame in self.sets.frames[:: self.spec.label.test_every]}
        parts: tuple[list[LabeledFrame], list[LabeledFrame]] = ([], [])
        for item in items:
            parts[place(item.frame) in kept].append(item)
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
    first, second = ({place(i.frame): i.label.forces for i in s.items if i.label.forces is not None} for s in sets[:2])
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
    MissingToolError
        What a potential is trained with is not here, which is found before labels are paid for.
    CampaignError
        Too few labels.
    """
    run = DichotomyRun(load_dichotomy(Path(file)), Path(out))
    if until is not Step.LABELS:
        run.require_families()
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
