"""Potentials and calculators of others held against recorded phonons, in a directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ase.calculators.calculator import Calculator

from magflow.api.finetuning import read_force_constants
from magflow.api.opening import Models, ensemble_of, one_of
from magflow.core.phonon_record import PhononRecord
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import CampaignError, InputError
from magflow.io.phonon_tables import is_table, read_table
from magflow.potentials.any_calculator import FAMILY, CalculatorPotential, make_calculator
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.presentation.formats import without_ones
from magflow.properties.recorded import Geometry
from magflow.studies.phonons.files import write_phonons
from magflow.studies.phonons.result import PhononBenchmark
from magflow.studies.phonons.task import Contender, PhononTask

ANSWERS = ".answers"
"""Directory below that of a benchmark in which answers are kept."""
Records: TypeAlias = "PhononRecord | str | Path"


def benchmark_phonons(
    records: Records | Sequence[Records],
    out: str | Path,
    *,
    models: Mapping[str, Models] | None = None,
    calculators: Mapping[str, str | Calculator] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    structures: str | Path | None = None,
    geometry: str = Geometry.RELAXED,
    displacement: float = 0.01,
    most_atoms: int | None = None,
    moments: Mapping[str, float] | None = None,
    clamped: bool = False,
    progress: WorkProgress = silent,
) -> PhononBenchmark:
    """Hold potentials against recorded phonons: highest frequency, entropy, free energy and heat capacity.

    An answer that `out` holds already is kept; the same call goes on after a kill, and may ask for more.

    Parameters
    ----------
    records
        Records, or files that :func:`read_phonon_records` takes.
    models
        Name to what :func:`magflow.load` takes.
    calculators
        Name to ``MODULE:CALLABLE``, which is imported and called with its `settings`, or to a calculator of ASE, whose
        answers are kept by its name alone.
    settings
        Name of a calculator to the keyword arguments of its callable. A value that names a file stands for that file
        as it is now.
    structures, moments, clamped
        As for :func:`read_phonon_records`.
    geometry
        ``relaxed``: atoms and cell at rest on the potential. ``kept``: as recorded.
    displacement
        Of an atom, A.
    most_atoms
        Leave out records with larger supercells.

    Raises
    ------
    InputError
        No records, files that cannot be read, no such calculator, a name that stands for two things.
    MissingToolError
        A calculator that does not import.
    CampaignError
        If there is no answer at all.

    Examples
    --------
    >>> found = benchmark_phonons(
    ...     "kappa103/dft.json.gz", "against-dft", calculators={"EMT": "ase.calculators.emt:EMT"}
    ... )  # doctest: +SKIP
    """
    given = [records] if isinstance(records, PhononRecord | str | Path) else list(records)
    found: list[PhononRecord] = []
    for item in given:
        if isinstance(item, PhononRecord):
            found.append(item)
        else:
            found += read_phonon_records(item, structures=structures, moments=moments, clamped=clamped)
    task = PhononTask(
        tuple(_told_apart(found)),
        _contenders(models or {}, calculators or {}, settings or {}),
        Path(out) / ANSWERS,
        one_of(Geometry, str(geometry), "geometry"),
        displacement,
        most_atoms,
    )
    benchmark = task.run(progress)
    write_phonons(benchmark, Path(out))
    if all(answer.failure for answer in benchmark.answers):
        raise CampaignError("there is no answer", seen=benchmark.answers[0].failure, where=str(out))
    return benchmark


def read_phonon_records(
    place: str | Path,
    *,
    structures: str | Path | None = None,
    moments: Mapping[str, float] | None = None,
    clamped: bool = False,
) -> list[PhononRecord]:
    """The records in a file or folder.

    Parameters
    ----------
    place
        A JSON table of frequencies (``.json``, ``.json.gz``), as :mod:`magflow.io.phonon_tables` describes it; or what
        :func:`magflow.read_force_constants` takes.
    structures
        Extended XYZ with the crystals of a table; None: the only one beside it.
    moments, clamped
        As for :func:`magflow.read_force_constants`.

    Raises
    ------
    InputError
        What the readers refuse.
    """
    path = Path(place)
    if is_table(path):
        return read_table(path, None if structures is None else Path(structures))
    labels = read_force_constants(path, moments=moments, clamped=clamped)
    stem = path.name.split(".")[0]
    return [PhononRecord.of(f"{without_ones(f'{m.frame.formula} {m.frame.ordering}')} {stem}", m) for m in labels]


def _told_apart(records: Sequence[PhononRecord]) -> list[PhononRecord]:
    """With a number behind names that several have."""
    names = [record.name for record in records]
    out = []
    for k, r in enumerate(records):
        name = f"{r.name} {names[: k + 1].count(r.name)}" if names.count(r.name) > 1 else r.name
        out.append(PhononRecord(name, r.crystal, r.supercell, r.primitive, r.reference))
    return out


def _contenders(
    models: Mapping[str, Models],
    calculators: Mapping[str, str | Calculator],
    settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, Contender]:
    if twice := sorted(set(models) & set(calculators)):
        raise InputError("a name stands for two things", seen=", ".join(twice))
    if unknown := sorted(set(settings) - set(calculators)):
        raise InputError("settings of no calculator", seen=", ".join(unknown), expected=", ".join(calculators) or None)
    found = {}
    for name, place in models.items():
        ensemble = ensemble_of(place)
        found[name] = Contender(ensemble, ensemble.identity)
    for name, given in calculators.items():
        own = dict(settings.get(name, {}))
        made = make_calculator(given, own) if isinstance(given, str) else given
        ensemble = PotentialEnsemble((CalculatorPotential(made, name),), FAMILY)
        found[name] = Contender(ensemble, _known_as(name, given, own))
    return found


def _known_as(name: str, given: str | Calculator, settings: Mapping[str, Any]) -> str:
    """The name and settings of a calculator, with size and time of the files that settings name."""
    files = []
    for value in settings.values():
        path = Path(value) if isinstance(value, str) and value else None
        if path is not None and path.is_file():
            about = path.stat()
            files.append([about.st_size, about.st_mtime_ns])
    spec = given if isinstance(given, str) else name
    return json.dumps([spec, dict(settings), files], sort_keys=True, default=repr)
