"""The job store of a campaign in MongoDB: documents in a collection, arrays in GridFS beside it.

A database that goes away is waited for: every read and write is tried again, with growing pauses, until
`patience` has passed. Writes are upserts by (uuid, index), which a unique index guards, so that one whose
acknowledgement was lost may be repeated. Arrays are written before the document that refers to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobflow import JobStore
from jobflow.utils.find import find_key
from maggma.core import Store
from maggma.stores import MongoStore
from pydash import get
from pymongo.collection import Collection

from magflow.stores.address import MongoAddress
from magflow.stores.gridfs import Blobs
from magflow.stores.layout import DATA
from magflow.stores.patience import patiently, read_patiently
from magflow.stores.results import kept_until_stored


class Documents(MongoStore):
    """The collection of documents at an address, or with a `suffix` another one beside it."""

    def __init__(self, address: MongoAddress, suffix: str = "", **kwargs: Any) -> None:
        self.address, self.suffix = address, suffix
        super().__init__("", address.collection + suffix, **kwargs)

    @property
    def name(self) -> str:
        """For people, without secrets."""
        return str(self.address)

    @property
    def collection(self) -> Collection[dict[str, Any]]:
        """The collection itself, for what maggma has no call for; connect the store first."""
        found: Collection[dict[str, Any]] = self._collection
        return found

    def connect(self, force_reset: bool = False) -> None:
        """Take up the collection; nothing is sent yet."""
        if self._coll is None or force_reset:
            client, self.database = self.address.connect()
            self._coll = client[self.database][self.collection_name]  # type: ignore[assignment]  # maggma starts it as None

    def close(self) -> None:
        """Let go of the collection; the client is shared."""
        self._coll = None

    def update(self, docs: list[dict[str, Any]] | dict[str, Any], key: list[str] | str | None = None) -> None:
        """As in maggma, and patiently."""
        write = super().update
        patiently(lambda: write(docs, key), self.address.patience, self.address)

    def remove_docs(self, criteria: dict[str, Any]) -> None:
        """As in maggma, and patiently."""
        remove = super().remove_docs
        patiently(lambda: remove(criteria), self.address.patience, self.address)

    def count(self, criteria: dict[str, Any] | None = None, hint: dict[str, Any] | None = None) -> int:
        """As in maggma, and patiently."""
        counted = super().count
        return patiently(lambda: counted(criteria, hint), self.address.patience, self.address)

    def query(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """As in maggma, and patiently; documents come without ``_id``, as from the embedded store."""
        begin = super().query
        return read_patiently(lambda: begin(*args, **kwargs), self.address.patience, self.address)


class MongoJobStore(JobStore):
    """The job store at a :class:`MongoAddress`; it serialises to the address, and so without secrets."""

    docs_store: Documents
    additional_stores: dict[str, Store]

    def __init__(self, address: MongoAddress) -> None:
        self.address = address
        arrays = Blobs(address, f"{address.collection}_blobs")
        super().__init__(Documents(address), additional_stores={DATA: arrays})

    @property
    def name(self) -> str:
        """For people, without secrets."""
        return str(self.address)

    def update(self, docs: Any, key: Any = None, save: Any = None) -> None:
        """As :meth:`jobflow.JobStore.update`, with the arrays first.

        While it lasts, the result is also in the run directory (:mod:`magflow.stores.results`). The arrays of an
        earlier run of the same job go when the new document is there.
        """
        entries = docs if isinstance(docs, list) else [docs]
        with kept_until_stored(entries, key, save):
            staged = _Staged()
            front = JobStore.__new__(JobStore)  # this store, but for where the documents go
            vars(front).update(vars(self), docs_store=staged)
            front.update(entries, key=key, save=save)
            self.docs_store.update(staged.documents, key=staged.key)
            for document in staged.documents:
                self._remove_older_arrays(document)

    def _remove_older_arrays(self, document: dict[Any, Any]) -> None:
        mine = [get(document, [*place, "blob_uuid"]) for place in find_key(document, "blob_uuid")]
        job = {"job_uuid": document["uuid"], "job_index": document["index"]}
        for store in self.additional_stores.values():
            store.remove_docs(job | {"blob_uuid": {"$nin": mine}})


class _Staged:
    """Takes the documents that jobflow would write first."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.key: Any = None

    def update(self, docs: list[dict[str, Any]], key: Any = None) -> None:
        self.documents, self.key = docs, key
