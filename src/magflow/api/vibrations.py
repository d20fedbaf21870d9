"""Phonons of one crystal on a potential, written for phonopy and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magflow.api.opening import Models, Structural, ensemble_of, named, one_of, to_frame
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError
from magflow.explore.symmetry import reduced_formula
from magflow.io.predictions import check_predictable
from magflow.io.records import Record
from magflow.io.text import read_text
from magflow.properties.base import PointProperty, Work, property_of
from magflow.properties.measurement import Moments
from magflow.properties.modes import Mode
from magflow.properties.phonons import Phonons
from magflow.properties.quasi_harmonic import QuasiHarmonic
from magflow.properties.subject import Subject
from magflow.studies.validate.result import RESULTS, Validation
from magflow.studies.vibrations.files import write_vibrations


def phonons(
    models: Models,
    structure: Structural,
    out: str | Path,
    *,
    mode: str | None = None,
    repeat: Sequence[int] | None = None,
    displacement: float = 0.01,
    mesh: float = 100.0,
    temperatures: Sequence[float] = (300.0,),
    quasi_harmonic: bool = False,
    magmoms: Mapping[str, float] | None = None,
    max_moment: Mapping[str, float] | None = None,
    born: str | Path | None = None,
    progress: WorkProgress = silent,
) -> Validation:
    """Force constants of a crystal in phonopy's formats, with bands, density of states and thermodynamic functions.

    Atoms, cell and moments come to rest on the potential first.

    Parameters
    ----------
    models
        What :func:`magflow.load` takes.
    structure
        What :func:`magflow.to_frame` takes; its moments are where they start from.
    out
        Directory of the files, which holds no other results.
    mode
        What moments do while an atom is displaced: ``clamped``, ``relaxed`` or ``adiabatic``, which tells their
        stiffness and their coupling to the atoms, too. None: relaxed, or without moments none.
    repeat
        Repeats of the cell; None: two cutoffs wide.
    displacement
        A.
    mesh
        A, density of q-points as phonopy counts it.
    temperatures
        K.
    quasi_harmonic
        Phonons at several volumes, and with them thermal expansion.
    magmoms
        Element to the moment, muB, that its atoms begin with; None: as the structure has them.
    max_moment
        Element to the bound of |m|, muB; None: the range of the fit.
    born
        A BORN file of phonopy: dielectric constant and Born charges of an insulator, which split its long waves.

    Returns
    -------
    Validation
        Of one potential: what it measured. A crystal that does not come to rest is one without an answer.

    Raises
    ------
    InputError
        A structure that the potential does not know, a supercell in which an atom sees itself, a mode that cannot be
        had, results in `out` already.
    """
    where = Path(out)
    if (where / RESULTS).exists():
        raise InputError("the directory holds results already", where=str(where), hint="name another one")
    frame, ensemble = to_frame(structure, magmoms), ensemble_of(models)
    check_predictable([Record(frame)], ensemble.species, magnetic=ensemble.magnetic, where=named(structure))
    given = one_of(Mode, mode, "mode") if mode is not None else None
    settings: dict[str, Any] = {
        "mode": given,
        "supercell": None if repeat is None else tuple(repeat),
        "displacement": displacement,
        "mesh": mesh,
        "temperatures": tuple(temperatures),
        "born": "" if born is None else read_text(born, "BORN file"),
    }
    property_of(Phonons.name, settings)  # says in one line what is not usable
    of_one = Phonons(**settings)
    asked: list[PointProperty] = [of_one]
    if quasi_harmonic:
        asked.append(QuasiHarmonic(phonons=of_one, temperatures=of_one.temperatures))
    moments = Moments.RELAXED if ensemble.magnetic else Moments.NOT_READ
    subject = Subject(ensemble, reduced_formula(frame), frame, moments, dict(max_moment or {}))
    for prop in asked:
        prop.check(subject)
    label = Path(models).resolve().name if isinstance(models, str | Path) else ensemble.family_name
    found = Validation(tuple((label, prop.measure(subject, Work(where, progress))) for prop in asked))
    write_vibrations(found, where)
    return found
