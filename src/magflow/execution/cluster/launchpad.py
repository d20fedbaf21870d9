"""The LaunchPad as a pilot sees it: what is not a job's fault is not written down as its failure."""

from __future__ import annotations

from typing import Any

from fireworks import FWAction, LaunchPad
from pymongo.errors import PyMongoError

from magflow.execution.fireworks import workflows
from magflow.execution.fireworks.launchpad import ABOUT, connect
from magflow.execution.fireworks.recovery import OURS


class InterruptedRunError(Exception):
    """A run came to no end of its own; `passing` if that was because the database went away for a while."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.passing = cause.startswith(("pymongo.errors.", "magflow.errors.StoreUnusableError"))


class PilotLaunchPad(LaunchPad):
    """A LaunchPad that refuses to note a failure which no job has reported.

    FireWorks takes every exception for the job's, also that of a database which was away for a second while the end
    of a job was being written. A job of a campaign that fails says so itself, with details
    (:class:`~magflow.execution.fireworks.task.JobFailedError`); a failure without them is the infrastructure's. Its run
    stays as it is, for whoever offers it again.
    """

    @classmethod
    def at(cls, file: Any) -> PilotLaunchPad:
        """Connect to the LaunchPad that `file` describes."""
        return cls(**connect(file).to_dict())

    def _refresh_wf(self, fw_id: int) -> None:
        """As FireWorks, which takes a database that goes away meanwhile for a broken job and marks it as failed."""
        try:
            with workflows.held(self, fw_id):
                workflow = self.get_wf_by_fw_id_lzyfw(fw_id)
                workflows.write(self, workflow, workflow.refresh(fw_id))
        except PyMongoError:
            raise
        except Exception:
            super()._refresh_wf(fw_id)  # it meets the same, and knows what to do

    def checkout_fw(self, *args: Any, **kwargs: Any) -> Any:
        """As FireWorks, which keeps the launch as it was then, and puts it back when the end cannot be written.

        The job it does not put back: one that had ended was left with a launch that ran for ever. What was written of
        the end of a campaign's job is carried through by the daemon, so there is nothing to put back.
        """
        firework, launch_id = super().checkout_fw(*args, **kwargs)
        if firework is not None and ABOUT in firework.spec:
            self.backup_launch_data.pop(launch_id, None)
        return firework, launch_id

    def complete_launch(self, launch_id: int, action: FWAction | None = None, state: str = "COMPLETED") -> Any:
        """As FireWorks.

        Raises
        ------
        InterruptedRunError
            For a failure that no job has reported.
        """
        stored = {} if action is None else action.stored_data
        failure = stored.get("_exception") or {}
        ours = {**OURS, "launches": launch_id}
        if state == "FIZZLED" and not failure.get("_details") and self.fireworks.find_one(ours, {"fw_id": 1}):
            lines = str(failure.get("_stacktrace") or "").strip().splitlines()
            cause = lines[-1] if lines else "no reason was given"
            raise InterruptedRunError(cause.rpartition(f"{InterruptedRunError.__name__}: ")[2])  # FireWorks tries twice
        return super().complete_launch(launch_id, action, state)
