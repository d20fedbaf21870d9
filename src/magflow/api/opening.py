"""What a person names, opened: a potential, a structure, labels, a family with its settings."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from warnings import warn

from ase import Atoms
from pydantic import ValidationError

from magflow.campaign.directory import IDENTITY, CampaignDirectory
from magflow.core import plugins
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.io.ase_atoms import from_atoms
from magflow.io.configuration import indexed, read_configuration, with_moments
from magflow.io.findings import Findings
from magflow.io.gather import labelled_dataset
from magflow.io.quantities import parse_keys
from magflow.io.sources import SOURCES, Wish, check_heeded, source_of
from magflow.io.structure import from_structure
from magflow.potentials.ensemble import MANIFEST, PotentialEnsemble
from magflow.stores.contents import labelled_frames, latest_ensemble

if TYPE_CHECKING:
    from pymatgen.core import Structure

Models: TypeAlias = PotentialEnsemble | str | Path
Structural: TypeAlias = "Frame | Atoms | Structure | str | Path"
Labels: TypeAlias = Dataset | str | Path

Choice = TypeVar("Choice", bound=StrEnum)


def load(place: str | Path) -> PotentialEnsemble:
    """The potential in a directory: the ensemble saved there, or the newest of the campaign there.

    Parameters
    ----------
    place
        What ``magflow export --models``, ``magflow train`` or ``PotentialEnsemble.save`` wrote, or the directory of a
        campaign.

    Raises
    ------
    InputError
        If there is neither, or the campaign has not trained an ensemble yet.

    Examples
    --------
    >>> import magflow
    >>> potential = magflow.load("potential")  # doctest: +SKIP
    >>> potential.species  # doctest: +SKIP
    ('Al', 'Fe')
    """
    path = Path(place)
    if (path / MANIFEST).is_file():
        return PotentialEnsemble.load(path)
    if not (path / IDENTITY).is_file():
        raise InputError(
            "neither an ensemble nor a campaign",
            where=str(path),
            expected=f"a directory that holds {MANIFEST} or {IDENTITY}",
            hint="`magflow export DIR --models -o MODELS` writes an ensemble",
        )
    campaign = CampaignDirectory.existing(path)
    return latest_ensemble(campaign.store, campaign.id)


def to_frame(structure: Structural, magmoms: Mapping[str, float] | None = None) -> Frame:
    """One structure as a frame, with the moments it carries or is given.

    Parameters
    ----------
    structure
        A file (extended XYZ, POSCAR, CIF, or what ASE reads; ``FILE@2`` is the third of several in it, ``FILE@-1`` the
        last), an ``ase.Atoms``, a pymatgen ``Structure``, or a frame. Moments, muB, are the initial moments of ASE, the
        site property ``magmom`` of pymatgen.
    magmoms
        Element to the moment, muB, of its atoms, instead; parallel, along z. None: as the structure has them.

    Raises
    ------
    InputError
        If the file cannot be read or holds not exactly one structure, the structure is not periodic or disordered, or
        `magmoms` leaves out one of its elements.

    Examples
    --------
    >>> from ase.build import bulk
    >>> import magflow
    >>> magflow.to_frame(bulk("Fe", cubic=True))
    <Frame Fe2 FM, 23.64 A^3, |m| up to 2.3 muB>
    """
    frame = _opened(structure)
    return frame if magmoms is None else with_moments(frame, magmoms, named(structure))


def named(structure: Structural) -> str:
    """How errors name a structure."""
    return str(structure) if isinstance(structure, str | Path) else "structure"


def _opened(structure: Structural) -> Frame:
    if isinstance(structure, Frame):
        return structure
    if isinstance(structure, Atoms):
        return from_atoms(structure).frame
    if isinstance(structure, str | Path):
        path, index = indexed(structure)
        return read_configuration(path, index=index)
    return from_structure(structure)


def read_labels(
    place: Labels,
    *,
    mixed: bool = False,
    virial_sign: int | None = None,
    keys: Sequence[str] = (),
    told: Callable[[str], None] = warn,
) -> Dataset:
    """The labels of a file or folder, every frame of which has to have one, or the usable ones of a campaign.

    Parameters
    ----------
    place
        Extended XYZ or any other of the formats that magflow reads, or the directory of a campaign; a dataset stays as
        it is.
    mixed
        Accept labels of several levels of theory.
    virial_sign
        What ``virial=`` in a file means: -1 is -stress x volume (GAP, DeePMD, MACE), 1 is +stress x volume.
    keys
        What quantities are called in the file, as ``QUANTITY=NAME@UNIT``.
    told
        Gets a line for all that was read under another name, guessed, not used or left out; a warning each otherwise.

    Raises
    ------
    InputError
        If there are none, a frame has none, there are several levels of theory and not `mixed`, or two labels of one
        frame disagree.

    Examples
    --------
    >>> import magflow
    >>> labels = magflow.read_labels("labels.extxyz")  # doctest: +SKIP
    >>> learnt, unseen = labels.split(0.2, seed=0)  # doctest: +SKIP
    """
    if isinstance(place, Dataset):
        return place
    path = Path(place)
    if (path / IDENTITY).is_file() or (path.is_dir() and not any(path.rglob("type.raw"))):
        return labels_of_campaign(path)
    return labels_of_file(path, mixed=mixed, virial_sign=virial_sign, keys=keys, told=told)


def labels_of_campaign(directory: Path) -> Dataset:
    """The usable labels of the campaign in a directory.

    Raises
    ------
    InputError
        If there is no campaign, or none has been made yet.
    """
    campaign = CampaignDirectory.existing(directory)
    dataset = labelled_frames(campaign.store, campaign=campaign.id)
    if not len(dataset):
        raise InputError("the campaign has no usable labels yet", where=str(directory))
    return dataset


def labels_of_file(
    path: Path,
    *,
    mixed: bool = False,
    virial_sign: int | None = None,
    keys: Sequence[str] = (),
    told: Callable[[str], None] = warn,
) -> Dataset:
    """The labels of a file or folder of any format; the parameters are those of :func:`read_labels`.

    Raises
    ------
    InputError
        As :func:`read_labels`.
    """
    wish = Wish(parse_keys(keys), virial_sign)
    source = source_of(path)
    check_heeded(wish, [source])
    findings = Findings()
    if source is not SOURCES["extxyz"]:
        told(f"read: {path}, {source.title}; `magflow convert` makes extended XYZ of it")
    try:
        return labelled_dataset(path, wish, findings, mixed=mixed)
    finally:
        for line in [*findings.lines(), *findings.extra_lines()]:
            told(line)


def ensemble_of(models: Models) -> PotentialEnsemble:
    """`models` itself, or what :func:`load` finds there."""
    return models if isinstance(models, PotentialEnsemble) else load(models)


def family_of(name: str, settings: Mapping[str, Any], where: str = "settings") -> Any:
    """The family of potentials registered as `name`, with settings.

    Parameters
    ----------
    where
        How errors name the settings.

    Raises
    ------
    InputError
        Unknown family or setting, a value it does not take.
    """
    return _plugin(plugins.POTENTIAL_FAMILIES, name, settings, where)


def engine_of(name: str, settings: Mapping[str, Any], where: str = "settings") -> Any:
    """The label engine registered as `name`; otherwise as :func:`family_of`."""
    return _plugin(plugins.LABEL_ENGINES, name, settings, where)


def one_of(kind: type[Choice], word: str, where: str) -> Choice:
    """The choice that `word` names; `where` is how errors name what is chosen.

    Raises
    ------
    InputError
        If it names none.
    """
    try:
        return kind(word)
    except ValueError:
        raise InputError("no such choice", where=where, seen=word, expected=", ".join(kind)) from None


def check_begun(output: Path, work: str, what: str, *, resume: bool) -> None:
    """Refuse to begin where somebody has begun, and to go on where nobody has.

    Parameters
    ----------
    work
        Directory below `output` that holds what is finished.
    what
        What that is, for people.

    Raises
    ------
    InputError
        If `resume` does not fit what is there.
    """
    begun = (output / work).is_dir()
    if begun and not resume:
        raise InputError(f"the directory holds {what} already", where=str(output), hint="--resume goes on with them")
    if resume and not begun:
        raise InputError(f"there are no {what} to go on with", where=str(output), hint="leave --resume out")


def _plugin(group: str, name: str, settings: Mapping[str, Any], where: str) -> Any:
    kind = plugins.load(group, name)
    try:
        return kind(**settings)
    except ValidationError as error:
        raise _refusal(error, list(kind.model_fields), where) from error


def _refusal(error: ValidationError, known: list[str], where: str) -> InputError:
    """The first problem of a refused setting."""
    found = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden" and len(found["loc"]) == 1:
        near = difflib.get_close_matches(key, known, n=1)
        return InputError(
            "an unknown setting",
            where=where,
            seen=key,
            expected="one of " + ", ".join(known),
            hint=f"did you mean {near[0]}?" if near else None,
        )
    message = found["msg"].removeprefix("Value error, ")
    return InputError(
        "a setting is not acceptable", where=f"{where} {key}".strip(), seen=found.get("input"), expected=message
    )
