"""Stores as people name them on a command line: a directory, or a MongoDB server."""

from __future__ import annotations

from pathlib import Path

from jobflow import JobStore

from magflow.core.credentials import remember
from magflow.core.masking import mask
from magflow.errors import InputError
from magflow.stores.indexes import ensure_indexes
from magflow.stores.jobstore import campaign_store, job_store_from_settings
from magflow.stores.layout import DATABASE

MONGODB = "mongodb"


def open_place(place: str, collection: str, *, create: bool) -> JobStore:
    """The connected store at `place`.

    Parameters
    ----------
    place
        A directory with an embedded store; ``mongodb`` for the server of the settings; or a MongoDB URI without
        password, since others can read command lines.
    collection
        Of documents in MongoDB.
    create
        Make the directory and its store if they are not there.

    Raises
    ------
    InputError
        If there is no such store, or the URI holds a password.
    StoreError
        If it cannot be used.
    """
    if place == MONGODB or "://" in place:
        remember(place)
        if mask(place) != place:
            raise InputError(
                "a password does not belong on a command line, which others can read",
                where=mask(place),
                hint="set MAGFLOW_MONGO_URI, or mongo_uri in ~/.magflow.yaml, and write `mongodb`",
            )
        uri = None if place == MONGODB else place
        return job_store_from_settings({"mongodb": {"uri": uri, "collection": collection}}, ".")
    directory = Path(place)
    if create:
        directory.mkdir(parents=True, exist_ok=True)
    elif not (directory / DATABASE).is_file():
        expected = f"a directory that holds {DATABASE}, mongodb, or mongodb://HOST/DATABASE"
        raise InputError("there is no store here", where=place, expected=expected)
    store = campaign_store(directory)
    store.connect()
    ensure_indexes(store)
    return store
