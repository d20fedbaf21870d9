"""A quicker search for the wire double: a document is looked at closely only if its plain fields can match.

mongomock-ng applies its whole query language to every document of a collection. Most queries name a field that has to
equal a value or be one of several; comparing those first leaves few documents to the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mongomock_ng.collection import Collection
from mongomock_ng.filtering import filter_applies

Test = Callable[[dict[str, Any]], bool]

_PLAIN = (str, int, float, bytes)
_ABSENT = object()


def install() -> None:
    """Let mongomock-ng search this way, in this process."""
    Collection._iter_documents = _iter_documents


def _iter_documents(self: Collection, filter: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if self._store.is_empty:
        filter_applies(filter, {})  # complains of a filter that is wrong
    tests = [test for field, wanted in filter.items() if (test := quick_test(field, wanted)) is not None]
    candidates = list(self._store.documents)
    for test in tests:
        candidates = [document for document in candidates if test(document)]
    return (document for document in candidates if filter_applies(filter, document))


def quick_test(field: str, wanted: Any) -> Test | None:
    """A test that every document passes in which `field` matches `wanted`; None if there is no quick one."""
    values = wanted["$in"] if isinstance(wanted, dict) and list(wanted) == ["$in"] else [wanted]
    if field.startswith("$") or not all(isinstance(value, _PLAIN) for value in values):
        return None
    known, path = frozenset(values), field.split(".")

    def test(document: Any) -> bool:
        for part in path:
            if isinstance(document, list):  # a path through an array: left to mongomock
                return True
            document = document.get(part, _ABSENT) if isinstance(document, dict) else _ABSENT
        if isinstance(document, list):
            return any(not isinstance(item, _PLAIN) or item in known for item in document)
        return document is not _ABSENT and (not isinstance(document, _PLAIN) or document in known)

    return test
