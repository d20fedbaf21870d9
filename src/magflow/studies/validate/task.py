"""Properties to be measured of some structures on some potentials, one piece after another."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from magflow.core.arrays import digest
from magflow.core.files import replace_file
from magflow.core.frame import Frame
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.base import Property, Work
from magflow.properties.measurement import Measurement, Moments
from magflow.properties.references import Reference
from magflow.properties.subject import Subject
from magflow.studies.base import read_result
from magflow.studies.validate.result import Skipped, Validation

MEASUREMENT = "measurement.json"
"""In the directory of a piece, once it is finished."""
QUESTION = "question.txt"
"""In the directory of a piece: what decides its answer."""


@dataclass(frozen=True, eq=False)
class Structure:
    """A crystal under a name; the same name may come in several magnetic states."""

    name: str
    frame: Frame

    @property
    def label(self) -> str:
        """``bcc-Fe-FM``."""
        return f"{self.name}-{self.frame.ordering}"


@dataclass(frozen=True, eq=False)
class Piece:
    """One property of one structure on one potential.

    Parameters
    ----------
    directory
        Of this piece alone.
    """

    potential: str
    ensemble: PotentialEnsemble
    structure: Structure
    asked: Property
    moments: Moments
    max_moment: Mapping[str, float]
    directory: Path

    @property
    def question(self) -> str:
        """24 hex digits of all that decides the answer."""
        settings = {self.asked.name: self.asked.model_dump(mode="json")}
        words = [json.dumps(settings, sort_keys=True), self.moments, json.dumps(dict(self.max_moment), sort_keys=True)]
        calibration = json.dumps(self.ensemble.calibration.as_dict(), sort_keys=True)
        frame = [self.structure.name, self.structure.frame.frame_id]
        return digest([w.encode() for w in [*words, *frame, calibration, self.ensemble.identity]])

    def answer(self, progress: WorkProgress = silent) -> Measurement | Skipped:
        """The measurement, from its file if it is finished; or why there is none."""
        kept, question = read_result(self.directory / MEASUREMENT, Measurement), self.question
        before = _text(self.directory / QUESTION)
        if before == question and kept is not None:
            return kept
        if before != question:
            if before is not None:  # the answer to another question, and what a run for it left
                shutil.rmtree(self.directory)
            replace_file(self.directory / QUESTION, question.encode())
        try:
            subject = self.subject()
            obstacle = self.asked.obstacle(subject)
            if obstacle:
                return self._skipped(obstacle)
            found = self.asked.measure(subject, Work(self.directory, progress))
        except InputError as error:
            return self._skipped(str(error))
        replace_file(self.directory / MEASUREMENT, json.dumps(found.as_dict()).encode())
        return found

    def subject(self) -> Subject:
        """The structure on the potential; InputError if they do not fit together."""
        frame, magnetic = self.structure.frame, self.ensemble.magnetic
        moments = self.moments if magnetic else Moments.NOT_READ
        return Subject(self.ensemble, self.structure.name, frame, moments, dict(self.max_moment))

    def _skipped(self, reason: str) -> Skipped:
        return Skipped(self.potential, self.structure.label, self.asked.name, reason)


@dataclass(frozen=True, eq=False)
class ValidationTask:
    """All pieces of a validation.

    Parameters
    ----------
    potentials
        Label to ensemble.
    moments
        What is to become of the moments, where a potential reads them.
    max_moment
        Largest |m| by element, muB, where it is not the range of the fit.
    references
        What the values are held against.
    out
        Directory below which each piece has its own.
    """

    potentials: Mapping[str, PotentialEnsemble]
    structures: Sequence[Structure]
    properties: Sequence[Property]
    out: Path
    moments: Moments = Moments.RELAXED
    max_moment: Mapping[str, float] = field(default_factory=dict)
    references: Sequence[Reference] = ()

    def pieces(self) -> Iterator[Piece]:
        """One per potential, structure and property; the structures a potential knows no element of are left out."""
        for potential, ensemble in self.potentials.items():
            for structure in self.structures:
                if set(structure.frame.species) - set(ensemble.species):
                    continue
                for prop in self.properties:
                    where = self.out / _word(potential) / _word(structure.label) / prop.name
                    yield Piece(potential, ensemble, structure, prop, self.moments, self.max_moment, where)

    def check_directory(self, *, resume: bool) -> None:
        """Refuse to begin where somebody has begun, and to go on where nobody has.

        Raises
        ------
        InputError
            If `resume` does not fit what is there.
        """
        begun = any((piece.directory / QUESTION).exists() for piece in self.pieces())
        if begun and not resume:
            hint = "--resume goes on with them"
            raise InputError("the directory holds measurements already", where=str(self.out), hint=hint)
        if resume and not begun:
            hint = "leave --resume out"
            raise InputError("there are no measurements to go on with", where=str(self.out), hint=hint)

    def run(self, progress: WorkProgress = silent) -> Validation:
        """Measure what is not measured yet."""
        pieces = list(self.pieces())
        found: list[tuple[str, Measurement]] = []
        skipped: list[Skipped] = []
        for k, piece in enumerate(pieces):
            text = f"{piece.potential}: {piece.structure.label}, {piece.asked.title.lower()}"
            answer = piece.answer(_part(progress, k, len(pieces), text))
            if isinstance(answer, Skipped):
                skipped.append(answer)
            else:
                found.append((piece.potential, answer))
            progress((k + 1) / len(pieces), text, milestone=True)
        return Validation(tuple(found), tuple(skipped), tuple(self.references))


def _part(progress: WorkProgress, k: int, n: int, name: str) -> WorkProgress:
    """`progress` of the whole, as the progress of its part `k` of `n`."""

    def told(fraction: float, text: str, *, milestone: bool = False) -> None:
        progress((k + min(max(fraction, 0.0), 1.0)) / n, f"{name}: {text}", milestone=False)

    return told


def _word(text: str) -> str:
    """`text` as the name of a directory."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("._") or "_"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
