"""A quicker search for the wire double: a document is looked at closely only if its plain fields can match.

mongomock-ng applies its whole query language to every document of a collection. Most queries name a field that has to
equal a value or be one of several; comparing those first leaves few documents to the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bson import ObjectId
from mongomock_ng.aggregate import process_pipeline
from mongomock_ng.collection import Collection
from mongomock_ng.filtering import filter_applies
from mongomock_ng.helpers import get_value_by_dot

_PLAIN = (str, int, float, bytes, ObjectId)
_CLASSES = frozenset(_PLAIN)
_ABSENT = object()
_compare_with_all = Collection._ensure_uniques


def install() -> None:
    """Let mongomock-ng search this way, in this process."""
    Collection._iter_documents = _iter_documents
    Collection.aggregate = _aggregate
    Collection._ensure_uniques = _ensure_uniques


def _iter_documents(self: Collection, filter: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if self._store.is_empty:  # this also removes what has expired
        filter_applies(filter, {})  # complains of a filter that is wrong
    documents, identity = self._store._documents, filter.get("_id")
    if isinstance(identity, _PLAIN):  # the key of mongomock's own dictionary
        candidates = [documents[identity]] if identity in documents else []
    else:
        candidates = list(documents.values())
    for field, wanted in filter.items():
        candidates = sift(candidates, field, wanted)
    return (document for document in candidates if filter_applies(filter, document))


def _aggregate(self: Collection, pipeline: list[dict[str, Any]], session: Any = None, **_: Any) -> Any:
    """As mongomock-ng, which copies the whole collection first; here only what a first ``$match`` lets through."""
    first = pipeline[0].get("$match") if pipeline else None
    return process_pipeline(list(self.find(first)), self.database, pipeline, session)


def _ensure_uniques(self: Collection, new: dict[str, Any]) -> None:
    """As mongomock-ng, which compares a new document with all others; here only if one of them may be its double."""
    documents = list(self._store._documents.values())
    for index in self._store.indexes.values():
        if not index.get("unique"):
            continue
        field = index["key"][0][0]
        value = get_value_by_dot(new, field)
        same = sift(documents, field, value) if isinstance(value, _PLAIN) else documents
        if any(d["_id"] != new.get("_id") for d in same):
            _compare_with_all(self, new)
            return


def sift(documents: list[dict[str, Any]], field: str, wanted: Any) -> list[dict[str, Any]]:
    """Those of `documents` in which `field` may match `wanted`: all of them if that is not quickly told."""
    values = wanted["$in"] if isinstance(wanted, dict) and list(wanted) == ["$in"] else [wanted]
    if field.startswith("$") or not all(isinstance(value, _PLAIN) for value in values):
        return documents
    known, path = frozenset(values), field.split(".")
    if len(path) > 1:
        return [d for d in documents if _may_hold(d, path, known)]
    return [
        d
        for d in documents
        if (value in known if (value := d.get(field)).__class__ in _CLASSES else _may_hold(d, path, known))
    ]


def _may_hold(document: Any, path: list[str], known: frozenset[Any]) -> bool:
    for part in path:
        if isinstance(document, list):  # a path through an array: left to mongomock
            return True
        document = document.get(part, _ABSENT) if isinstance(document, dict) else _ABSENT
    if isinstance(document, list):
        return any(not isinstance(item, _PLAIN) or item in known for item in document)
    return document is not _ABSENT and (not isinstance(document, _PLAIN) or document in known)
