"""A LaunchPad of FireWorks: the queue, what a worker does with a job, jobs whose worker is gone.

Jobs on a LaunchPad name their task as ``magflow.execution.fireworks.CampaignTask``: here, wherever it is written.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """The task, imported when FireWorks asks for it."""
    if name == "CampaignTask":
        from magflow.execution.fireworks.task import CampaignTask

        return CampaignTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
