"""Frames labelled without a campaign: the campaign's own label jobs, on a queue in a work directory of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jobflow import Job, JobStore

from magflow.core.arrays import digest
from magflow.core.files import replace_file
from magflow.core.frame import Frame, unique_frames
from magflow.core.label import FailureKind, LabeledFrame, LabelKind, LevelOfTheory, label_id
from magflow.core.protocols import LabelEngine
from magflow.core.readiness import require_all
from magflow.errors import InputError
from magflow.execution.local.executor import LocalExecutor, RunProgress
from magflow.execution.states import JobState
from magflow.io.importing.warm_start import differences
from magflow.makers import roles
from magflow.makers.base import Campaign, prepare
from magflow.makers.label import LabelMaker, level_of_theory
from magflow.makers.packing import pack_frame, unpack_labelled
from magflow.stores import queries
from magflow.stores.jobstore import campaign_store
from magflow.stores.layout import DATABASE

LEVEL = "level.json"
"""File in the work directory: the level of theory of the labels in it."""

Told = Callable[[int, int], None]
"""Told how many labels are finished, and of how many."""


@dataclass(frozen=True)
class Labelled:
    """What became of the frames.

    Parameters
    ----------
    items
        Frames with their labels, in the order of the frames.
    failures
        Kind of failure to the messages of the frames it befell.
    computed
        Labels computed in this run; the others were there.
    core_hours
        What all labels that are there took, h.
    """

    items: tuple[LabeledFrame, ...]
    failures: dict[str, list[str]]
    computed: int
    core_hours: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "labels": len(self.items),
            "computed": self.computed,
            "core_hours": self.core_hours,
            "failed": {kind: {"count": len(m), "first": m[0]} for kind, m in self.failures.items()},
        }


@dataclass(frozen=True)
class LabelTask:
    """What is to be labelled, by what, and where the work is kept.

    Parameters
    ----------
    frames
        Each is labelled once; for non-magnetic labels their moments are left out.
    elements
        All elements the level of theory speaks of, alphabetical.
    workdir
        Queue and store. Labels that are there are never computed again, whatever else has changed.

    Raises
    ------
    InputError
        No frames, frames of other elements, frames without the moments that the engine needs.
    """

    frames: tuple[Frame, ...]
    engine: LabelEngine
    elements: tuple[str, ...]
    workdir: Path

    def __post_init__(self) -> None:
        frames = self.frames
        if self.engine.kind == LabelKind.NON_MAGNETIC:
            frames = tuple(frame.non_magnetic() for frame in frames)
        elif bare := sum(frame.magmoms is None for frame in frames):
            raise InputError(
                f"{self.engine.kind} labels need moments",
                seen=f"{bare} of {len(frames)} frames without",
                hint="add a column magmoms (muB), say --magmoms EL=MUB,.., or ask for kind=non-magnetic",
            )
        if not frames:
            raise InputError("there are no frames to label")
        if unknown := sorted({s for frame in frames for s in frame.species} - set(self.elements)):
            raise InputError("frames of other elements", seen=", ".join(unknown), expected=", ".join(self.elements))
        object.__setattr__(self, "frames", tuple(unique_frames(frames)))

    @cached_property
    def level(self) -> LevelOfTheory:
        """Level of theory of the labels."""
        return level_of_theory(self.engine, self.elements)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """label_id of each frame."""
        return tuple(label_id(frame.frame_id, self.level) for frame in self.frames)

    def require_ready(self) -> None:
        """Refuse to begin without what the engine needs.

        Raises
        ------
        MissingToolError
            Names what is missing.
        """
        require_all(self.engine.probe(self.elements))

    def run(self, workers: int, told: Told) -> Labelled:
        """Label what has no label yet; jobs that ended in an error, not in a failed label, are tried again.

        Raises
        ------
        InputError
            If the work that was begun is of another level of theory.
        StoreError, CampaignError
            As :meth:`~magflow.execution.local.executor.LocalExecutor.run`.
        """
        self._check_level()
        there = self._usable()
        executor = LocalExecutor(self.workdir, workers=workers)
        replace_file(self.workdir / LEVEL, json.dumps(self.level.as_dict()).encode())
        for job in self._jobs(there):
            executor.submit(job)
        executor.queue.retry()
        total = len(self.ids)

        def tell(progress: RunProgress) -> None:
            open_ = sum(progress.counts[s] for s in (JobState.WAITING, JobState.READY, JobState.RUNNING))
            told(max(len(there), total - open_), total)

        summary = executor.run(tell)
        return self._labelled(there, {job.uuid: job.error or "" for job in summary.failed})

    def finished(self) -> Labelled:
        """What is there already, failed labels included; nothing is computed."""
        if not (self.workdir / DATABASE).is_file():
            return Labelled((), {}, 0, 0.0)
        return self._labelled(set(self.ids), None)

    def clear(self) -> None:
        """Remove the work directory, and the folder it is in if nothing else is there."""
        shutil.rmtree(self.workdir, ignore_errors=True)
        with suppress(OSError):
            self.workdir.parent.rmdir()

    @cached_property
    def _campaign(self) -> Campaign:
        """Of engine and settings: with others, what failed is tried again."""
        settings = json.dumps(self.engine.model_dump(mode="json"), sort_keys=True)
        words = (self.engine.name, settings, *self.elements)
        return Campaign(digest([word.encode() for word in words]), "label", list(self.elements), 0)

    def _check_level(self) -> None:
        note = self.workdir / LEVEL
        if not note.is_file():
            return
        begun = LevelOfTheory.from_dict(json.loads(note.read_text()))
        if begun != self.level:
            raise InputError(
                "the labels that were begun are of another level of theory",
                where=str(self.workdir),
                seen=differences(begun, self.level),
                hint="choose another output",
            )

    def _jobs(self, there: set[str]) -> Iterator[Job]:
        maker = LabelMaker(engine=self.engine, campaign=self._campaign)
        for frame, label in zip(self.frames, self.ids, strict=True):
            if label not in there:
                made = maker.make(pack_frame(frame), "frames", 0)
                yield prepare(made, self._campaign, roles.label_of(frame.frame_id), expose_store=True)

    def _store(self) -> JobStore:
        store = campaign_store(self.workdir)
        store.connect()
        return store

    def _usable(self) -> set[str]:
        if not (self.workdir / DATABASE).is_file():
            return set()
        rows = queries.label_summaries(self._store())
        return {row["label_id"] for row in rows if row["state"] == "ok"} & set(self.ids)

    def _labelled(self, before: set[str], errors: Mapping[str, str] | None) -> Labelled:
        """What became of the frames; without `errors` (by job) those that nobody has tried yet are passed over."""
        store = self._store()
        failed = {d.label_id: d for d in queries.labels(store, criteria={"state": "failed"})}
        found = {d.label_id: d for d in queries.labels(store, criteria={"state": "ok"}, arrays=True)}
        usable = [found[label] for label in self.ids if label in found]
        failures: dict[str, list[str]] = {}
        for number, (frame, label) in enumerate(zip(self.frames, self.ids, strict=True), start=1):
            if label in found:
                continue
            document = failed.get(label)
            if document is None and errors is None:
                continue
            job = roles.label_of(frame.frame_id).uuid(self._campaign.id)
            error = (errors or {}).get(job, "").strip() or "it was lost"
            kind = FailureKind.WORKER_LOST if document is None else document.failure
            said = error.splitlines()[-1] if document is None else document.message
            failures.setdefault(str(kind), []).append(f"frame {number}: {said}")
        return Labelled(
            tuple(_with_details(item, d.details) for d in usable for item in unpack_labelled(d.arrays)),
            failures,
            len({d.label_id for d in usable} - before),
            sum(d.core_hours for d in (*usable, *failed.values())),
        )


def _with_details(item: LabeledFrame, details: Mapping[str, Any]) -> LabeledFrame:
    return LabeledFrame(item.frame, replace(item.label, details=details))
