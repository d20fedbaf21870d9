"""The output of a job and its completion, as one step.

jobflow stores a job's output as the last act of ``Job.run``. Were the job marked completed in a second step, a death
between the two would leave an output of a job that runs again. So the output is held back, and written in the
transaction that completes the job if store and queue share a file; on another store just before that transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magflow.stores.jobstore import EmbeddedJobStore
from magflow.stores.results import results_kept_in

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import JobStore

    from magflow.execution.local.queue import JobQueue
    from magflow.execution.states import Claim


class HeldOutput:
    """A JobStore as a running job sees it: all as in `store`, but the job's own output is held back."""

    def __init__(self, store: JobStore, claim: Claim, results: Path) -> None:
        self._store, self._claim, self._results = store, claim, results
        self._held: tuple[Any, Any, Any] | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # for isinstance
        return type(self._store)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def update(self, docs: Any, key: Any = None, save: Any = None) -> None:
        """As :meth:`jobflow.JobStore.update`."""
        mine = (self._claim.uuid, self._claim.index)
        if (getattr(docs, "uuid", None), getattr(docs, "index", None)) == mine:
            self._held = (docs, key, save)
        else:
            self._store.update(docs, key=key, save=save)

    def write(self) -> None:
        """Write what was held back; on its way to a database it is kept in `results`."""
        if self._held is not None:
            docs, key, save = self._held
            with results_kept_in(self._results):
                self._store.update(docs, key=key, save=save)


def share_a_file(store: JobStore, queue: JobQueue) -> bool:
    """Whether one transaction can cover both."""
    return isinstance(store, EmbeddedJobStore) and store.docs_store.path == str(queue.path)
