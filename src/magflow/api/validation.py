"""What potentials are good for: their properties, held against references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magflow.api.opening import Models, Structural, ensemble_of, one_of, to_frame
from magflow.campaign.crystals import ideal_structures
from magflow.campaign.directory import IDENTITY, CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.campaign.schema import CampaignSpec
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError
from magflow.execution.measuring import by_labels
from magflow.properties.base import Property, property_of, usual
from magflow.properties.measurement import Moments
from magflow.properties.points import DFT
from magflow.properties.references import read_references
from magflow.studies.validate.choices import Against, Treatment
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
    moments: str = Treatment.RELAXED,
    magmoms: Mapping[str, float] | None = None,
    max_moment: Mapping[str, float] | None = None,
    references: Sequence[str | Path] = (),
    against: str = Against.REFERENCES,
    campaign: str | Path | None = None,
    workers: int = 1,
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
        Names of properties; empty: all but those on request.
    settings
        Name of a property to its settings.
    quick
        Settings that answer within minutes; those in `settings` have the last word.
    moments
        ``relaxed`` in every configuration, ``relaxed-once``, or ``fixed`` at those given.
    magmoms
        Element to the moment, muB, that its atoms begin with; None: as the structures have them.
    max_moment
        Element to the bound of |m|, muB; None: the range of the fit.
    references
        Files of reference values (:mod:`magflow.properties.references`).
    against
        ``references``; ``dft``: a label engine computes the configurations of the properties at rest, too; ``none``.
    campaign
        Campaign file or directory whose engine labels them; None: the campaign in `models`.
    workers
        Labels at the same time.
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
        structures=_structures(given, structures, magmoms),
        properties=asked_for(properties, settings or {}, quick=quick),
        out=Path(out),
        moments=Moments(one_of(Treatment, moments, "moments")),
        max_moment=dict(max_moment or {}),
        references=() if against == Against.NONE else read_references(Path(path) for path in references),
    )
    wish = one_of(Against, against, "against")
    spec = _campaign(given, campaign) if wish is Against.DFT else None
    task.check_directory(resume=resume)
    validation = task.run(progress)
    if spec is not None:
        said = by_labels(task, spec.engine(), spec.system.elements, workers, progress)
        validation = validation.with_others(Validation(tuple((DFT, m) for m in said)))
    write_validation(validation, task.out)
    return validation


def asked_for(names: Sequence[str], settings: Mapping[str, Mapping[str, Any]], *, quick: bool) -> list[Property]:
    """Properties with their settings; all but those on request if none is named.

    Raises
    ------
    InputError
        Unknown property or setting; settings of a property that is not asked for.
    """
    wanted = list(dict.fromkeys(names)) or usual()
    strange = sorted(set(settings) - set(wanted))
    if strange:
        raise InputError("settings of a property that is not asked for", seen=", ".join(strange))
    return [property_of(name, dict(settings.get(name, {})), quick=quick) for name in wanted]


def _structures(
    models: Mapping[str, Models], given: Mapping[str, Structural] | None, magmoms: Mapping[str, float] | None
) -> list[Structure]:
    if given is not None:
        return [Structure(name, to_frame(structure, magmoms)) for name, structure in given.items()]
    if magmoms is not None:
        raise InputError("the structures of a campaign have moments", where="magmoms", hint="name structures, too")
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


def _campaign(models: Mapping[str, Models], given: str | Path | None) -> CampaignSpec:
    """The campaign whose engine labels.

    Raises
    ------
    InputError
        If there is none.
    """
    if given is not None and Path(given).is_file():
        return load_campaign(Path(given))
    for place in [given] if given is not None else models.values():
        if isinstance(place, str | Path) and (Path(place) / IDENTITY).is_file():
            return CampaignDirectory.existing(Path(place)).spec
    raise InputError(
        "nobody is there to label", seen="against=dft", expected="a campaign", hint="--campaign names its file"
    )


def _label(models: Models) -> str:
    return Path(models).resolve().name if isinstance(models, str | Path) else models.family_name
