"""Copying a campaign's documents and arrays from one job store to another, and proving that they have arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

from bson import json_util
from jobflow import JobStore
from jobflow.utils.find import find_key
from maggma.core import Store
from pydash import get

from magflow.errors import InputError, StoreError
from magflow.stores import queries
from magflow.stores.layout import additional_stores

Key = tuple[str, int]
"""uuid and index of a document."""
Document = dict[Any, Any]
Blob = tuple[str, Document]
"""The name of the store that holds an array, and the array."""
Tell = Callable[[str, int, int], None]
"""Called with what is being done, the number of documents done, and their number."""

_TOGETHER = 50  # documents copied, with their arrays, between two looks at the progress


@dataclass(frozen=True)
class Copied:
    """What :func:`copy_campaign` did.

    Attributes
    ----------
    documents, blobs
        Now in the target, all verified.
    new
        Documents that were not there before.
    digest
        SHA-256 over all documents and blobs, the same in source and target.
    """

    documents: int
    blobs: int
    new: int
    digest: str


def campaigns_in(store: JobStore) -> list[str]:
    """Ids of the campaigns that a store holds documents of."""
    return sorted(store.distinct("output.campaign"))


def copy_campaign(
    source: JobStore,
    target: JobStore,
    campaign: str | None = None,
    progress: Tell | None = None,
) -> Copied:
    """Copy documents and arrays, then read both stores and compare.

    What the target has already, unchanged, is not written again, so an interrupted copy goes on where it stopped. The
    source is only read.

    Parameters
    ----------
    campaign
        Copy the documents of this campaign; None: all.
    progress
        See :data:`Tell`.

    Raises
    ------
    InputError
        If the source has nothing to copy.
    StoreError
        If a document or an array did not arrive as it was sent, or an array is missing from the source.
    """
    wanted = _wanted(source, campaign)
    keys = sorted(queries.values(source, wanted, ("uuid", "index")))
    if not keys:
        held = ", ".join(campaigns_in(source)) or "none"
        raise InputError(
            "there is nothing to copy", where=source.name, seen=campaign, expected=f"a campaign of: {held}"
        )
    tell = progress or (lambda what, done, total: None)
    new = 0
    for done, some in _in_parts(keys):
        there = {(d["uuid"], d["index"]): digest for d, _, digest in _read(target, some)}
        missing = [(d, blobs) for d, blobs, digest in _read(source, some) if there.get(_key(d)) != digest]
        _write(target, missing)
        new += len(missing)
        tell("copy", done, len(keys))
    return _verified(source, target, keys, new, tell)


def _verified(source: JobStore, target: JobStore, keys: list[Key], new: int, tell: Tell) -> Copied:
    whole, blobs = sha256(), 0
    for done, some in _in_parts(keys):
        sent = {_key(d): (digest, len(b)) for d, b, digest in _read(source, some)}
        arrived = {_key(d): (digest, len(b)) for d, b, digest in _read(target, some)}
        wrong = [key for key in some if key not in sent or sent[key] != arrived.get(key)]
        if wrong:
            raise StoreError(
                "a document did not arrive as it was sent",
                where=f"{target.name}, uuid {wrong[0][0]}, index {wrong[0][1]}",
                seen=f"{len(wrong)} of {len(some)} documents differ",
                hint="copy again when no job of the campaign runs: it goes on where it stopped",
            )
        for key in some:
            whole.update(sent[key][0].encode())
        blobs += sum(number for _, number in sent.values())
        tell("verify", done, len(keys))
    return Copied(len(keys), blobs, new, whole.hexdigest())


def _wanted(source: JobStore, campaign: str | None) -> dict[str, Any]:
    """All that the flows of a campaign left behind: magflow 0.1 did not mark every job of a transfer."""
    if campaign is None:
        return {}
    marked = [{"metadata.campaign": campaign}, {"output.campaign": campaign}]
    flows = {hosts[-1] for (hosts,) in queries.values(source, {"$or": marked}, ("hosts",)) if hosts}
    return {"$or": [*marked, {"hosts": {"$in": sorted(flows)}}]}


def _in_parts(keys: list[Key]) -> Iterator[tuple[int, list[Key]]]:
    """The number of keys up to the end of each part, and the part."""
    rest, done = iter(keys), 0
    while some := list(islice(rest, _TOGETHER)):
        done += len(some)
        yield done, some


def _key(document: Mapping[str, Any]) -> Key:
    return document["uuid"], document["index"]


def _read(store: JobStore, keys: list[Key]) -> Iterator[tuple[Document, list[Blob], str]]:
    """Each document, its blobs with the names of their stores, and the digest of all that."""
    chosen = set(keys)
    found = store.docs_store.query({"uuid": {"$in": sorted({uuid for uuid, _ in keys})}}, sort={"uuid": 1, "index": 1})
    documents = [d for d in found if _key(d) in chosen]
    references = [[get(d, list(place)) for place in find_key(d, "blob_uuid")] for d in documents]
    blobs = {
        name: _blobs(blob_store, [r["blob_uuid"] for group in references for r in group if r["store"] == name])
        for name, blob_store in additional_stores(store).items()
    }
    for document, group in zip(documents, references, strict=True):
        document.pop("_id", None)
        mine = [(r["store"], blobs.get(r["store"], {}).get(r["blob_uuid"])) for r in group]
        complete = [(name, blob) for name, blob in mine if blob is not None]
        yield document, complete, _digest([document, *(blob for _, blob in complete), len(mine)])


def _blobs(store: Store, uuids: list[str]) -> dict[str, Document]:
    found = {}
    for blob in store.query({"blob_uuid": {"$in": uuids}}) if uuids else ():
        blob.pop("_id", None)
        found[blob["blob_uuid"]] = blob
    return found


def _digest(parts: list[Any]) -> str:
    return sha256(json_util.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write(target: JobStore, entries: list[tuple[Document, list[Blob]]]) -> None:
    """Arrays first, so that no document refers to what is not there yet."""
    for document, blobs in entries:
        if len(blobs) < len(list(find_key(document, "blob_uuid"))):
            raise StoreError(
                "arrays of a document are missing from the store it is in",
                where=f"uuid {document['uuid']}, index {document['index']}",
            )
    stores = additional_stores(target)
    for name in {name for _, blobs in entries for name, _ in blobs}:
        if name not in stores:
            raise InputError("the target has no store for these arrays", where=target.name, seen=name)
        stores[name].update([b for _, blobs in entries for n, b in blobs if n == name], key="blob_uuid")
    if entries:
        target.docs_store.update([document for document, _ in entries], key=["uuid", "index"])
