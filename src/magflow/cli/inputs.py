"""What a user names on the command line, opened: an ensemble, labelled frames, a family with its settings."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import ValidationError

    from magflow.core.dataset import Dataset
    from magflow.errors import InputError
    from magflow.io.findings import Findings
    from magflow.potentials.ensemble import PotentialEnsemble


def open_ensemble(path: Path) -> PotentialEnsemble:
    """The ensemble saved in `path`, or the newest one of the campaign in `path`."""
    from magflow.errors import InputError
    from magflow.potentials.ensemble import MANIFEST, PotentialEnsemble

    if (path / MANIFEST).is_file():
        return PotentialEnsemble.load(path)
    from magflow.campaign.directory import IDENTITY, CampaignDirectory
    from magflow.stores.queries import latest_ensemble

    if not (path / IDENTITY).is_file():
        raise InputError(
            "neither an ensemble nor a campaign",
            where=str(path),
            expected=f"a directory that holds {MANIFEST} or {IDENTITY}",
            hint="`magflow export DIR --models -o MODELS` writes an ensemble",
        )
    campaign = CampaignDirectory(path)
    return latest_ensemble(campaign.store, campaign.id)


def labels_of(
    place: Path, *, mixed: bool = False, virial_sign: int | None = None, keys: Sequence[str] | None = None
) -> Dataset:
    """The usable labels of the campaign in a directory, or those of a file or folder (:func:`labelled`).

    Raises
    ------
    InputError
        If there are none.
    """
    from magflow.campaign.directory import IDENTITY, CampaignDirectory
    from magflow.errors import InputError
    from magflow.stores.queries import labelled_frames

    foreign = not place.is_dir() or any(place.rglob("type.raw"))
    if foreign and not (place / IDENTITY).is_file():
        return labelled(place, mixed=mixed, virial_sign=virial_sign, keys=keys)
    campaign = CampaignDirectory.existing(place)
    dataset = labelled_frames(campaign.store, campaign=campaign.id)
    if not len(dataset):
        raise InputError("the campaign has no usable labels yet", where=str(place))
    return dataset


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
    from magflow.errors import InputError

    begun = (output / work).is_dir()
    if begun and not resume:
        raise InputError(f"the directory holds {what} already", where=str(output), hint="--resume goes on with them")
    if resume and not begun:
        raise InputError(f"there are no {what} to go on with", where=str(output), hint="leave --resume out")


def labelled(
    path: Path, *, mixed: bool = False, virial_sign: int | None = None, keys: Sequence[str] | None = None
) -> Dataset:
    """The labels of a file or folder, every frame of which has to have one; what else is to be known is told.

    Raises
    ------
    InputError
        If a frame has none, the labels are of several levels of theory and not `mixed`, or two of them disagree.
    """
    from magflow.io.findings import Findings
    from magflow.io.gather import labelled_dataset
    from magflow.io.quantities import parse_keys
    from magflow.io.sources import SOURCES, Wish, check_heeded, source_of

    wish = Wish(parse_keys(keys or []), virial_sign)
    source = source_of(path)
    check_heeded(wish, [source])
    findings = Findings()
    if source is not SOURCES["extxyz"]:
        typer.echo(f"read: {path}, {source.title}; `magflow convert` makes extended XYZ of it", err=True)
    try:
        return labelled_dataset(path, wish, findings, mixed=mixed)
    finally:
        tell(findings)


def tell(findings: Findings, *, extras: bool = True) -> None:
    """Print what was read under another name, guessed, not used or left out; with `extras` what is no quantity, too."""
    for line in [*findings.lines(), *(findings.extra_lines() if extras else [])]:
        typer.echo(line, err=True)


def family_of(name: str, assignments: Sequence[str]) -> Any:
    """The family registered as `name` with the settings of ``KEY=VALUE`` texts.

    Raises
    ------
    InputError
        Unknown family or setting, a value it does not take.
    """
    from magflow.core import plugins

    return _plugin(plugins.POTENTIAL_FAMILIES, name, assignments)


def engine_of(name: str, assignments: Sequence[str]) -> Any:
    """The label engine registered as `name`; otherwise as :func:`family_of`."""
    from magflow.core import plugins

    return _plugin(plugins.LABEL_ENGINES, name, assignments)


def _plugin(group: str, name: str, assignments: Sequence[str]) -> Any:
    from pydantic import ValidationError

    from magflow.core import plugins
    from magflow.errors import InputError

    kind = plugins.load(group, name)
    given: dict[str, Any] = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise InputError("a setting cannot be read", where="--set", seen=text, expected="KEY=VALUE")
        place = given
        *above, last = key.strip().split(".")
        for part in above:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise InputError("a setting is given in whole and in part", where="--set", seen=text)
        place[last] = _value(value.strip())
    try:
        return kind(**given)
    except ValidationError as error:
        raise _refusal(error, list(kind.model_fields)) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refusal(error: ValidationError, known: list[str]) -> InputError:
    """The first problem of a refused setting."""
    from magflow.errors import InputError

    found = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden" and len(found["loc"]) == 1:
        near = difflib.get_close_matches(key, known, n=1)
        return InputError(
            "an unknown setting",
            where="--set",
            seen=key,
            expected="one of " + ", ".join(known),
            hint=f"did you mean {near[0]}?" if near else None,
        )
    message = found["msg"].removeprefix("Value error, ")
    return InputError(
        "a setting is not acceptable", where=f"--set {key}".strip(), seen=found.get("input"), expected=message
    )


def largest_moments(texts: Sequence[str]) -> dict[str, float]:
    """``EL=MUB`` texts of ``--max-moment``, muB by element.

    Raises
    ------
    InputError
        If one cannot be read.
    """
    from magflow.errors import InputError

    found = {}
    for text in texts:
        element, _, number = text.partition("=")
        try:
            found[element.strip()] = float(number)
        except ValueError as error:
            raise InputError("not a bound of a moment", where="--max-moment", seen=text, expected="EL=MUB") from error
    return found
