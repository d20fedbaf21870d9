"""The database commands of the wire double: each is answered by mongomock-ng, in this process.

One function per command, named as the command in snake case, called with the database's name and the command's
document as pymongo sends it (https://www.mongodb.com/docs/manual/reference/command/). A command that is not here is
refused with the code that MongoDB gives unknown commands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import bson
import mongomock_ng
from bson.raw_bson import RawBSONDocument
from mongomock_ng import DuplicateKeyError
from pymongo import ReturnDocument

from doubles import mongo_search

Document = dict[str, Any]

MAX_DOCUMENT = 16 * 1024 * 1024
"""Bytes of a document, and of a batch of a cursor, as in MongoDB."""
FIRST_BATCH = 101
"""Documents of a first batch when the client asks for no number, as in MongoDB."""
VERSION = (7, 0, 0, 0)


class CommandError(Exception):
    """A command refused as MongoDB refuses it."""

    def __init__(self, code: int, name: str, text: str) -> None:
        self.reply: Document = {"ok": 0.0, "errmsg": text, "code": code, "codeName": name}
        super().__init__(text)


class Database:
    """All databases of the double, its open cursors, and the commands on them."""

    def __init__(self) -> None:
        mongo_search.install()
        self.client = mongomock_ng.MongoClient()
        self.cursors: dict[int, tuple[str, Iterator[RawBSONDocument]]] = {}
        self._ids = count(1000)
        self.counts: dict[str, int] = {}

    def run(self, name: str, command: Document) -> Document:
        """The reply to one command of the database `name`; an error is a reply too."""
        verb = next(iter(command))
        self.counts[verb] = self.counts.get(verb, 0) + 1
        method: Callable[[str, Document], Document] | None = getattr(self, _method(verb), None)
        try:
            if method is None:
                raise CommandError(59, "CommandNotFound", f"no such command: '{verb}'")
            return {**method(name, command), "ok": 1.0}
        except CommandError as error:
            return error.reply
        except DuplicateKeyError as error:
            return {"ok": 0.0, "code": 11000, "codeName": "DuplicateKey", **_duplicate(error)}
        except Exception as error:  # what mongomock cannot do must reach the client as an error, not end the server
            code = getattr(error, "code", None) or 2
            return {"ok": 0.0, "errmsg": f"{type(error).__name__}: {error}", "code": code, "codeName": "BadValue"}

    def _collection(self, name: str, command: Document) -> Any:
        return self.client[name][command[next(iter(command))]]

    # ---- the server itself

    def do_hello(self, name: str, command: Document) -> Document:
        return {
            "helloOk": True,
            "ismaster": True,
            "isWritablePrimary": True,
            "maxBsonObjectSize": MAX_DOCUMENT,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "localTime": datetime.now(UTC),
            "logicalSessionTimeoutMinutes": 30,
            "connectionId": 1,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": False,
        }

    do_ismaster = do_hello

    def do_ping(self, name: str, command: Document) -> Document:
        return {}

    do_end_sessions = do_kill_sessions = do_commit_transaction = do_abort_transaction = do_ping

    def do_start_session(self, name: str, command: Document) -> Document:
        return {"id": {"id": bson.Binary(os.urandom(16), 4)}, "timeoutMinutes": 30}

    def do_build_info(self, name: str, command: Document) -> Document:
        text = ".".join(map(str, VERSION[:3]))
        return {"version": text, "versionArray": list(VERSION), "bits": 64, "maxBsonObjectSize": MAX_DOCUMENT}

    do_buildinfo = do_build_info

    def do_sasl_start(self, name: str, command: Document) -> Document:
        """Every user and password is a wrong one: this server knows none."""
        raise CommandError(18, "AuthenticationFailed", "Authentication failed.")

    # ---- reading

    def _cursor(self, namespace: str, documents: Iterable[Document], batch: int | None, single: bool) -> Document:
        rest = iter([RawBSONDocument(bson.encode(d)) for d in documents])
        first, more = _batch(rest, FIRST_BATCH if batch is None else batch)
        number = 0
        if more is not None and not single:
            number = next(self._ids)
            self.cursors[number] = (namespace, more)
        return {"cursor": {"firstBatch": first, "id": bson.Int64(number), "ns": namespace}}

    def do_find(self, name: str, command: Document) -> Document:
        found = self._collection(name, command).find(command.get("filter") or {}, command.get("projection") or None)
        if command.get("sort"):
            found = found.sort(list(command["sort"].items()))
        if command.get("skip"):
            found = found.skip(command["skip"])
        limit = abs(command.get("limit") or 0)
        if limit:
            found = found.limit(limit)
        single = bool(command.get("singleBatch")) or limit == 1
        return self._cursor(f"{name}.{command['find']}", found, command.get("batchSize"), single)

    def do_aggregate(self, name: str, command: Document) -> Document:
        found = self._collection(name, command).aggregate(_with_now(command["pipeline"]))
        size = (command.get("cursor") or {}).get("batchSize")
        return self._cursor(f"{name}.{command['aggregate']}", found, size, False)

    def do_get_more(self, name: str, command: Document) -> Document:
        number = int(command["getMore"])
        if number not in self.cursors:
            raise CommandError(43, "CursorNotFound", f"cursor id {number} not found")
        namespace, rest = self.cursors.pop(number)
        batch, more = _batch(rest, command.get("batchSize") or 0)
        if more is not None:
            self.cursors[number] = (namespace, more)
        return {"cursor": {"nextBatch": batch, "id": bson.Int64(0 if more is None else number), "ns": namespace}}

    def do_kill_cursors(self, name: str, command: Document) -> Document:
        for number in command["cursors"]:
            self.cursors.pop(int(number), None)
        return {"cursorsKilled": command["cursors"]}

    def do_count(self, name: str, command: Document) -> Document:
        limits = {k: command[k] for k in ("limit", "skip") if command.get(k)}
        return {"n": self._collection(name, command).count_documents(command.get("query") or {}, **limits)}

    def do_distinct(self, name: str, command: Document) -> Document:
        return {"values": self._collection(name, command).distinct(command["key"], command.get("query") or {})}

    # ---- writing

    def do_insert(self, name: str, command: Document) -> Document:
        collection = self._collection(name, command)

        def insert(document: Document) -> int:
            _require_size(document)
            collection.insert_one(document)
            return 1

        numbers, errors = _each(command["documents"], insert, command.get("ordered", True))
        return {"n": sum(numbers), **errors}

    def do_update(self, name: str, command: Document) -> Document:
        collection = self._collection(name, command)

        def update(entry: Document) -> Any:
            change = _with_now(entry["u"])
            upsert = {"upsert": bool(entry.get("upsert"))}
            if _is_replacement(change):
                _require_size(change)
                return collection.replace_one(entry["q"], change, **upsert)
            if entry.get("arrayFilters"):
                upsert["array_filters"] = entry["arrayFilters"]
            method = collection.update_many if entry.get("multi") else collection.update_one
            return method(entry["q"], change, **upsert)

        results, errors = _each(command["updates"], update, command.get("ordered", True))
        made = [{"index": i, "_id": r.upserted_id} for i, r in enumerate(results) if r.upserted_id is not None]
        matched = sum(1 if r.upserted_id is not None else r.matched_count for r in results)
        reply = {"n": matched, "nModified": sum(r.modified_count or 0 for r in results), **errors}
        return reply | ({"upserted": made} if made else {})

    def do_delete(self, name: str, command: Document) -> Document:
        collection = self._collection(name, command)
        pairs = [
            (collection.delete_one if d.get("limit") == 1 else collection.delete_many, d) for d in command["deletes"]
        ]
        return {"n": sum(method(d["q"]).deleted_count for method, d in pairs)}

    def do_find_and_modify(self, name: str, command: Document) -> Document:
        collection, query = self._collection(name, command), command.get("query") or {}
        options: Document = {}
        if command.get("sort"):
            options["sort"] = list(command["sort"].items())
        if command.get("fields"):
            options["projection"] = command["fields"]
        if command.get("remove"):
            value = collection.find_one_and_delete(query, **options)
            return {"lastErrorObject": {"n": int(value is not None)}, "value": value}
        options["return_document"] = ReturnDocument.AFTER if command.get("new") else ReturnDocument.BEFORE
        options["upsert"] = bool(command.get("upsert"))
        change = _with_now(command["update"])
        existed = bool(collection.count_documents(query, limit=1))
        if _is_replacement(change):
            value = collection.find_one_and_replace(query, change, **options)
        else:
            filters = command.get("arrayFilters")
            value = collection.find_one_and_update(
                query, change, **options, **({"array_filters": filters} if filters else {})
            )
        return {"lastErrorObject": {"n": int(value is not None), "updatedExisting": existed}, "value": value}

    do_findandmodify = do_find_and_modify

    # ---- collections and indexes

    def do_create_indexes(self, name: str, command: Document) -> Document:
        collection = self._collection(name, command)
        known = ("unique", "sparse", "name", "partialFilterExpression", "expireAfterSeconds")
        for index in command["indexes"]:
            collection.create_index(list(index["key"].items()), **{k: index[k] for k in known if k in index})
        return {"createdCollectionAutomatically": False}

    def do_list_indexes(self, name: str, command: Document) -> Document:
        wanted = command["listIndexes"]
        if wanted not in self.client[name].list_collection_names():
            raise CommandError(26, "NamespaceNotFound", f"ns does not exist: {name}.{wanted}")
        rows = [
            {"v": 2, "key": bson.SON(index["key"]), "name": title} | ({"unique": True} if index.get("unique") else {})
            for title, index in self.client[name][wanted].index_information().items()
        ]
        return self._cursor(f"{name}.{wanted}", rows, None, False)

    def do_drop_indexes(self, name: str, command: Document) -> Document:
        collection, index = self._collection(name, command), command["index"]
        if index == "*":
            collection.drop_indexes()
        else:
            collection.drop_index(index if isinstance(index, str) else list(index.items()))
        return {}

    def do_list_collections(self, name: str, command: Document) -> Document:
        wanted = (command.get("filter") or {}).get("name")
        names = [n for n in self.client[name].list_collection_names() if not isinstance(wanted, str) or n == wanted]
        rows = [{"name": n, "type": "collection", "options": {}, "info": {"readOnly": False}} for n in names]
        return self._cursor(f"{name}.$cmd.listCollections", rows, None, False)

    def do_create(self, name: str, command: Document) -> Document:
        if command["create"] in self.client[name].list_collection_names():
            raise CommandError(48, "NamespaceExists", "collection exists")
        self.client[name].create_collection(command["create"])
        return {}

    def do_drop(self, name: str, command: Document) -> Document:
        self.client[name].drop_collection(command["drop"])
        return {}

    def do_drop_database(self, name: str, command: Document) -> Document:
        self.client.drop_database(name)
        return {"dropped": name}

    def do_list_databases(self, name: str, command: Document) -> Document:
        names = self.client.list_database_names()
        return {"databases": [{"name": n, "sizeOnDisk": 1, "empty": False} for n in names], "totalSize": len(names)}

    def do_coll_stats(self, name: str, command: Document) -> Document:
        number = self._collection(name, command).count_documents({})
        return {"ns": f"{name}.{command['collStats']}", "count": number, "size": 0, "storageSize": 0, "nindexes": 1}


def _method(verb: str) -> str:
    """The name of the method that answers a command: ``getMore`` is ``do_get_more``."""
    return "do_" + ("ismaster" if verb.lower() == "ismaster" else re.sub(r"(?=[A-Z])", "_", verb).lower())


def _batch(rest: Iterator[RawBSONDocument], number: int) -> tuple[list, Iterator[RawBSONDocument] | None]:
    """The next documents, and what is left of them; `number` 0: as many as fit."""
    out: list[RawBSONDocument] = []
    size = 0
    for document in rest:
        if (number and len(out) == number) or (out and size + len(document.raw) > MAX_DOCUMENT):
            return out, _chained(document, rest)
        out.append(document)
        size += len(document.raw)
    return out, None


def _chained(first: RawBSONDocument, rest: Iterator[RawBSONDocument]) -> Iterator[RawBSONDocument]:
    yield first
    yield from rest


def _each(entries: list[Document], act: Callable[[Document], Any], ordered: bool) -> tuple[list, Document]:
    """What `act` gives for each entry, and the write errors; an ordered batch ends at the first."""
    results, errors = [], []
    for i, entry in enumerate(entries):
        try:
            results.append(act(entry))
        except Exception as error:
            if isinstance(error, DuplicateKeyError):
                errors.append({"index": i, "code": 11000, **_duplicate(error)})
            else:
                code = error.reply["code"] if isinstance(error, CommandError) else getattr(error, "code", None) or 9
                errors.append({"index": i, "code": code, "errmsg": f"{type(error).__name__}: {error}"})
            if ordered:
                break
    return results, {"writeErrors": errors} if errors else {}


def _require_size(document: Document) -> None:
    if len(bson.encode(document)) > MAX_DOCUMENT:
        raise CommandError(10334, "BSONObjectTooLarge", "object is too large")


def _duplicate(error: DuplicateKeyError) -> Document:
    return {"errmsg": f"E11000 duplicate key error: {error}", "keyPattern": {}, "keyValue": {}}


def _is_replacement(change: Any) -> bool:
    return isinstance(change, dict) and not any(key.startswith("$") for key in change)


def _with_now(value: Any) -> Any:
    """`value` with ``$$NOW`` replaced by the time, which mongomock does not know."""
    if value == "$$NOW":
        return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    if isinstance(value, list):
        return [_with_now(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_now(item) for key, item in value.items()}
    return value
