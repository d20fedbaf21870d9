"""What belongs to a campaign is copied, and what does not arrive as it was sent is told."""

from __future__ import annotations

from typing import Any

import pytest
from jobflow import JobStore
from maggma.stores import MemoryStore

from magflow.errors import StoreError
from magflow.stores.move import copy_campaign


def job(uuid: str, flow: str, **changes: Any) -> dict[str, Any]:
    return {"uuid": uuid, "index": 1, "hosts": [f"part of {flow}", flow], "output": {"value": 1.5}} | changes


DOCUMENTS = (
    job("marked", "mine", metadata={"campaign": "c"}),
    job("said", "mine", output={"campaign": "c"}),
    job("unmarked", "mine"),
    job("other", "theirs", output={"campaign": "d"}),
)


def connected(documents: MemoryStore) -> JobStore:
    store = JobStore(documents)
    store.connect()
    return store


@pytest.fixture
def source() -> JobStore:
    store = connected(MemoryStore())
    store.docs_store.update([*DOCUMENTS], key=["uuid", "index"])
    return store


def test_jobs_without_a_mark_are_copied_with_the_rest_of_their_flow(source):
    target = connected(MemoryStore())
    assert copy_campaign(source, target, "c").documents == 3
    assert set(target.distinct("uuid")) == {"marked", "said", "unmarked"}


class Rounding(MemoryStore):
    """A database that keeps whole numbers only."""

    def update(self, docs: Any, key: Any = None) -> None:
        super().update([d | {"output": {"value": 1}} if d["uuid"] == "unmarked" else d for d in docs], key)


def test_a_document_that_arrived_otherwise_than_it_was_sent_is_told(source):
    with pytest.raises(StoreError, match=r"uuid unmarked, .*did not arrive as it was sent; seen: 1 of 4"):
        copy_campaign(source, connected(Rounding()))
