"""Every potential and record is one answer: kept as soon as it is there, never asked for twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magflow.core.arrays import digest
from magflow.core.files import held, replace_file
from magflow.core.phonon_record import PhononRecord
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError, MagflowError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.presentation.formats import plural
from magflow.properties.recorded import Geometry, crystal_on, reference_vibrations, vibrations_at
from magflow.studies.phonons.result import Answer, PhononBenchmark, Recorded


@dataclass(frozen=True, eq=False)
class Contender:
    """A potential under a name.

    Parameters
    ----------
    known_as
        Text that changes when the potential does: answers are kept by it.
    """

    ensemble: PotentialEnsemble
    known_as: str


@dataclass(frozen=True, eq=False)
class PhononTask:
    """What is asked.

    Parameters
    ----------
    contenders
        By name.
    workdir
        Where answers are kept.
    displacement
        Of an atom, A.
    most_atoms
        Records with larger supercells are left out; None: none is.

    Raises
    ------
    InputError
        Nothing to work with, two records of one name, a record that does not say all of its crystal.
    """

    records: tuple[PhononRecord, ...]
    contenders: Mapping[str, Contender]
    workdir: Path
    geometry: Geometry = Geometry.RELAXED
    displacement: float = 0.01
    most_atoms: int | None = None

    def __post_init__(self) -> None:
        if not self.contenders:
            raise InputError("nothing to hold against the records", expected="a potential or a calculator")
        if not 0.0 < self.displacement <= 0.2:
            raise InputError("not a small displacement", seen=self.displacement, expected="above 0, up to 0.2 A")
        names = [record.name for record in self.records]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise InputError("two records have the same name", seen=", ".join(twice))
        if not self._wanted:
            smallest = f"; the smallest supercell has {min(r.n_atoms for r in self.records)} atoms" if names else ""
            raise InputError("no records", seen=plural(len(names), "record") + smallest)

    @property
    def _wanted(self) -> list[PhononRecord]:
        """The smallest supercells first: an interrupted benchmark is one of fewer records."""
        most = self.most_atoms
        return sorted((r for r in self.records if most is None or r.n_atoms <= most), key=lambda r: r.n_atoms)

    def run(self, progress: WorkProgress = silent) -> PhononBenchmark:
        """Ask for what `workdir` does not hold yet; what fails is kept with its reason and does not stop the others.

        Raises
        ------
        StoreError
            If `workdir` cannot be written, or another process works there.
        InputError
            If a record does not say all of its crystal, or an answer that is kept cannot be read.
        """
        wanted = self._wanted
        records = tuple(Recorded(r.name, r.n_atoms, reference_vibrations(r)) for r in wanted)
        pairs = [(record, name) for record in wanted for name in self.contenders]
        answers = []
        with held(self.workdir, "this benchmark"):
            for k, (record, name) in enumerate(pairs):
                progress(k / len(pairs), f"{k}/{len(pairs)}: {record.name}, {name}", milestone=True)
                answers.append(self._answer(record, name))
        progress(1.0, f"{len(pairs)}/{len(pairs)}: done", milestone=True)
        left_out = len(self.records) - len(wanted)
        names = tuple(self.contenders)
        return PhononBenchmark(records, names, tuple(answers), self.geometry, self.displacement, left_out)

    def _answer(self, record: PhononRecord, name: str) -> Answer:
        place = self._place(record, name)
        if place.is_file():
            return _kept(place)
        begin = time.process_time()
        try:
            answer = self._asked(record, name, begin)
        except MagflowError as error:
            answer = Answer(name, record.name, str(error).replace(record.name, "record"))
        replace_file(place, json.dumps(answer.as_dict()).encode())
        return answer

    def _asked(self, record: PhononRecord, name: str, begin: float) -> Answer:
        ensemble = self.contenders[name].ensemble
        crystal = crystal_on(record, ensemble, self.geometry)
        found = vibrations_at(record, crystal, ensemble, self.displacement)
        volume = crystal.volume / record.crystal.volume
        return Answer(name, record.name, None, found, volume, round(time.process_time() - begin, 3))

    def _place(self, record: PhononRecord, name: str) -> Path:
        said = [self.contenders[name].known_as, record.key, str(self.geometry), repr(self.displacement)]
        words = [re.sub(r"[^A-Za-z0-9.+-]+", "-", word) for word in (record.name, name)]
        return self.workdir / f"{'_'.join(words)}_{digest([word.encode() for word in said], 12)}.json"


def _kept(place: Path) -> Answer:
    try:
        content: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return Answer.from_dict(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            "an answer that is kept cannot be read", where=str(place), seen=str(error), hint="remove the file"
        ) from error
