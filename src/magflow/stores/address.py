"""Where in MongoDB a campaign is kept, and the client of this process for it.

Who may connect is a matter of the machine, not of the campaign: the address in a campaign file carries no password,
and an address without a URI takes the one of the settings (``MAGFLOW_MONGO_URI`` or ``~/.magflow.yaml``) whenever a
connection is made. A serialised store therefore holds no secret either.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from monty.json import MSONable
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from magflow.core.credentials import remember
from magflow.core.masking import mask
from magflow.errors import InputError
from magflow.settings import load_settings
from magflow.stores.patience import explain

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
        remember(uri)
        where = "store.mongodb.uri" if self.uri else "MAGFLOW_MONGO_URI or mongo_uri of the settings"
        expected = "mongodb://HOST[:PORT][/DATABASE][?OPTIONS], with USER:PASSWORD@ before the host"
        try:
            parts = urlsplit(uri)
            parts.port  # noqa: B018 - raises if it is no number
        except ValueError:  # its text may quote the password
            parts = urlsplit("")
        if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc:
            hint = "characters such as / @ : in user and password are written %2F %40 %3A"
            raise InputError("this is no MongoDB URI", where=where, seen=mask(uri), expected=expected, hint=hint)
        if "@" in parts.path or not uri.isprintable() or " " in uri:
            message = "user and password in a URI are percent-encoded"
            raise InputError(message, where=where, expected=expected, hint="write / as %2F, @ as %40, : as %3A")
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
