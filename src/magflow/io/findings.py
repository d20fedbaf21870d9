"""What a reader or a writer found and did: nothing of a file is dropped without a line here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from magflow.core.label import Label


class HasLabel(Protocol):
    """A frame of a file."""

    @property
    def label(self) -> Label | None:
        """Its label; None if it has none."""


class Fate(StrEnum):
    """What became of something in a file: ``KEPT`` may be a quantity nobody recognised, ``EXTRA`` is none."""

    READ = "read"
    GUESSED = "guessed"
    KEPT = "not used"
    EXTRA = "extra"
    LEFT_OUT = "left out"
    SUSPICIOUS = "suspicious"


@dataclass
class Findings:
    """Counts of what was read, guessed, kept, left out and looks wrong, filled while a file is read or written.

    Parameters
    ----------
    frames, labels
        Frames that were read or written; those with a label.
    quantities
        Quantity to number of frames that have it.
    notes
        (fate, what) to number of frames; what is one phrase, such as ``forces from the column dft_forces``.
    first
        The same to the place of the first one.
    """

    frames: int = 0
    labels: int = 0
    quantities: Counter[str] = field(default_factory=Counter)
    notes: Counter[tuple[Fate, str]] = field(default_factory=Counter)
    first: dict[tuple[Fate, str], str] = field(default_factory=dict)

    def note(self, fate: Fate, what: str, where: str = "", count: int = 1) -> None:
        """Count `what` once more, for `count` frames."""
        self.notes[fate, what] += count
        if where:
            self.first.setdefault((fate, what), where)

    def count_record(self, record: HasLabel) -> None:
        """Count a frame and the quantities of its label."""
        self.frames += 1
        label = record.label
        if label is None:
            self.quantities["no energy"] += 1
            return
        self.labels += 1
        self.quantities["energy"] += 1
        for name in ("forces", "stress", "magmoms", "magnetic_forces"):
            if getattr(label, name) is not None:
                self.quantities[name] += 1

    def add(self, other: Findings) -> None:
        """Take in the counts of `other`."""
        self.frames += other.frames
        self.labels += other.labels
        self.quantities.update(other.quantities)
        self.notes.update(other.notes)
        for key, where in other.first.items():
            self.first.setdefault(key, where)

    def count(self, fate: Fate) -> int:
        """How often something met `fate`."""
        return sum(n for (of, _), n in self.notes.items() if of is fate)

    def lines(self, *fates: Fate) -> list[str]:
        """One line per note of `fates` (by default all but ``EXTRA``), in the order of :class:`Fate`."""
        wanted = fates or tuple(fate for fate in Fate if fate is not Fate.EXTRA)
        return [
            f"{fate}: {what} ({_frames(n)}{self._place(fate, what, n)})"
            for fate in Fate
            if fate in wanted
            for (of, what), n in self.notes.items()
            if of is fate
        ]

    def extra_lines(self) -> list[str]:
        """One line for all names that are no quantity; none if there are none."""
        extras = [what for (fate, what) in self.notes if fate is Fate.EXTRA]
        return [f"{Fate.KEPT}: {', '.join(extras)}"] if extras else []

    def _place(self, fate: Fate, what: str, count: int) -> str:
        where = self.first.get((fate, what))
        return "" if not where else f", {where}" if count == 1 else f", the first at {where}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "frames": self.frames,
            "labels": self.labels,
            "quantities": dict(self.quantities),
            "notes": [
                {"fate": str(fate), "what": what, "frames": n, "first": self.first.get((fate, what))}
                for (fate, what), n in self.notes.items()
            ],
        }


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
