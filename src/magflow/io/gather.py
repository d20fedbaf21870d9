"""Labels of several files and folders in one list, each once, and as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from magflow.core.dataset import Dataset
from magflow.core.label import disagreement
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.records import UNSPECIFIED, Record, labeled_frames, located
from magflow.io.sources import Wish, iter_labels

Told = Callable[[int], None]
"""Told how many frames have been read."""
_STEP = 500


class Collection:
    """Frames of several files; those that stand in them twice with the same label, once.

    Two labels of one frame and one level of theory that disagree are both kept, and told.

    Parameters
    ----------
    wish
        What a user says about the files.
    findings
        Filled while files are read.
    told
        Told now and then how many frames there are.
    """

    def __init__(self, wish: Wish, findings: Findings, told: Told | None = None) -> None:
        self.records: list[Record] = []
        self._wish, self._findings, self._told = wish, findings, told
        self._first: dict[str, tuple[Record, str]] = {}

    def read(self, path: Path) -> None:
        """Take in the frames of `path`.

        Raises
        ------
        InputError
            As :func:`magflow.io.sources.iter_labels`.
        """
        for number, record in enumerate(iter_labels(path, self._wish, self._findings), start=1):
            if self._told is not None and number % _STEP == 0:
                self._told(len(self.records))
            declared = _declared(record, self._wish.level)
            if not self._is_repeat(declared, f"{path}: frame {number}"):
                self.records.append(declared)

    def _is_repeat(self, record: Record, where: str) -> bool:
        item = record.labeled
        key = record.frame.frame_id if item is None else item.label_id
        known, before = self._first.setdefault(key, (record, where))
        if known is record:
            return False
        if item is None or known.label is None:
            self._findings.note(Fate.LEFT_OUT, "a frame without a label that stands there twice", where)
            return True
        apart = disagreement(known.label, item.label.for_frame(known.frame), len(item.frame))
        if apart is None:
            self._findings.note(Fate.LEFT_OUT, "a label that stands there twice", where)
            return True
        both = f"{before} and {where}"
        self._findings.note(Fate.SUSPICIOUS, "two labels of the same frame disagree", f"{both} ({apart})")
        return False


def _declared(record: Record, name: str | None) -> Record:
    """`record` with the level of theory `name` where its file named none."""
    label = record.label
    if name is None or label is None or label.level_of_theory.code != UNSPECIFIED:
        return record
    return replace(record, label=replace(label, level_of_theory=replace(label.level_of_theory, code=name)))


def gather(paths: Iterable[Path], wish: Wish, findings: Findings, told: Told | None = None) -> list[Record]:
    """All frames of `paths` as a :class:`Collection` takes them in."""
    collection = Collection(wish, findings, told)
    for path in paths:
        collection.read(path)
    return collection.records


def labelled_dataset(path: Path, wish: Wish, findings: Findings, *, mixed: bool = False) -> Dataset:
    """The labels of a file, every frame of which has to have one.

    Raises
    ------
    InputError
        If a frame has none, the labels are of several levels of theory and not `mixed`, or two labels of one frame
        disagree.
    """
    records = gather([path], wish, findings)
    items = labeled_frames(records)
    if len(items) < len(records):
        raise InputError(
            "frames without a label",
            where=str(path),
            seen=f"{len(records) - len(items)} of {len(records)}",
            expected="an energy for every frame",
            hint=energy_hint(records),
        )
    with located(str(path)):
        return Dataset(items, mixed=mixed)


def energy_hint(records: Sequence[Record]) -> str:
    """What may be the energy of frames that have none, or where labels come from."""
    names = sorted({name for record in records if record.label is None for name in record.info})
    if not names:
        return "they are bare structures: `magflow label` makes labels of them"
    return f"--keys energy=NAME says which key is the energy; their keys are {', '.join(names[:12])}"
