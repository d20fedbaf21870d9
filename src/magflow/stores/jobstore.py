"""The jobflow JobStore of a campaign: embedded in ``DIR/campaign.db``, in MongoDB, or any maggma stores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobflow import JobStore
from maggma.core import Store
from monty.json import MontyDecoder, MSONable
from pymongo.errors import PyMongoError

from magflow.core.moved import MOVED, renamed, where_now
from magflow.errors import InputError
from magflow.stores.address import MongoAddress
from magflow.stores.embedded import embedded_tables
from magflow.stores.indexes import ensure_indexes
from magflow.stores.layout import DATA, additional_stores
from magflow.stores.mongo import MongoJobStore
from magflow.stores.patience import explain
from magflow.stores.sqlite import SQLiteStore
from magflow.stores.tally import keep_sums


class EmbeddedJobStore(JobStore):
    """A JobStore whose stores lie in one SQLite file.

    A document and its blobs are written in one transaction, and the blobs of a job that runs again replace those
    of its earlier run: no reader ever meets a document whose arrays are missing, and none is left behind.
    """

    docs_store: SQLiteStore
    additional_stores: dict[str, Store]

    def connect(self, force_reset: bool = False) -> None:
        """As :meth:`jobflow.JobStore.connect`; from now on the labels are counted as they come."""
        super().connect(force_reset)
        keep_sums(self.docs_store)

    def update(self, docs: Any, key: Any = None, save: Any = None) -> None:
        """As :meth:`jobflow.JobStore.update`, all or nothing."""
        entries = docs if isinstance(docs, list) else [docs]
        with self.docs_store.transaction():
            for entry in entries:
                for blobs in self.additional_stores.values():
                    blobs.remove_docs({"job_uuid": _field(entry, "uuid"), "job_index": _field(entry, "index")})
            super().update(docs, key=key, save=save)


def campaign_store(directory: str | Path, synchronous: str = "FULL") -> EmbeddedJobStore:
    """The embedded store of the campaign in `directory` (which must exist); connect it before use."""
    docs, data = embedded_tables(SQLiteStore, directory, synchronous)
    return EmbeddedJobStore(docs, additional_stores={DATA: data})


def job_store_from_settings(spec: Mapping[str, Any] | None, directory: str | Path) -> JobStore:
    """The JobStore that settings describe, connected and indexed; without a description, the embedded one.

    Parameters
    ----------
    spec
        ``{"mongodb": {...}}`` with the fields of :class:`~magflow.stores.address.MongoAddress`, or
        ``{"docs_store": {"type": ..., ...}, "additional_stores": {"data": {...}}}`` as in jobflow's own
        ``jobflow.yaml``, or the serialised form of a JobStore (with ``@module`` and ``@class``); None for the
        embedded store.
    directory
        Of the campaign.

    Raises
    ------
    InputError
        If the description cannot be read or lacks the additional store ``data``.
    StoreError
        If the embedded store cannot be opened, or the database does not answer or refuses.
    """
    store = campaign_store(directory) if spec is None else job_store_from_description(spec)
    if DATA not in additional_stores(store):
        raise InputError(
            "arrays need a store of their own",
            where="job store",
            seen=f"additional stores: {', '.join(additional_stores(store)) or 'none'}",
            expected=f"an additional store named {DATA!r}",
            hint=f"add `additional_stores: {{{DATA}: ...}}` to the job store in the settings",
        )
    store.connect()
    if isinstance(store, MongoJobStore):
        require_connection(store)
    ensure_indexes(store)
    return store


def require_connection(store: MongoJobStore) -> str:
    """Ask the server for its version and for one document.

    Returns
    -------
    str
        What answered, for people.

    Raises
    ------
    StoreError
        If it does not answer, or refuses user, password or reading.
    """
    collection = store.docs_store.collection
    try:
        version = collection.database.client.server_info().get("version", "of an unknown version")
        collection.find_one({}, {"_id": 1})
    except PyMongoError as error:
        raise explain(error, store.name) from error
    return f"MongoDB {version}, {store.name}"


def job_store_from_description(spec: Mapping[str, Any]) -> JobStore:
    """The JobStore of :func:`job_store_from_settings`, not connected.

    Raises
    ------
    InputError
        If the description cannot be read.
    """
    if "mongodb" in spec:
        return MongoJobStore(MongoAddress(**spec["mongodb"]))
    try:
        build = MontyDecoder().process_decoded if "@class" in spec else JobStore.from_dict_spec
        store = build(renamed(spec))
    except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        raise InputError(
            "this job store cannot be built",
            where="job store",
            seen=f"{type(error).__name__}: {error}",
            expected="`docs_store` and `additional_stores`, each with the `type` of a maggma store and its arguments",
        ) from error
    if not isinstance(store, JobStore):
        raise InputError("this is no job store", where="job store", seen=type(store).__name__, expected="a JobStore")
    return store


def _tell_monty_what_has_moved() -> None:
    """Jobflow leaves the decoding of what references point to to monty: name the classes that have left a module."""
    for module, _, name in (old.partition(":") for old in MOVED):
        if name:
            new_module, new_name = where_now(module, name)
            MSONable.REDIRECT.setdefault(module, {})[name] = {"@module": new_module, "@class": new_name}


_tell_monty_what_has_moved()


def _field(entry: Any, name: str) -> Any:
    return entry[name] if isinstance(entry, Mapping) else getattr(entry, name)
