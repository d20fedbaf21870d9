"""Arrays in GridFS, in the form that maggma's GridFSStore writes, read a hundred at a time."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import gridfs
from maggma.core import Sort
from maggma.stores import GridFSStore, MongoStore
from pymongo.collection import Collection

from magflow.errors import StoreError
from magflow.stores.address import MongoAddress
from magflow.stores.patience import patiently
from magflow.stores.projection import parse, project

_TOGETHER = 100  # files read with one query


class Blobs(GridFSStore):
    """A GridFS bucket at an address. Fields other than the key and `searchable_fields` cannot be searched by."""

    def __init__(self, address: MongoAddress, collection_name: str, **kwargs: Any) -> None:
        self.address = address
        super().__init__("", collection_name, compression=True, **{"key": "blob_uuid", **kwargs})

    @property
    def name(self) -> str:
        """For people, without secrets."""
        return f"gridfs of {self.address}"

    @property
    def files(self) -> Collection[dict[str, Any]]:
        """The collection of the bucket's files, for what maggma has no call for; connect the store first."""
        return self._files_collection

    def connect(self, force_reset: bool = False) -> None:
        """Take up the bucket; nothing is sent yet."""
        if self._coll is not None and not force_reset:
            return
        client, self.database = self.address.connect()
        database = client[self.database]
        self._coll = gridfs.GridFS(database, self.collection_name)
        self._files_collection = database[f"{self.collection_name}.files"]
        self._chunks_collection = database[f"{self.collection_name}.chunks"]
        files = MongoStore.from_collection(self._files_collection)
        files.last_updated_field, files.key = f"metadata.{self.last_updated_field}", self.key
        self._fs = files

    def close(self) -> None:
        """Let go of the bucket; the client is shared."""
        self._coll = self._fs = None

    def update(
        self,
        docs: list[dict[str, Any]] | dict[str, Any],
        key: list[str] | str | None = None,
        additional_metadata: str | list[str] | None = None,
    ) -> None:
        """As in maggma, and patiently: a file that was written twice is one file in the end."""
        write = super().update
        for document in docs if isinstance(docs, list) else [docs]:
            patiently(partial(write, document, key, additional_metadata), self.address.patience, self.address)

    def remove_docs(self, criteria: dict[str, Any]) -> None:
        """As in maggma, and patiently."""
        remove = super().remove_docs
        patiently(lambda: remove(criteria), self.address.patience, self.address)

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """As in maggma, and patiently."""
        counted = super().count
        return patiently(lambda: counted(criteria or {}), self.address.patience, self.address)

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Blobs in the order of their files; those of one key in the order of writing, so that the newest is last.

        Raises
        ------
        StoreError
            If a file is incomplete.
        """
        order = {k: v.value if isinstance(v, Sort) else v for k, v in (sort or {}).items()}
        found = self.files.find(
            self.transform_criteria(criteria or {}),
            skip=skip,
            limit=limit,
            sort=list(self.transform_criteria(order).items()) or [("uploadDate", 1)],
        )
        files = iter(patiently(lambda: list(found.clone()), self.address.patience, self.address))
        wanted = parse(properties)
        while some := list(islice(files, _TOGETHER)):
            for blob in patiently(partial(self._read, some), self.address.patience, self.address):
                yield blob if wanted is None else project(blob, *wanted)

    def _read(self, files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        parts: dict[Any, list[tuple[int, bytes]]] = defaultdict(list)
        for chunk in self._chunks_collection.find({"files_id": {"$in": [f["_id"] for f in files]}}):
            parts[chunk["files_id"]].append((chunk["n"], chunk["data"]))
        return [self._decode(f, b"".join(data for _, data in sorted(parts[f["_id"]]))) for f in files]

    def _decode(self, file: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        where = f"{self.name}, file {file['_id']}"
        if len(data) != file["length"]:
            seen = f"{len(data)} of {file['length']} bytes"
            raise StoreError("an array blob is damaged", where=where, seen=seen)
        try:
            if file.get("metadata", {}).get("compression") == "zlib":
                data = zlib.decompress(data)
            return dict(json.loads(data))
        except (zlib.error, ValueError, TypeError) as error:
            raise StoreError("an array blob is damaged", where=where, seen=str(error)) from error
