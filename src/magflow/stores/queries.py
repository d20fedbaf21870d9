"""Typed queries on a campaign's store: the same on SQLite, on MongoDB and on any other maggma store.

What the arrays of documents hold is read by :mod:`magflow.stores.contents`.

A store may hold several campaigns: `campaign`, an id as in ``campaign.json``, asks for the documents of one. A label
that another campaign has computed and this one has taken over is a document of both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar, get_args

from magflow.core.terms import FailureKind
from magflow.core.versions import FORMAT
from magflow.errors import InputError, StoreError
from magflow.makers.documents import (
    BatchDoc,
    CampaignDocument,
    CandidatesDoc,
    IterationDoc,
    LabelDoc,
    MeasurementDoc,
    ModelDoc,
    OutcomeDoc,
    Purpose,
    SelectionDoc,
    TransferDoc,
)
from magflow.makers.tuning_documents import ForceConstantsDoc, TuningDoc
from magflow.stores.layout import ReadableStore, additional_stores
from magflow.stores.projection import pick
from magflow.stores.table import DocumentTable

Document = TypeVar("Document", bound=CampaignDocument)

_KINDS = (
    CandidatesDoc,
    SelectionDoc,
    LabelDoc,
    BatchDoc,
    ModelDoc,
    IterationDoc,
    TransferDoc,
    OutcomeDoc,
    MeasurementDoc,
    ForceConstantsDoc,
    TuningDoc,
)
_DOC_TYPES: dict[type[CampaignDocument], str] = {kind: kind.model_fields["doc_type"].default for kind in _KINDS}

CHOSEN = {"purpose": {"$nin": [str(p) for p in Purpose if p is not Purpose.CAMPAIGN]}}
"""Filter for the labels that the loop chose and learns from; documents of older versions have no purpose."""


_TOGETHER = 100  # documents whose arrays are asked for at once


def usable_among(store: ReadableStore, label_ids: Collection[str], campaign: str | None = None) -> set[str]:
    """Those of some labels that the loop chose and that have a usable result."""
    if not label_ids:
        return set()
    wanted = {"state": "ok", "label_id": {"$in": sorted(label_ids)}} | CHOSEN
    return {label for (label,) in values(store, _of(LabelDoc, campaign) | _below_output(wanted), ["output.label_id"])}


def documents(
    store: ReadableStore,
    kind: type[Document],
    criteria: Mapping[str, Any] | None = None,
    *,
    campaign: str | None = None,
    arrays: bool = False,
    sort: Mapping[str, int] | None = None,
    limit: int = 0,
) -> Iterator[Document]:
    """Documents of one kind, by iteration unless `sort` says otherwise.

    Parameters
    ----------
    criteria
        A Mongo filter on the fields of the document.
    campaign
        Only documents of this campaign; None: of all that the store holds.
    arrays
        Load the arrays too; without them the ``arrays`` field is a reference.
    limit
        Documents at most; 0: all.
    """
    wanted = _of(kind, campaign) | _below_output(criteria or {})
    order: dict[str, Any] = {f"output.{k}": v for k, v in (sort or {"iteration": 1}).items()}
    found = store.docs_store.query(wanted, sort=order, limit=limit)
    for document in with_arrays(store, found) if arrays else found:
        yield kind(**document["output"])


def plain_documents(store: ReadableStore, doc_type: str, *, campaign: str | None = None) -> list[dict[str, Any]]:
    """Documents of the type of this name as mappings, by iteration and without their arrays; empty if unknown."""
    kind = next((kind for kind, name in _DOC_TYPES.items() if name == doc_type), None)
    if kind is None:
        return []
    return [document.model_dump(mode="json") for document in documents(store, kind, campaign=campaign)]


def with_arrays(store: ReadableStore, found: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The documents with their arrays, which are asked for a hundred at a time: jobflow asks for each by itself."""
    while some := list(islice(found, _TOGETHER)):
        references = [d["output"].get("arrays") for d in some]  # an outcome has none
        wanted: dict[str, list[str]] = {}
        for reference in filter(None, references):
            wanted.setdefault(reference["store"], []).append(reference["blob_uuid"])
        data: dict[str, Any] = {}
        for name, uuids in wanted.items():
            blobs = additional_stores(store)[name]
            data |= {b["blob_uuid"]: b["data"] for b in blobs.query({"blob_uuid": {"$in": uuids}})}
        for document, reference in zip(some, references, strict=True):
            if reference is None:
                yield document
                continue
            if reference["blob_uuid"] not in data:
                raise StoreError(
                    "the arrays of a document are missing",
                    where=f"{store.name}, uuid {document['uuid']}",
                    hint="copy the campaign from where it is whole, with `magflow db move`",
                )
            yield document | {"output": document["output"] | {"arrays": data[reference["blob_uuid"]]}}


def _of(kind: type[CampaignDocument], campaign: str | None) -> dict[str, Any]:
    mine = {} if campaign is None else {"output.campaign": campaign}
    return mine | {"output.doc_type": _DOC_TYPES[kind]}


def _below_output(criteria: Mapping[str, Any]) -> dict[str, Any]:
    """The filter with ``output.`` before every field, logical operators descended into."""
    below: dict[str, Any] = {}
    for key, value in criteria.items():
        if key in ("$and", "$or", "$nor"):
            below[key] = [_below_output(part) for part in value]
        else:
            below[f"output.{key}"] = value
    return below


def candidates(store: ReadableStore, **kw: Any) -> list[CandidatesDoc]:
    """What every exploration offered."""
    return list(documents(store, CandidatesDoc, **kw))


def selections(store: ReadableStore, **kw: Any) -> list[SelectionDoc]:
    """Every selection."""
    return list(documents(store, SelectionDoc, **kw))


def labels(store: ReadableStore, **kw: Any) -> list[LabelDoc]:
    """Every label, finished or failed."""
    return list(documents(store, LabelDoc, **kw))


_SUMMED = ("label_id", "purpose", "state", "failure", "core_hours", "cpu_seconds", FORMAT)


def label_summaries(store: ReadableStore, campaign: str | None = None) -> list[dict[str, Any]]:
    """label_id, purpose, state, failure, core_hours and cpu_seconds of every label: all a status needs, quickly."""
    wanted = _of(LabelDoc, campaign)
    found = values(store, wanted, [f"output.{name}" for name in _SUMMED])
    rows = [dict(zip(_SUMMED, row, strict=True)) for row in found]
    known = [None, *range(1, LabelDoc.layout.number + 1)]
    if any(row.pop(FORMAT) not in known for row in rows):
        for document in store.docs_store.query(wanted | {f"output.{FORMAT}": {"$nin": known}}, limit=1):
            LabelDoc.present(document["output"])  # says who wrote it
    return [row | {"purpose": Purpose(row["purpose"] or Purpose.CAMPAIGN)} for row in rows]


def values(store: ReadableStore, criteria: Mapping[str, Any], fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The values at `fields` of each task document under a Mongo filter, None where one is missing; in no order."""
    if isinstance(store.docs_store, DocumentTable):
        yield from store.docs_store.values(dict(criteria), fields)
        return
    for document in store.docs_store.query(dict(criteria), properties=list(fields)):
        yield tuple(pick(document, field) for field in fields)


def present(output: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stored document of any kind, in the present format, arrays as they are.

    Raises
    ------
    NewerFormatError
        If a newer magflow wrote it, in a format this one does not know.
    """
    kind = next((k for k in _KINDS if output.get("doc_type") in get_args(k.model_fields["doc_type"].annotation)), None)
    return dict(output) if kind is None else kind.present(output)


def batches(store: ReadableStore, **kw: Any) -> list[BatchDoc]:
    """Every gathered batch."""
    return list(documents(store, BatchDoc, **kw))


def models(store: ReadableStore, **kw: Any) -> list[ModelDoc]:
    """Every trained member, by iteration and member."""
    return list(documents(store, ModelDoc, **({"sort": {"iteration": 1, "member": 1}} | kw)))


def transfers(store: ReadableStore, **kw: Any) -> list[TransferDoc]:
    """Every iteration of a transfer."""
    return list(documents(store, TransferDoc, **kw))


def iterations(store: ReadableStore, **kw: Any) -> list[IterationDoc]:
    """Every assessed iteration."""
    return list(documents(store, IterationDoc, **kw))


def measurements(store: ReadableStore, **kw: Any) -> list[MeasurementDoc]:
    """What was measured on finished ensembles."""
    return list(documents(store, MeasurementDoc, **kw))


def force_constants(store: ReadableStore, **kw: Any) -> list[ForceConstantsDoc]:
    """Force constants of crystals, and why there are none of others."""
    return list(documents(store, ForceConstantsDoc, **kw))


def tuning(store: ReadableStore, campaign: str | None = None) -> TuningDoc | None:
    """What force constants did to the ensemble of a campaign; the latest if it was asked again."""
    found = sorted(documents(store, TuningDoc, campaign=campaign), key=lambda d: (d.iteration, d.created_at))
    return found[-1] if found else None


def outcome(store: ReadableStore, campaign: str | None = None) -> OutcomeDoc | None:
    """The end of the campaign, or None while it goes on; the latest if it was continued."""
    found = sorted(documents(store, OutcomeDoc, campaign=campaign), key=lambda d: (d.iteration, d.created_at))
    return found[-1] if found else None


def doubted(store: ReadableStore, campaign: str | None = None) -> set[str]:
    """Ids of labels that were found suspect only beside their whole batch, and that nothing has confirmed since."""
    batches = documents(store, BatchDoc, {"suspects": {"$ne": 0}}, campaign=campaign)
    suspect = {label for batch in batches for label, kind in batch.failed.items() if kind == FailureKind.SUSPECT}
    if not suspect:
        return suspect
    confirmed = documents(store, BatchDoc, {"label_ids": {"$in": sorted(suspect)}}, campaign=campaign)
    return suspect - {label for batch in confirmed for label in batch.label_ids}


def latest_models(
    store: ReadableStore, campaign: str | None = None, *, arrays: bool = True, untuned: bool = False
) -> list[ModelDoc]:
    """The members of the newest complete ensemble.

    Parameters
    ----------
    untuned
        As they were before they were shown force constants, where they were.

    Raises
    ------
    InputError
        If no ensemble has been trained yet.
    """
    by_iteration: dict[int, list[ModelDoc]] = {}
    for model in models(store, campaign=campaign):
        by_iteration.setdefault(model.iteration, []).append(model)
    size = max((len(m) for m in by_iteration.values()), default=0)
    complete = [i for i, m in by_iteration.items() if len(m) == size]
    if not complete:
        raise InputError("no ensemble has been trained yet", hint="see `magflow status`")
    ended = outcome(store, campaign)
    if ended is not None and ended.tuned and ended.iteration == max(complete) and not untuned:
        found = store.docs_store.query({"uuid": {"$in": ended.models}})
        tuned = with_arrays(store, found) if arrays else found
        return sorted((ModelDoc(**d["output"]) for d in tuned), key=lambda d: d.member)
    return models(store, criteria={"iteration": max(complete)}, campaign=campaign, arrays=arrays)
