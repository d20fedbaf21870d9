"""What was found in files that are taken in: frames, elements, moments, levels of theory, and what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magflow.core.label import LevelOfTheory
from magflow.core.moments import is_collinear
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.gather import Collection, Told, energy_hint
from magflow.io.importing.magnetic_states import MagneticStates, magnetic_states
from magflow.io.importing.suspicion import Suspicion, suspicions
from magflow.io.records import Record, has_unknown_moments, labeled_frames
from magflow.io.sources import Wish, source_of


@dataclass(frozen=True)
class Part:
    """One file or folder: its format by title, its frames and its labels."""

    path: Path
    title: str
    frames: int
    labels: int


@dataclass(frozen=True)
class Survey:
    """What was found.

    Parameters
    ----------
    parts
        One per file or folder.
    records
        The labelled frames, each once.
    findings
        What was read under other names, guessed, not used, left out.
    suspicions
        What looks wrong.
    magnetic_states
        What geometry does not decide of the energies; None for few labels.
    """

    parts: tuple[Part, ...]
    records: tuple[Record, ...]
    findings: Findings
    suspicions: tuple[Suspicion, ...]
    magnetic_states: MagneticStates | None = None

    @property
    def elements(self) -> dict[str, int]:
        """Element to number of labels that hold it."""
        counts = Counter(e for record in self.records for e in set(record.frame.species))
        return dict(sorted(counts.items()))

    @property
    def formulas(self) -> int:
        """Number of different compositions."""
        return len({record.frame.formula for record in self.records})

    @property
    def moments(self) -> dict[str, int]:
        """Labels whose moments were obtained (collinear or not), whose moments are unknown, and without any."""
        counts: Counter[str] = Counter()
        for record in self.records:
            counts[_moments(record)] += 1
        return {name: counts[name] for name in MOMENTS if counts[name]}

    @property
    def levels(self) -> list[tuple[LevelOfTheory, int]]:
        """Levels of theory and their labels, the most frequent first."""
        levels = {r.label.level_of_theory.fingerprint: r.label.level_of_theory for r in self.records if r.label}
        counts = Counter(r.label.level_of_theory.fingerprint for r in self.records if r.label)
        return [(levels[key], n) for key, n in counts.most_common()]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "sources": [
                {"path": str(p.path), "format": p.title, "frames": p.frames, "labels": p.labels} for p in self.parts
            ],
            "labels": len(self.records),
            "elements": self.elements,
            "compositions": self.formulas,
            "moments": self.moments,
            "quantities": dict(self.findings.quantities),
            "levels_of_theory": [{"labels": n, **level.as_dict()} for level, n in self.levels],
            "findings": self.findings.as_dict()["notes"],
            "suspicious": [s.as_dict() for s in self.suspicions],
            "magnetic_states": None if self.magnetic_states is None else self.magnetic_states.as_dict(),
        }


MOMENTS = ("obtained, along z", "obtained, non-collinear", "unknown", "none")


def _moments(record: Record) -> str:
    label = record.label
    if label is None or label.magmoms is None:
        return "unknown" if label is not None and has_unknown_moments(label.level_of_theory) else "none"
    return MOMENTS[0] if is_collinear(label.magmoms) else MOMENTS[1]


def survey(paths: Sequence[Path], wish: Wish, told: Told | None = None) -> Survey:
    """Read all `paths` and look at what they hold; frames without a label are counted and left out.

    Raises
    ------
    InputError
        As :func:`magflow.io.gather.gather`.
    """
    findings = Findings()
    collection = Collection(wish, findings, told)
    parts: list[Part] = []
    for path in paths:
        frames, labels = findings.frames, findings.labels
        collection.read(path)
        parts.append(Part(path, source_of(path).title, findings.frames - frames, findings.labels - labels))
    records = [record for record in collection.records if record.label is not None]
    if len(records) < len(collection.records):
        findings.note(Fate.LEFT_OUT, "no energy", count=len(collection.records) - len(records))
    if not records:
        raise InputError(
            "no frame has an energy", where=", ".join(map(str, paths)), hint=energy_hint(collection.records)
        )
    items = labeled_frames(records)
    return Survey(tuple(parts), tuple(records), findings, tuple(suspicions(items)), magnetic_states(items))
