"""Give a campaign to a queue that other machines work on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from magflow.campaign.directory import CampaignDirectory
from magflow.errors import InputError
from magflow.execution.backend import Backend, BackendKind, claim_backend, open_reader, require_backend
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


def submit_to_fireworks(directory: CampaignDirectory, launchpad: Path) -> Submission:
    """Put a campaign on a LaunchPad, or go on with one that has ended and was given a larger budget.

    A second submission finds the jobs there and adds nothing.

    Parameters
    ----------
    launchpad
        The file that describes the LaunchPad.

    Raises
    ------
    CampaignError
        If the campaign's jobs are in another queue, or were submitted from another directory.
    InputError
        If the campaign's store cannot be reached from other machines.
    StoreError
        If the LaunchPad or the store does not answer.
    """
    from magflow.execution.fireworks.launchpad import connect, described
    from magflow.execution.fireworks.queue import LaunchPadQueue

    backend = Backend(BackendKind.FIREWORKS, str(launchpad))
    require_backend(directory, backend)
    require_shared_store(directory)
    queue = LaunchPadQueue(connect(launchpad), directory)
    queue.prepare()
    claim_backend(directory, backend)
    return submitted(directory, backend, described(queue.launchpad))


def submit_to_remote(directory: CampaignDirectory, project: str, worker: str | None = None) -> Submission:
    """Put a campaign into a project of jobflow-remote, or go on with one that has ended.

    Parameters
    ----------
    project
        Its name; empty: the one jobflow-remote is set to.
    worker
        The worker that runs the jobs; None: the project's first one.

    Raises
    ------
    CampaignError
        If the campaign's jobs are in another queue.
    InputError
        If there is no such project or worker, or its outputs go elsewhere than the campaign's `store:` says.
    StoreError
        If a database does not answer.
    """
    from magflow.execution.remote.queue import RemoteQueue, connect

    controller = connect(project)
    workers = list(controller.project.workers)
    if (worker or "") not in ["", *workers] or not workers:
        raise InputError(
            "the project has no such worker", where=controller.project.name, seen=worker, expected=", ".join(workers)
        )
    backend = Backend(BackendKind.JOBFLOW_REMOTE, controller.project.name, worker or workers[0])
    require_backend(directory, backend)
    require_shared_store(directory)
    queue = RemoteQueue(controller, directory, backend.worker)
    queue.require_commands()
    queue.require_same_store()
    claim_backend(directory, backend)
    return submitted(directory, backend, f"project {backend.where} of jobflow-remote")


def submitted(directory: CampaignDirectory, backend: Backend, queue: str) -> Submission:
    """Submit what the campaign needs next to the queue it has claimed."""
    directory.store  # noqa: B018 - connects: nothing is submitted that could not store what it computes
    new = submit_campaign(directory)
    jobs = sum(open_reader(directory).counts().values())
    identity = directory.identity
    path = str(directory.path.absolute())
    return Submission(identity["name"], identity["id"], path, str(backend.kind), queue, new, jobs)


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
