"""Labels of several files and folders in one list, each once, and as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from magflow.core.dataset import Dataset
from magflow.core.label import disagreement
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.records import Record, labeled_frames, located
from magflow.io.sources import Wish, iter_labels

Told = Callable[[int], None]
"""Told how many frames have been read."""
_STEP = 500


def gather(paths: Iterable[Path], wish: Wish, findings: Findings, told: Told | None = None) -> list[Record]:
    """All frames of `paths`; those that stand in them twice with the same label, once.

    Two labels of one frame and one level of theory that disagree are both kept, and told.

    Raises
    ------
    InputError
        As :func:`iter_labels`.
    """
    records: list[Record] = []
    first: dict[str, Record] = {}
    for path in paths:
        for number, record in enumerate(iter_labels(path, wish, findings), start=1):
            if told is not None and len(records) % _STEP == 0:
                told(len(records))
            if not _is_repeat(record, first, findings, f"{path}: frame {number}"):
                records.append(record)
    return records


def _is_repeat(record: Record, first: dict[str, Record], findings: Findings, where: str) -> bool:
    item = record.labeled
    key = record.frame.frame_id if item is None else item.label_id
    known = first.setdefault(key, record)
    if known is record:
        return False
    if item is None or known.label is None:
        findings.note(Fate.LEFT_OUT, "a frame without a label that stands there twice", where)
        return True
    apart = disagreement(known.label, item.label.for_frame(known.frame), len(item.frame))
    if apart is None:
        findings.note(Fate.LEFT_OUT, "a label that stands there twice", where)
        return True
    findings.note(Fate.SUSPICIOUS, "two labels of the same frame disagree", f"{where} ({apart})")
    return False


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
    """What may be the energy of frames that have none."""
    names = sorted({name for record in records if record.label is None for name in record.info})
    seen = f"; their keys are {', '.join(names[:12])}" if names else ""
    return f"--keys energy=NAME says which key is the energy{seen}"
