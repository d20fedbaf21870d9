"""A whole workflow changed under its lock; FireWorks itself offers no public way that touches one job alone.

Its ``rerun_fw`` resets all that came after a job as well. What is used here and in
:func:`~magflow.execution.fireworks.launchpad.enforce_settings` is why the version of FireWorks has an upper bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireworks import LaunchPad, Workflow


def write(launchpad: LaunchPad, workflow: Workflow, changed: set[int]) -> None:
    """Write the Fireworks `changed`, and the states and links of their workflow; the caller holds its lock."""
    launchpad._update_wf(workflow, changed)


def reset(workflow: Workflow, fw_id: int) -> set[int]:
    """Forget the launches of a job and make it ready, or waiting; returns the ids of all that changed."""
    workflow.id_fw[fw_id]._rerun()
    changed: set[int] = {fw_id} | workflow.refresh(fw_id, {fw_id})
    return changed
