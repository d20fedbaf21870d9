"""What errors of a MongoDB server mean, and waiting for one that has gone away."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from magflow.core.masking import mask
from magflow.errors import InputError, MagflowError, StoreError, StoreUnusableError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PAUSE_SHORTEST, _PAUSE_LONGEST = 0.1, 10.0  # seconds
_TLS = ("ssl", "tls", "certificate")
_AUTHENTICATION_FAILED, _UNAUTHORIZED, _DUPLICATE = 18, 13, 11000
_TOO_LARGE = {10334, 17419, 17420}  # the document itself, or after an update, or after an upsert
_SETTING = "look at MAGFLOW_MONGO_URI or mongo_uri in ~/.magflow.yaml"


class Patience:
    """Waits, with growing pauses, for a server that is away.

    Parameters
    ----------
    seconds
        Time that is waited in all.
    where
        The address, for messages; without secrets.
    """

    def __init__(self, seconds: float, where: object) -> None:
        self.where = where
        self._end = time.monotonic() + seconds
        self._pause = _PAUSE_SHORTEST

    def wait(self, error: PyMongoError) -> None:
        """Return after a while if what failed may be tried again.

        Raises
        ------
        StoreError
            If waiting does not help, or no time is left.
        """
        if not passing(error) or time.monotonic() + self._pause > self._end:
            raise explain(error, str(self.where)) from error
        _log.warning("%s: %s; trying again in %.1f s", self.where, mask(str(error))[:200], self._pause)
        time.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311
        self._pause = min(2 * self._pause, _PAUSE_LONGEST)


def patiently(act: Callable[[], T], seconds: float, where: object) -> T:
    """What `act` returns, tried again while the server is away. `act` must do no harm when it is done twice."""
    patience = Patience(seconds, where)
    while True:
        try:
            return act()
        except PyMongoError as error:
            patience.wait(error)
        except (BSONError, OverflowError) as error:  # DocumentTooLarge is one
            raise explain(error, str(where)) from error


def read_patiently(
    begin: Callable[[], Iterator[dict[str, Any]]], seconds: float, where: object
) -> Iterator[dict[str, Any]]:
    """The documents that ``begin()`` finds, without their ``_id``.

    A reading that breaks off begins anew and passes over what it has given out.
    """
    patience, given = Patience(seconds, where), set()
    while True:
        try:
            for document in begin():
                identity = document.pop("_id")
                if identity not in given:
                    given.add(identity)
                    yield document
            return
        except PyMongoError as error:
            patience.wait(error)


def passing(error: PyMongoError) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, BulkWriteError):
        # two processes that insert the same key at once: the second try finds it and replaces it
        return _codes(error) == {_DUPLICATE}
    if isinstance(error, OperationFailure) and error.code in (_AUTHENTICATION_FAILED, _UNAUTHORIZED):
        return False
    return isinstance(error, AutoReconnect | ConnectionFailure | WTimeoutError | ExecutionTimeout | DuplicateKeyError)


def _codes(error: BulkWriteError) -> set[int]:
    return {e.get("code", 0) for e in (error.details or {}).get("writeErrors", [])}


def explain(error: Exception, where: str) -> MagflowError:
    """The error that says what `error` of pymongo means for the server at `where`."""
    text = mask(" ".join(str(error).split()))
    if isinstance(error, DocumentTooLarge) or (isinstance(error, BulkWriteError) and _codes(error) & _TOO_LARGE):
        return StoreError("a document is too large for MongoDB", where=where, seen=text, expected="at most 16 MB")
    if isinstance(error, BSONError | OverflowError):
        return StoreError("a document cannot be stored", where=where, seen=text)
    if isinstance(error, InvalidURI | ConfigurationError | ValueError):
        return InputError("the connection to MongoDB cannot be set up", where=where, seen=text, hint=_SETTING)
    if isinstance(error, OSError):
        return InputError("a file of the connection to MongoDB cannot be read", where=where, seen=text)
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        hint = f"{_SETTING}; a user of another database needs ?authSource=DATABASE"
        return StoreUnusableError("the server refuses the user or the password", where=where, seen=text, hint=hint)
    if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
        hint = "log in, or ask for the role readWrite on the database"
        return StoreUnusableError("the server does not permit this", where=where, seen=text, hint=hint)
    if isinstance(error, ConnectionFailure):
        if any(word in text.lower() for word in _TLS):
            hint = "the server and ?tls=true, tlsCAFile, tlsCertificateKeyFile have to agree"
            return StoreUnusableError("no secure connection to the server", where=where, seen=text, hint=hint)
        hint = "start the server, or look at address, port and firewall; what was finished is kept"
        return StoreUnusableError("the server does not answer", where=where, seen=text, hint=hint)
    return StoreError("the database refuses this", where=where, seen=text)
