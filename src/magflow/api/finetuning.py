"""Force constants opened, and an ensemble fine-tuned on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from magflow.api.opening import Labels, Models, Structural, ensemble_of, family_of, read_labels, to_frame
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.io import force_constants as own
from magflow.io.extxyz import write_extxyz
from magflow.io.phonopy_files import is_phonopy, read_phonopy
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.training import EnsembleTask
from magflow.properties.displaced import FURTHEST, displaced_frames, of_displacements, of_potential
from magflow.studies.finetune.result import FinetuneResult
from magflow.studies.finetune.task import FinetuneTask
from magflow.studies.train.task import TrainTask

Constants: TypeAlias = ForceConstantLabel | str | Path


def displace(
    structure: Structural,
    out: str | Path | None = None,
    *,
    repeat: Sequence[int] = (1, 1, 1),
    distance: float = 0.01,
    magmoms: Mapping[str, float] | None = None,
) -> list[Frame]:
    """A perfect supercell, and the frames that its force constants are told by once they have labels.

    Parameters
    ----------
    structure
        Crystal at rest, with its moments: what :func:`magflow.to_frame` takes.
    out
        Extended XYZ that gets the frames, for ``magflow label``.
    repeat
        Repeats of the cell.
    distance
        A, of the one atom that is displaced in each frame but the first.
    magmoms
        Element to the moment, muB, of its atoms; None: as the structure has them.

    Raises
    ------
    InputError
        What :func:`magflow.to_frame` refuses, repeats or a distance that are none, non-collinear moments.

    Examples
    --------
    >>> from ase.build import bulk
    >>> import magflow
    >>> magflow.displace(bulk("Fe", cubic=True))
    [<Frame Fe2 FM, 23.64 A^3, |m| up to 2.3 muB>, <Frame Fe2 FM, 23.64 A^3, |m| up to 2.3 muB>]
    """
    if not 0.0 < distance < FURTHEST:
        expected = f"above 0 and below {FURTHEST:g} A"
        raise InputError("not a small displacement", where="distance", seen=distance, expected=expected)
    perfect = _supercell(to_frame(structure, magmoms), repeat)
    frames = [perfect, *displaced_frames(perfect, distance)]
    if out is not None:
        write_extxyz(Path(out), frames)
    return frames


def force_constants(
    models: Models, structure: Structural, out: str | Path | None = None, *, repeat: Sequence[int] = (1, 1, 1)
) -> ForceConstantLabel:
    """Force constants that a potential gives at clamped moments: a teacher for another.

    Parameters
    ----------
    models
        The teacher: what :func:`magflow.load` takes. The level of theory of what it gives names it.
    structure, repeat
        Crystal at rest and repeats of its cell, as for :func:`magflow.displace`.
    out
        JSON file that gets them, for ``magflow finetune --phonons``.

    Raises
    ------
    InputError
        A crystal that is not at rest, what the potential refuses.

    Examples
    --------
    >>> import magflow
    >>> magflow.force_constants("large", "relaxed.extxyz", "teacher.json", repeat=(2, 2, 2))  # doctest: +SKIP
    <ForceConstantLabel Fe16 FM: 1 of 16 atoms, magflow 0.2.0>
    """
    found = of_potential(ensemble_of(models), _supercell(to_frame(structure), repeat))
    if out is not None:
        own.write_force_constants(Path(out), [found])
    return found


def read_force_constants(
    place: str | Path,
    *,
    level: LevelOfTheory | None = None,
    moments: Mapping[str, float] | None = None,
    clamped: bool = False,
) -> list[ForceConstantLabel]:
    """The force constants in a file or folder.

    Parameters
    ----------
    place
        A folder or file of phonopy (``phonopy*.yaml`` with FORCE_SETS or FORCE_CONSTANTS in or beside it); a file of
        force constants that magflow wrote; or labelled frames in any format that magflow reads: perfect supercells,
        and those with one atom displaced.
    level
        Level of theory of what phonopy computed; None: unspecified. Other files say it.
    moments
        Element to |m|, muB, where phonopy's files hold none, or a guess.
    clamped
        Phonopy's displacements were made at fixed moments; otherwise those of a magnetic crystal followed.

    Raises
    ------
    InputError
        No force constants or no supercell, a crystal that is not at rest, moments that break the symmetry that phonopy
        used, damaged files.

    Examples
    --------
    >>> import magflow
    >>> magflow.read_force_constants("phonons/Cr", moments={"Cr": 0.9}, clamped=True)  # doctest: +SKIP
    [<ForceConstantLabel Cr16 AFM: 1 of 16 atoms, unspecified >]
    """
    path = Path(place)
    if is_phonopy(path):
        return [read_phonopy(path, level=level, moments=moments, clamped=clamped)]
    if path.suffix == own.SUFFIX:
        return own.read_force_constants(path)
    return of_displacements(list(read_labels(path)), str(path))


def finetune(
    models: Models,
    phonons: Constants | Sequence[Constants],
    cotrain: Labels,
    out: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    held: Constants | Sequence[Constants] = (),
    test: Labels | None = None,
    moments: Mapping[str, float] | None = None,
    clamped: bool = False,
    bagging: bool = True,
    seed: int | None = None,
    mixed: bool = False,
    jobs: int = 0,
    resume: bool = False,
    progress: WorkProgress = silent,
) -> FinetuneResult:
    """Go on with the fits of an ensemble, on force constants and on labels, and say what that did to its phonons.

    Parameters
    ----------
    models
        What :func:`magflow.load` takes.
    phonons, held
        Force constants to learn from, and to be judged by only: labels, or what :func:`read_force_constants` takes.
    cotrain, test
        Labels to learn from again, so that nothing is forgotten, and to be held against.
    out
        Directory of the tuned ensemble; :func:`magflow.load` opens it.
    settings
        That differ from those the ensemble was fitted with, such as ``{"weights": {"force_constants": 20}}``.
    moments, clamped
        As for :func:`read_force_constants`.
    bagging
        Give each member its own 80 % of the labels; force constants are met by all.
    seed
        None: those of the members, so that each learns again from the labels it knows; 1 if they do not say.
    mixed
        Accept force constants of another level of theory than the labels.
    jobs
        Members fitted side by side; 0: as many as there are cores.
    resume
        Go on with the fits in `out`.

    Raises
    ------
    InputError
        A family that learns from no force constants, force constants of another level of theory or of moments that
        follow the atoms, unknown settings, an ensemble or other fits in `out`.

    Examples
    --------
    >>> import magflow
    >>> tuned = magflow.finetune("potential", "phonons/Fe", "labels.extxyz", "tuned")  # doctest: +SKIP
    >>> tuned.change(learnt=True)  # doctest: +SKIP
    -0.93
    """
    start = ensemble_of(models)
    training = EnsembleTask(
        family=family_of(start.family_name, _merged(_settings(start), settings or {})),
        dataset=read_labels(cotrain, mixed=mixed),
        elements=start.species,
        members=len(start.members),
        seed=1 if seed is None else seed,
        seeds=_seeds(start) if seed is None else (),
        bagging=bagging,
        start=start,
        uncertainty=start.uncertainty,
        force_constants=tuple(_opened(phonons, moments, clamped)),
    )
    fits = TrainTask(training, None if test is None else read_labels(test, mixed=mixed), Path(out), jobs)
    task = FinetuneTask(fits, tuple(_opened(held, moments, clamped)), mixed)
    fits.check_directory(resume=resume)
    return task.run(progress)


def _supercell(frame: Frame, repeat: Sequence[int]) -> Frame:
    if len(repeat) != 3 or min(repeat) < 1:
        raise InputError("not repeats of a cell", where="repeat", seen=list(repeat), expected="three numbers from 1")
    a, b, c = repeat
    return repeated(frame, (a, b, c))


def _opened(
    given: Constants | Sequence[Constants], moments: Mapping[str, float] | None, clamped: bool
) -> list[ForceConstantLabel]:
    """What is given, opened where it is a path."""
    found = []
    for item in [given] if isinstance(given, ForceConstantLabel | str | Path) else given:
        if isinstance(item, ForceConstantLabel):
            found.append(item)
        else:
            found += read_force_constants(item, moments=moments, clamped=clamped)
    return found


def _settings(ensemble: PotentialEnsemble) -> dict[str, Any]:
    """What an ensemble was fitted with.

    Raises
    ------
    InputError
        If it does not say.
    """
    settings = ensemble.metadata.get("settings")
    if not isinstance(settings, Mapping):
        raise InputError("the ensemble does not say with which settings it was fitted", hint="train it with magflow")
    return dict(settings)


def _seeds(ensemble: PotentialEnsemble) -> tuple[int, ...]:
    """Of each member, by which it drew its labels; none if the ensemble does not say."""
    alike = [ensemble.metadata.get("seed", 1)] * len(ensemble.members)
    seeds = ensemble.metadata.get("seeds", alike)
    return tuple(seeds) if len(seeds) == len(alike) and all(isinstance(s, int) for s in seeds) else ()


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the values of `above`, mapping by mapping."""
    found = dict(below)
    for key, value in above.items():
        mine = found.get(key)
        found[key] = _merged(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return found
