"""What labels are asked for: potentials, a comparison of families, what non-magnetic labels save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magflow.api.opening import Labels, Models, check_begun, ensemble_of, family_of, one_of, read_labels
from magflow.core.prediction import QUANTITIES
from magflow.core.protocols import WorkProgress, silent
from magflow.core.uncertainty import Uncertainty
from magflow.errors import CampaignError, InputError
from magflow.potentials.training import EnsembleTask, cores
from magflow.studies.compare.files import write_comparison
from magflow.studies.compare.result import Comparison
from magflow.studies.compare.section import main_quantity
from magflow.studies.compare.task import ComparisonTask, Entry, parts
from magflow.studies.train.result import TrainResult
from magflow.studies.train.task import TrainTask
from magflow.studies.transfer.files import write_transfer
from magflow.studies.transfer.result import TransferCurve
from magflow.studies.transfer.saving import Price
from magflow.studies.transfer.task import TransferTask
from magflow.studies.transfer.ways import TransferSchedule, doubled, ways

FITS, POINTS = ".fits", ".points"
"""Directories below the output of a comparison and of a transfer in which finished work is kept."""


def train(
    labels: Labels,
    out: str | Path,
    *,
    elements: Sequence[str] | None = None,
    family: str = "mmtp",
    settings: Mapping[str, Any] | None = None,
    members: int = 5,
    bagging: bool | None = None,
    uncertainty: str = "ensemble",
    validation: float = 0.0,
    seed: int = 1,
    start: Models | None = None,
    test: Labels | None = None,
    jobs: int = 0,
    resume: bool = False,
    progress: WorkProgress = silent,
) -> TrainResult:
    """Train an ensemble on labels, and say how well it meets them.

    Parameters
    ----------
    labels, test
        To learn from, and to be held against: what :func:`magflow.read_labels` takes.
    out
        Directory of the ensemble; :func:`magflow.load` opens it.
    elements
        That the potential is to know; None: those of the labels.
    family, settings
        As ``train.family`` and ``train.settings`` of a campaign file.
    members, bagging, uncertainty
        Potentials in the ensemble, whether each gets its own 80 % of the labels, and what its deviations are made of:
        as ``train.ensemble``, ``train.bagging`` and ``train.uncertainty`` of a campaign file.
    validation
        Share of the labels each member keeps aside to stop its fit early.
    start
        Ensemble whose members the fits start from.
    jobs
        Members fitted side by side; 0: as many as there are cores.
    resume
        Go on with the training in `out`.

    Raises
    ------
    InputError
        Unknown family, setting, element or uncertainty; deviations that the family or a single potential cannot tell;
        an ensemble or another training in `out`.

    Examples
    --------
    >>> import magflow
    >>> trained = magflow.train("labels.extxyz", "potential", settings={"level": 12})  # doctest: +SKIP
    >>> trained.errors["train"]["errors"]["energy"]["rmse"]  # doctest: +SKIP
    0.0018
    >>> potential = magflow.load("potential")  # doctest: +SKIP
    """
    told = one_of(Uncertainty, uncertainty, "uncertainty")
    dataset = read_labels(labels)
    training = EnsembleTask(
        family=family_of(family, settings or {}),
        dataset=dataset,
        elements=tuple(sorted(elements)) if elements else dataset.elements,
        members=members,
        seed=seed,
        bagging=told.needs_bags if bagging is None else bagging,
        uncertainty=told,
        validation=validation,
        start=None if start is None else ensemble_of(start),
    )
    task = TrainTask(training, None if test is None else read_labels(test), Path(out), jobs)
    task.check_directory(resume=resume)
    return task.run(progress)


def compare(
    labels: Labels,
    out: str | Path,
    *,
    families: Sequence[str] | Mapping[str, str] = ("mmtp", "dp", "dp-spin"),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    split: float = 0.8,
    test: Labels | None = None,
    seeds: int = 3,
    validation: float = 0.0,
    sort: str | None = None,
    resume: bool = False,
    progress: WorkProgress = silent,
) -> Comparison:
    """Fit several families to the same labels and compare errors, training cost and inference cost.

    Parameters
    ----------
    labels
        What :func:`magflow.read_labels` takes.
    out
        Directory that gets ``results.json``, ``results.csv``, ``comparison.svg`` and the fits.
    families
        Names of families; or a name of your own to a family each, to compare one with itself.
    settings
        Name to the settings of that family.
    split, test
        Share of the labels to learn from; or labels to test on, and all others are learnt from.
    seeds
        Fits per family.
    validation
        Share of the labels learnt from that stops a fit early.
    sort
        Quantity to sort by; None: forces, if there are any.
    resume
        Keep the finished fits in `out`.

    Raises
    ------
    InputError
        Unknown family or setting, nothing to compare, fits in `out` and not `resume`.
    CampaignError
        If every fit failed.

    Examples
    --------
    >>> import magflow
    >>> both = magflow.compare(  # doctest: +SKIP
    ...     "labels.extxyz", "sizes", families={"small": "mmtp", "large": "mmtp"},
    ...     settings={"small": {"level": 8}, "large": {"level": 14}},
    ... )
    >>> [standing.entry for standing in both.standings()]  # doctest: +SKIP
    ['large', 'small']
    """
    named = dict(families) if isinstance(families, Mapping) else {name: name for name in families}
    given = settings or {}
    if unknown := sorted(set(given) - set(named)):
        raise InputError(
            "settings of no entry", where="settings", seen=", ".join(unknown), expected="one of " + ", ".join(named)
        )
    if sort is not None and sort not in QUANTITIES:
        raise InputError("unknown quantity", where="--sort", seen=sort, expected=", ".join(QUANTITIES))
    known, unseen, place = read_labels(labels), None if test is None else read_labels(test), Path(out)
    entries = tuple(Entry(name, family_of(family, given.get(name, {}))) for name, family in named.items())
    check_begun(place, FITS, "fits", resume=resume)
    task = ComparisonTask(
        entries,
        *parts(known, unseen, split),
        seeds=tuple(range(1, seeds + 1)),
        workdir=place / FITS,
        validation=validation,
    )
    comparison = task.run(progress)
    write_comparison(comparison, place, sort or main_quantity(comparison))
    if not any(fit.ok for fit in comparison.fits):
        seen = comparison.fits[0].failure
        raise CampaignError("every fit failed", seen=seen, hint=f"look at {place / 'results.json'}")
    return comparison


def transfer(
    non_magnetic: Labels,
    magnetic: Labels,
    test: Labels,
    out: str | Path,
    *,
    sizes: Sequence[int] = (10, 20, 40, 80),
    seeds: int = 3,
    family: str = "mmtp",
    settings: Mapping[str, Any] | None = None,
    tune: Mapping[str, Any] | None = None,
    replay: float | None = None,
    joint: bool = False,
    difference: bool = False,
    correction: Mapping[str, Any] | None = None,
    scratch_to: int | None = None,
    members: int = 1,
    price: str = "core_hours",
    jobs: int = 0,
    resume: bool = False,
    progress: WorkProgress = silent,
) -> TransferCurve:
    """Measure what pre-training on non-magnetic labels saves in magnetic ones.

    Parameters
    ----------
    non_magnetic, magnetic, test
        Labels to pre-train on, to draw from and fine-tune on, and to be held against: what
        :func:`magflow.read_labels` takes.
    out
        Directory that gets ``results.json``, ``results.csv``, ``transfer.svg`` and ``transfer.html``.
    sizes, seeds
        Numbers of magnetic labels; draws of each.
    family, settings, tune
        As ``train.family`` and ``train.settings`` of a campaign file; settings of fits to magnetic labels only.
    replay
        Share of the non-magnetic labels learnt from again; None: all for a family that reads moments, else none.
    joint
        Fit to both kinds of label from scratch, too.
    difference, correction
        Keep the pre-trained potential as it is, too, and fit another one to what it leaves of the labels; settings of
        that one alone.
    scratch_to
        Go on with fits from scratch beyond `sizes`, doubling them, up to so many labels.
    members
        Potentials per point.
    price
        What a label costs: ``core_hours`` or ``cpu_hours``.
    jobs
        Members fitted side by side; 0: as many as there are cores.
    resume
        Keep the finished points in `out`.

    Raises
    ------
    InputError
        Labels of the wrong kind, sizes beyond the labels, unknown family or setting, points in `out` and not `resume`.

    Examples
    --------
    >>> import magflow
    >>> curve = magflow.transfer("nm.extxyz", "m.extxyz", "test.extxyz", "saved", sizes=(20, 40))  # doctest: +SKIP
    >>> curve.seeds  # doctest: +SKIP
    (1, 2, 3)
    """
    if price not in list(Price):
        raise InputError("unknown price", where="--price", seen=price, expected=" or ".join(Price))
    common, place = dict(settings or {}), Path(out)
    tuned = family_of(family, common | dict(tune or {}))
    arms, share = ways(tuned, replay, joint=joint, difference=difference)
    if correction and not difference:
        raise InputError("settings of a difference that is not asked for", where="--correction", hint="--difference")
    apart = common | dict(tune or {}) | dict(correction or {})
    task = TransferTask(
        pretraining=family_of(family, common),
        family=tuned,
        non_magnetic=read_labels(non_magnetic),
        pool=read_labels(magnetic),
        test=read_labels(test),
        sizes=tuple(sizes),
        scratch_sizes=doubled(sizes, scratch_to),
        seeds=tuple(range(1, seeds + 1)),
        workdir=place / POINTS,
        correction=family_of("difference", {"family": family, "settings": apart}) if difference else None,
        schedule=TransferSchedule(replay=share, members=members, bagging=members > 1),
        arms=arms,
        jobs=jobs or cores(),
    )
    check_begun(place, POINTS, "points", resume=resume)
    curve = task.run(progress)
    write_transfer(curve, place, Price(price))
    return curve
