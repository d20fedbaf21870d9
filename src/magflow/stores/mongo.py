"""The job store of a campaign in MongoDB: documents in a collection, arrays in GridFS beside it.

Who may connect is a matter of the machine, not of the campaign: the address in a campaign file carries no password,
and an address without a URI takes the one of the settings (``MAGFLOW_MONGO_URI`` or ``~/.magflow.yaml``) whenever a
connection is made. A serialised store therefore holds no secret either.

A database that goes away is waited for: every read and write is tried again, with growing pauses, until
`patience` has passed. Writes are upserts by (uuid, index), which a unique index guards, so that one whose
acknowledgement was lost may be repeated. Arrays are written before the document that refers to them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jobflow import JobStore
from jobflow.utils.find import find_key
from maggma.core import Store
from maggma.stores import MongoStore
from monty.json import MSONable
from pydash import get
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from magflow.core.masking import mask
from magflow.errors import InputError
from magflow.settings import load_settings
from magflow.stores.gridfs import Blobs
from magflow.stores.patience import explain, patiently, read_patiently
from magflow.stores.results import kept_until_stored

DATA = "data"
"""Name of the additional store that holds arrays."""
PATIENCE = 900.0
"""Seconds that a database which has gone away is waited for."""

_DEFAULTS = {
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 5000,
    "socketTimeoutMS": 60_000,  # a server that vanished without a word must not be waited for without end
    "w": "majority",
    "journal": True,
    "appname": "magflow",
}


@dataclass(frozen=True)
class MongoAddress(MSONable):
    """Where a campaign's documents are.

    Parameters
    ----------
    uri
        ``mongodb://`` or ``mongodb+srv://``, without password; None: the one of the settings, asked for at each
        connection.
    database
        None: the one the URI names, or ``magflow``.
    collection
        Of the documents; arrays are in the GridFS bucket ``<collection>_blobs``.
    options
        Of the connection, as pymongo names them: ``tls``, ``tlsCAFile``, ``tlsCertificateKeyFile``, ...
    patience
        Seconds that the database is waited for when it has gone away.
    """

    uri: str | None = None
    database: str | None = None
    collection: str = "magflow"
    options: Mapping[str, Any] = field(default_factory=dict)
    patience: float = PATIENCE

    def resolved(self) -> tuple[str, str]:
        """The URI to connect to, secrets included, and the name of the database.

        Raises
        ------
        InputError
            If there is no URI, or it is not one of MongoDB.
        """
        uri = self.uri or _uri_of_settings()
        parts = urlsplit(uri)
        if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc:
            raise InputError(
                "this is no MongoDB URI",
                where="store.mongodb.uri" if self.uri else "MAGFLOW_MONGO_URI or mongo_uri of the settings",
                seen=mask(uri),
                expected="mongodb://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?OPTIONS]",
            )
        return uri, self.database or parts.path.strip("/") or "magflow"

    def connect(self) -> tuple[MongoClient[dict[str, Any]], str]:
        """The client of this process for this address, and the name of the database; nothing is sent yet.

        Raises
        ------
        InputError
            If the URI or an option cannot be used.
        """
        uri, database = self.resolved()
        given = {key.lower() for key, _ in parse_qsl(urlsplit(uri).query)} | {key.lower() for key in self.options}
        options = {k: v for k, v in _DEFAULTS.items() if k.lower() not in given} | dict(self.options)
        try:
            return _client(uri, tuple(sorted(options.items())), os.getpid()), database
        except (PyMongoError, OSError, ValueError) as error:
            raise explain(error, str(self)) from error

    def __str__(self) -> str:
        """``mongodb://HOST/DATABASE.COLLECTION``, for people."""
        uri, database = self.resolved()
        return f"mongodb://{urlsplit(uri).netloc.rpartition('@')[2]}/{database}.{self.collection}"


def _uri_of_settings() -> str:
    secret = load_settings().mongo_uri
    if secret is None:
        raise InputError(
            "the campaign is to be kept in MongoDB, and no server is named",
            where="store.mongodb.uri",
            expected="mongodb://HOST:PORT/DATABASE",
            hint="set MAGFLOW_MONGO_URI, or mongo_uri in ~/.magflow.yaml",
        )
    return secret.get_secret_value()


@lru_cache(maxsize=16)
def _client(uri: str, options: tuple[tuple[str, Any], ...], process: int) -> MongoClient[dict[str, Any]]:
    """One client per process and address: it holds the pool of connections, and does not survive a fork."""
    return MongoClient(uri, **dict(options))


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
