"""Give a campaign to a queue that other machines work on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from magflow.campaign.directory import CampaignDirectory
from magflow.errors import InputError
from magflow.execution.backend import Backend, claim_backend, open_reader, require_backend
from magflow.execution.campaign import submit_campaign

_OF_ONE_MACHINE = ("MemoryStore", "JSONStore", "MontyStore")  # maggma's


@dataclass(frozen=True)
class Submission:
    """What was submitted: the campaign, its queue, how many jobs are new and how many it has."""

    campaign: str
    id: str
    directory: str
    backend: str
    queue: str
    new_jobs: int
    jobs: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def submit(directory: CampaignDirectory, backend: Backend) -> Submission:
    """Give a campaign to a queue, or go on with one that has ended and was given a larger budget.

    A second submission finds the jobs there and adds nothing.

    Raises
    ------
    CampaignError
        If the campaign's jobs are in another queue, or were submitted from another directory.
    InputError
        If the campaign's store cannot be reached from the machines that work on the queue.
    StoreError
        If the queue or the store does not answer.
    """
    require_backend(directory, backend)
    if backend.shared:
        require_shared_store(directory)
    where = backend.prepare(directory)
    claim_backend(directory, backend)
    directory.store  # noqa: B018 - connects: nothing is submitted that could not store what it computes
    new = submit_campaign(directory)
    jobs = sum(open_reader(directory).counts().values())
    identity = directory.identity
    return Submission(identity["name"], identity["id"], str(directory.path.absolute()), backend.name, where, new, jobs)


def require_shared_store(directory: CampaignDirectory) -> None:
    """Refuse a store that other machines cannot write.

    Raises
    ------
    InputError
        If the campaign file names no store, or one in a file or in the memory of one process.
    """
    store = directory.spec.store
    kind = "no `store:` section" if store is None else (store.docs_store or {}).get("type")
    if store is None or kind in _OF_ONE_MACHINE:
        raise InputError(
            "this store cannot be written from other machines",
            where="store",
            seen=kind,
            expected="a store that all machines reach, such as MongoDB",
            hint="add `store: {mongodb: {uri: mongodb://HOST/DATABASE}}` to the campaign file",
        )
