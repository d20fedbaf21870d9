"""Databases of one test, on the wire double or a real server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """URI of a new database on `server`, which is dropped in the end."""
    from pymongo import MongoClient

    uri = urlsplit(server)._replace(path=f"/magflow_test_{uuid.uuid4().hex[:12]}").geturl()
    yield uri
    with MongoClient(uri) as client:
        client.drop_database(urlsplit(uri).path[1:])
