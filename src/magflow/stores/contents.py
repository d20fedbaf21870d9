"""What the arrays of a campaign's documents hold: frames that were offered, labels, potentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.dataset import Dataset
from magflow.errors import StoreError
from magflow.makers.documents import CandidatesDoc, LabelDoc, Purpose, SelectionDoc
from magflow.makers.packing import unpack_labelled
from magflow.stores.filters import matcher
from magflow.stores.layout import ReadableStore
from magflow.stores.queries import CHOSEN, documents, doubted, iterations, latest_models

if TYPE_CHECKING:
    from magflow.makers.offered import Columns
    from magflow.potentials.ensemble import PotentialEnsemble


def frames(
    store: ReadableStore, criteria: Mapping[str, Any] | None = None, campaign: str | None = None
) -> Iterator[dict[str, Any]]:
    """One row per frame ever offered, with its reason: the tables of all selections, under a Mongo filter."""
    matches = matcher(criteria)
    for iteration, columns in pools(store, campaign):
        for values in zip(*columns.values(), strict=True):
            row = {"iteration": iteration}
            row |= {name: _plain(value) for name, value in zip(columns, values, strict=True)}
            if matches(row):
                yield row


def pools(store: ReadableStore, campaign: str | None = None) -> Iterator[tuple[int, Columns]]:
    """The frames offered in each iteration and what was decided about them (:func:`~magflow.makers.offered.table`)."""
    from magflow.makers.offered import table

    for selection, candidates in _offered(store, campaign, verdicts=True):
        yield selection.iteration, table(candidates, selection)


def extents(store: ReadableStore, campaign: str | None = None) -> Iterator[Columns]:
    """Volumes and moments of the frames offered in each iteration (:func:`~magflow.makers.offered.extents`)."""
    from magflow.makers.offered import extents

    for _, candidates in _offered(store, campaign, verdicts=False):
        yield extents(candidates)


def _offered(
    store: ReadableStore, campaign: str | None, *, verdicts: bool
) -> Iterator[tuple[SelectionDoc, CandidatesDoc]]:
    """Each selection, on request with its arrays, and the candidates it was made of, with theirs."""
    for selection in documents(store, SelectionDoc, campaign=campaign, arrays=verdicts):
        of = {"iteration": selection.iteration}
        found = list(documents(store, CandidatesDoc, of, campaign=selection.campaign, arrays=True))
        if not found:
            raise StoreError(
                "the candidates of a selection are missing",
                where=f"{store.name}, iteration {selection.iteration}",
                hint="copy the campaign from where it is whole, with `magflow db move`",
            )
        yield selection, found[-1]


def _plain(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and np.isnan(plain) else plain


def labelled_frames(
    store: ReadableStore, criteria: Mapping[str, Any] | None = None, campaign: str | None = None
) -> Dataset:
    """All usable labels that the loop chose as a dataset, in the order they were made.

    With `criteria` that ask for imported labels, it may be of several levels of theory.
    """
    wanted = {"state": "ok"} | CHOSEN | dict(criteria or {})
    left_out = doubted(store, campaign)
    found = [
        d for d in documents(store, LabelDoc, wanted, campaign=campaign, arrays=True) if d.label_id not in left_out
    ]
    imported = wanted["purpose"] == Purpose.IMPORTED
    return Dataset((item for d in found for item in unpack_labelled(d.arrays)), mixed=imported)


def latest_ensemble(store: ReadableStore, campaign: str | None = None, *, untuned: bool = False) -> PotentialEnsemble:
    """The newest complete ensemble, with the newest calibration.

    `untuned` is as for :func:`~magflow.stores.queries.latest_models`.
    """
    from magflow.makers.ensembles import ensemble_of  # ASE, which who takes labels out has no need of

    calibrations = [d.calibration for d in iterations(store, campaign=campaign) if d.calibration]
    found = latest_models(store, campaign, untuned=untuned)
    return ensemble_of(found, calibrations[-1] if calibrations else None)
