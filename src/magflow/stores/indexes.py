"""The indexes of a job store: jobflow itself creates none."""

from __future__ import annotations

from typing import Any

from jobflow import JobStore
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError

from magflow.errors import StoreError
from magflow.stores.layout import BLOB_FIELDS, DATA, DOCUMENT_FIELDS, additional_stores
from magflow.stores.mongo import MongoJobStore
from magflow.stores.patience import explain

Keys = tuple[tuple[str, int], ...]

_IDENTITY: Keys = (("uuid", 1), ("index", 1))
_ONE_KIND: Keys = (("output.campaign", 1), ("output.doc_type", 1), ("output.iteration", 1))
_DOCUMENTS: dict[Keys, bool] = {
    _IDENTITY: True,
    _ONE_KIND: False,
    **{((field, 1),): False for field in DOCUMENT_FIELDS if field not in ("uuid", "index", "output.campaign")},
}
_FILES: dict[Keys, bool] = {
    (("metadata.blob_uuid", 1),): False,
    (("metadata.job_uuid", 1), ("metadata.job_index", 1)): False,
}


def ensure_indexes(store: JobStore) -> None:
    """Index the fields that magflow queries.

    Raises
    ------
    StoreError
        If an index cannot be created, or one is there that does not keep (uuid, index) unique.
    """
    if isinstance(store, MongoJobStore):
        for collection, missing in missing_indexes(store):
            for keys, unique in missing.items():
                _create(store, collection, keys, unique)
        return
    for field in DOCUMENT_FIELDS:
        store.docs_store.ensure_index(field)
    for blob_store in additional_stores(store).values():
        for field in BLOB_FIELDS:
            blob_store.ensure_index(field)


def missing_indexes(store: MongoJobStore) -> list[tuple[Collection[dict[str, Any]], dict[Keys, bool]]]:
    """What :func:`ensure_indexes` would create: per collection, keys and whether they are unique.

    Raises
    ------
    StoreError
        If the server cannot be read, or (uuid, index) is indexed without being unique.
    """
    blobs: Any = store.additional_stores[DATA]
    found = []
    for collection, wanted in ((store.docs_store.collection, _DOCUMENTS), (blobs.files, _FILES)):
        try:
            present = {tuple(i["key"]): bool(i.get("unique")) for i in collection.index_information().values()}
        except PyMongoError as error:
            raise explain(error, store.name) from error
        if present.get(_IDENTITY) is False:
            raise StoreError(
                "the index on uuid and index does not keep them unique",
                where=store.name,
                hint="drop that index; it is created again, unique",
            )
        found.append((collection, {k: unique for k, unique in wanted.items() if k not in present}))
    return found


def _create(store: MongoJobStore, collection: Collection[dict[str, Any]], keys: Keys, unique: bool) -> None:
    options: dict[str, Any] = {"unique": True} if unique else {}
    try:
        collection.create_index(list(keys), **options)
    except OperationFailure as error:
        if error.code != 11000:
            raise explain(error, store.name) from error
        raise StoreError(
            "a job has two documents, so that its uuid and index cannot be kept unique",
            where=store.name,
            seen=str(error),
            hint="use another collection, or remove one of the documents",
        ) from error
    except PyMongoError as error:
        raise explain(error, store.name) from error
