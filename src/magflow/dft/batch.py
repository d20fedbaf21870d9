"""Labels of a list of frames, one after the other, without a campaign: each is on disk as soon as it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from magflow.core.label import Label, LabeledFrame, LevelOfTheory, label_id
from magflow.core.protocols import LabelEngine, WorkProgress
from magflow.errors import InputError
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.io.records import Record


@dataclass(frozen=True)
class LabelTask:
    """What is to be labelled, and where.

    Parameters
    ----------
    engine
        What labels.
    records
        The frames, with the moments they are to have; whatever else they carry stays with their labels.
    workdir
        Finished labels are kept here until all are there, and so are the runs the engine keeps.
    """

    engine: LabelEngine
    records: Sequence[Record]
    workdir: Path

    def run(self, progress: WorkProgress) -> LabelResult:
        """Label what is not labelled yet; failed ones are tried again.

        Raises
        ------
        MissingToolError, InputError
            If a program or dataset is absent or unfit.
        """
        level = self.engine.level_of_theory(sorted({s for r in self.records for s in r.frame.species}))
        made: list[Record] = []
        failed: Counter[str] = Counter()
        messages: list[str] = []
        total = len(self.records)
        for count, record in enumerate(self.records, start=1):
            label = self._label(record, level)
            if label.failure is None:
                made.append(replace(record, label=LabeledFrame(record.frame, label).label))
            else:
                failed[str(label.failure.kind)] += 1
                messages.append(f"frame {count} ({record.frame.formula}): {label.failure.message}")
            progress(count / total, f"{count} of {total} labels", milestone=label.failure is not None)
        return LabelResult(tuple(made), dict(failed), tuple(messages))

    def _label(self, record: Record, level: LevelOfTheory) -> Label:
        name = label_id(record.frame.frame_id, level)
        kept = self.workdir / f"{name}.extxyz"
        if kept.is_file():
            found = read_extxyz(kept)[0].label
            if found is None or found.label_id != name:
                raise InputError("a finished label is not what its name says", where=str(kept), hint="remove the file")
            return found
        folder = self.workdir / f"label-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        label = self.engine.label(record.frame, level, folder)
        if not any(folder.iterdir()):
            folder.rmdir()
        if label.failure is None:
            write_extxyz(kept, [LabeledFrame(record.frame, label)])
        return label


@dataclass(frozen=True)
class LabelResult:
    """Labelled frames, kinds of failure with their counts, and one message per failure."""

    records: tuple[Record, ...]
    failed: dict[str, int]
    messages: tuple[str, ...]
