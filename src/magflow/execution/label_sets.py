"""The same frames labelled in several kinds, one set each; labels that others have computed are taken as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame, LabelKind
from magflow.core.protocols import LabelEngine, WorkProgress, silent
from magflow.errors import InputError
from magflow.execution.labelling import Labelled, LabelTask
from magflow.io.importing.warm_start import differences
from magflow.makers.label import level_of_theory

TURN = 8
"""Frames that are labelled in all kinds before the next ones: whenever it ends, the sets hold the same frames."""


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Frames, what computes their labels, and the labels that are there.

    Parameters
    ----------
    frames
        Each is labelled once in every kind; its moments are where those labels start that have some.
    engines
        Kind to what computes its labels.
    elements
        Of the level of theory, alphabetical.
    directory
        Gets a folder per kind.
    given
        Labels of some of the frames that are there already; they are never computed again.

    Raises
    ------
    InputError
        If a given label is of the level of theory of none of the engines.
    """

    frames: tuple[Frame, ...]
    engines: Mapping[LabelKind, LabelEngine]
    elements: tuple[str, ...]
    directory: Path
    given: tuple[LabeledFrame, ...] = ()

    def __post_init__(self) -> None:
        levels = {kind: level_of_theory(engine, self.elements) for kind, engine in self.engines.items()}
        for item in self.given:
            level = item.label.level_of_theory
            kind = level.kind
            if kind not in levels:
                raise InputError("given labels of another kind", seen=str(kind), expected=", ".join(self.engines))
            if level != levels[kind]:
                raise InputError(
                    f"given {kind} labels are of another level of theory",
                    seen=differences(level, levels[kind]),
                    hint="leave them out of `labels`, to have them computed anew",
                )

    def task(self, kind: LabelKind, frames: tuple[Frame, ...]) -> LabelTask | None:
        """The labelling of those frames that no given label of the kind is of; None if there are none."""
        known = {place(item.frame) for item in self._given(kind)}
        open_ = tuple(frame for frame in frames if place(frame) not in known)
        return LabelTask(open_, self.engines[kind], self.elements, self.directory / kind) if open_ else None

    def label(self, core_hours: float, workers: int = 1, progress: WorkProgress = silent) -> dict[LabelKind, Labelled]:
        """Label in turns, all kinds of some frames at a time, until all are labelled or the core-hours are spent.

        Raises
        ------
        MissingToolError
            If an engine lacks something.
        """
        total = len(self.frames)
        for begin in range(0, total, TURN):
            if self.spent() >= core_hours:
                break
            for kind in self.engines:
                task = self.task(kind, self.frames[begin : begin + TURN])
                if task is not None and len(task.finished().items) < len(task.frames):
                    task.require_ready()
                    task.run(workers, lambda done, n: None)
                progress(begin / total, f"{kind} labels of frames {begin + 1} to {begin + TURN}", milestone=True)
        return self.finished()

    def finished(self) -> dict[LabelKind, Labelled]:
        """The labels that are there, given ones included, in the order of the frames."""
        return {kind: self._finished(kind) for kind in self.engines}

    def spent(self) -> float:
        """Core-hours of all labels, given ones included."""
        return sum(labelled.core_hours for labelled in self.finished().values())

    def _given(self, kind: LabelKind) -> list[LabeledFrame]:
        return [item for item in self.given if item.label.level_of_theory.kind == kind]

    def _finished(self, kind: LabelKind) -> Labelled:
        task = self.task(kind, self.frames)
        made = Labelled((), {}, 0, 0.0) if task is None else task.finished()
        given = self._given(kind)
        items = {place(item.frame): item for item in (*given, *made.items)}
        return replace(
            made,
            items=tuple(items[place(frame)] for frame in self.frames if place(frame) in items),
            core_hours=made.core_hours + sum(item.label.cost.core_hours for item in given),
        )


def place(frame: Frame) -> str:
    """What the labels of one frame in all kinds have in common: cell, species and positions."""
    return frame.non_magnetic().frame_id
