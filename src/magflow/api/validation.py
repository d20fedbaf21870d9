"""What potentials are good for: their properties, held against references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magflow.api.opening import Models, Structural, ensemble_of, to_frame
from magflow.campaign.build import ideal_structures
from magflow.campaign.directory import IDENTITY, CampaignDirectory
from magflow.core.protocols import WorkProgress
from magflow.errors import InputError
from magflow.properties.base import Property, property_of, registered
from magflow.properties.measurement import Moments
from magflow.properties.references import read_references
from magflow.studies.base import silent
from magflow.studies.validate.files import write_validation
from magflow.studies.validate.result import Validation
from magflow.studies.validate.task import Structure, ValidationTask


def validate(
    models: Models | Mapping[str, Models],
    out: str | Path,
    *,
    structures: Mapping[str, Structural] | None = None,
    properties: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    quick: bool = False,
    moments: str = Moments.RELAXED,
    max_moment: Mapping[str, float] | None = None,
    references: Sequence[str | Path] = (),
    resume: bool = False,
    progress: WorkProgress = silent,
) -> Validation:
    """Measure properties of structures on a potential, or on several side by side.

    Parameters
    ----------
    models
        What :func:`magflow.load` takes; or several, by label.
    out
        Directory of the results.
    structures
        Name to what :func:`magflow.to_frame` takes; None: the ideal structures of the campaign in `models`.
    properties
        Names of properties; empty: all.
    settings
        Name of a property to its settings.
    quick
        Settings that answer within minutes; those in `settings` have the last word.
    moments
        ``relaxed`` in every configuration, ``relaxed once``, or ``fixed`` at those given.
    max_moment
        Element to the bound of |m|, muB; None: the range of the fit.
    references
        Files of reference values (:mod:`magflow.properties.references`).
    resume
        Go on with the measurements in `out`: those that are finished are kept, unless the question is another now.

    Raises
    ------
    InputError
        Unknown property or setting, no structures, references that cannot be read, measurements in `out` already.

    Examples
    --------
    >>> import magflow
    >>> found = magflow.validate("runs/feal_quick", "validation", quick=True)  # doctest: +SKIP
    >>> [m.value("a0").value for _, m in found.found if m.property == "equation-of-state"]  # doctest: +SKIP
    [2.836, 2.884]
    """
    given = dict(models) if isinstance(models, Mapping) else {_label(models): models}
    task = ValidationTask(
        potentials={label: ensemble_of(one) for label, one in given.items()},
        structures=_structures(given, structures),
        properties=asked_for(properties, settings or {}, quick=quick),
        out=Path(out),
        moments=_treatment(moments),
        max_moment=dict(max_moment or {}),
        references=read_references(Path(path) for path in references),
    )
    task.check_directory(resume=resume)
    validation = task.run(progress)
    write_validation(validation, task.out)
    return validation


def asked_for(names: Sequence[str], settings: Mapping[str, Mapping[str, Any]], *, quick: bool) -> list[Property]:
    """Properties with their settings; all that are registered if none is named.

    Raises
    ------
    InputError
        Unknown property or setting; settings of a property that is not asked for.
    """
    wanted = list(dict.fromkeys(names)) or registered()
    strange = sorted(set(settings) - set(wanted))
    if strange:
        raise InputError("settings of a property that is not asked for", seen=", ".join(strange))
    return [property_of(name, dict(settings.get(name, {})), quick=quick) for name in wanted]


def _structures(models: Mapping[str, Models], given: Mapping[str, Structural] | None) -> list[Structure]:
    if given is not None:
        return [Structure(name, to_frame(structure)) for name, structure in given.items()]
    for one in models.values():
        if isinstance(one, str | Path) and (Path(one) / IDENTITY).is_file():
            ideal = ideal_structures(CampaignDirectory.existing(Path(one)).spec)
            return [Structure(name, frame) for name, frame in ideal]
    raise InputError(
        "no structures to measure properties of",
        where=", ".join(models),
        expected="a campaign, whose prototypes serve, or structures",
        hint="--structure NAME=FILE",
    )


def _treatment(moments: str) -> Moments:
    known = [m for m in Moments if m is not Moments.NOT_READ]
    if moments not in known:
        raise InputError("unknown treatment of moments", seen=moments, expected="one of " + ", ".join(known))
    return Moments(moments)


def _label(models: Models) -> str:
    return Path(models).resolve().name if isinstance(models, str | Path) else models.family_name
