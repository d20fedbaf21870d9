"""Labels from files that a campaign starts from: those of its own level of theory, or of one other level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magflow.core.dataset import Dataset
from magflow.core.label import LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.moments import is_collinear
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.records import labeled_frames, located
from magflow.io.sources import Wish, check_heeded, source_of

if TYPE_CHECKING:
    from magflow.io.importing.survey import Survey

_PARALLEL = 0.01
"""Largest component across the common axis, muB, of moments that count as along one axis: what canting and the digits
of a file leave; it changes the energy in second order."""
_NAMED = 4
"""Differences between two levels that are named."""


@dataclass(frozen=True)
class Given:
    """What one file or folder holds.

    Parameters
    ----------
    path
        The file or folder.
    survey
        All that was found in it.
    items
        Its labels, as they are used.
    turned
        How many of them had moments along another axis than z and were turned.
    left_out
        How many more there are whose moments lie along no common axis.
    """

    path: Path
    survey: Survey
    items: tuple[LabeledFrame, ...]
    turned: int = 0
    left_out: int = 0


def take_in(path: Path, wish: Wish, own: LevelOfTheory, elements: Sequence[str], *, foreign: bool) -> Given:
    """The labels of a file or folder that a campaign of level `own` starts from.

    Parameters
    ----------
    elements
        Of the campaign.
    foreign
        The user says that they are of another level. Their moments are turned to z where they lie along one axis:
        without spin-orbit coupling the energy does not change. Those whose moments do not are left out: the frames of
        a campaign are collinear. Labels of the campaign's own level stay as they are.

    Raises
    ------
    InputError
        As :func:`magflow.io.importing.survey.survey`; labels of an element the campaign has not; of another level
        where the user does not say so, or of its own where the user says that they are of another; labels that the
        campaign's engine could not have made.
    """
    from magflow.io.importing.survey import survey  # environments and their statistics: scipy.optimize, neighbours

    check_heeded(wish, [source_of(path)])
    found = survey([path], wish)
    items = labeled_frames(found.records)
    with located(str(path)):
        _check_elements(items, elements)
        (_check_foreign if foreign else _check_own)(items, own)
    if not foreign:
        return Given(path, found, tuple(items))
    turned = [(item, new) for item in items if (new := along_z(item)) is not None]
    if not turned:
        raise InputError("no label has its moments along one axis", where=str(path), seen=f"{len(items)} labels")
    changed = sum(new is not old for old, new in turned)
    return Given(path, found, tuple(new for _, new in turned), changed, len(items) - len(turned))


def together(given: Iterable[Given]) -> Dataset:
    """The labels of several files, each once.

    Raises
    ------
    InputError
        If they are of several levels of theory, or two labels of one frame disagree.
    """
    dataset = Dataset((item for one in given for item in one.items), mixed=True)
    if len(dataset.levels_of_theory) > 1:
        raise InputError(
            "labels of several other levels of theory",
            where="labels",
            seen="; ".join(title(level) for level in dataset.levels_of_theory),
            expected="one beside the campaign's own",
            hint="energies of two levels do not compare: keep the files of one of them",
        )
    return dataset


def title(level: LevelOfTheory) -> str:
    """A level of theory in a few words."""
    words = (level.code, level.version, level.functional, str(level.kind))
    return " ".join(dict.fromkeys(filter(None, words)))


def differences(level: LevelOfTheory, other: LevelOfTheory) -> str:
    """What tells two levels of theory apart, a few things named."""
    pairs = {name: (getattr(level, name), getattr(other, name)) for name in ("code", "version", "kind", "functional")}
    for name, a, b in (("dataset of", level.datasets, other.datasets), ("", level.parameters, other.parameters)):
        pairs |= {f"{name} {key}".strip(): (a.get(key, "none"), b.get(key, "none")) for key in sorted({*a, *b})}
    found = [f"{name} {_short(mine)}, not {_short(theirs)}" for name, (mine, theirs) in pairs.items() if mine != theirs]
    more = f"; {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(found[:_NAMED]) + more


def _short(value: object) -> str:
    text = str(value) or "unknown"
    return text if len(text) <= 24 else f"{text[:21]}..."


def _check_elements(items: Sequence[LabeledFrame], elements: Sequence[str]) -> None:
    if unknown := sorted({s for item in items for s in item.frame.species} - set(elements)):
        raise InputError(
            "labels hold an element that the campaign has not",
            seen=", ".join(unknown),
            expected="only " + ", ".join(elements),
            hint="add it to system.elements, or take those frames out of the file",
        )


def _check_own(items: Sequence[LabeledFrame], own: LevelOfTheory) -> None:
    others = [item.label.level_of_theory for item in items if item.label.level_of_theory != own]
    if others:
        raise InputError(
            "labels of another level of theory than the campaign's",
            seen=f"{len(others)} of {len(items)} labels: {title(others[0])} ({differences(others[0], own)})",
            expected=title(own),
            hint="write `mixed: true` beside the file to start from them (no fit ever holds both levels), or "
            "`level_of_theory: own` if its labels name no level and were made with exactly this campaign's settings",
        )
    lacking = sum((item.label.magmoms is None) != (own.kind is LabelKind.NON_MAGNETIC) for item in items)
    if lacking:
        magnetic = own.kind is not LabelKind.NON_MAGNETIC
        raise InputError(
            f"{own.kind} labels {'have the moments they ended with' if magnetic else 'have no moments'}",
            seen=f"{lacking} of {len(items)} labels {'without' if magnetic else 'with'} them",
            hint="they are not of the campaign's level of theory: write `mixed: true` instead of `own`",
        )
    if own.kind is LabelKind.CONSTRAINED and (bare := sum(item.label.magnetic_forces is None for item in items)):
        raise InputError(
            "constrained labels have magnetic forces",
            seen=f"{bare} of {len(items)} labels without them",
            hint="they are not of the campaign's level of theory: write `mixed: true` instead of `own`",
        )


def _check_foreign(items: Sequence[LabeledFrame], own: LevelOfTheory) -> None:
    same = sum(item.label.level_of_theory == own for item in items)
    if same:
        raise InputError(
            "`mixed: true` beside labels of the campaign's own level of theory",
            seen=f"{same} of {len(items)} labels: {title(own)}",
            expected="labels of another level",
            hint="leave `mixed` out, with the two kinds of label in a file each",
        )


def along_z(item: LabeledFrame) -> LabeledFrame | None:
    """`item` with moments and magnetic forces turned together to z; None if the moments lie along no common axis."""
    moments, targets = item.label.magmoms, item.frame.magmoms
    if moments is None or is_collinear(moments):
        return item
    largest = moments[np.argmax(np.linalg.norm(moments, axis=1))]
    axis = largest / np.linalg.norm(largest)
    axis = axis * np.sign(axis[np.argmax(np.abs(axis))])
    if any(v is not None and np.abs(v - np.outer(v @ axis, axis)).max() > _PARALLEL for v in (moments, targets)):
        return None

    def turned(vectors: FloatArray | None) -> FloatArray | None:
        return None if vectors is None else np.outer(vectors @ axis, [0.0, 0.0, 1.0])

    frame = item.frame.replace(magmoms=turned(targets))
    label = replace(
        item.label,
        frame_id=frame.frame_id,
        orientation=frame.orientation,
        magmoms=turned(moments),
        magnetic_forces=turned(item.label.magnetic_forces),
    )
    return LabeledFrame(frame, label)
