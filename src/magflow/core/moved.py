"""Where classes and functions that documents, job payloads and LaunchPads name have moved to.

A payload written by an older magflow names modules as they were called then. This table is read before such a payload
is decoded, so that a campaign queued by an older release goes on after an upgrade. Lines are only ever added.
"""

from __future__ import annotations

MOVED: dict[str, str] = {
    "magflow.execution.cluster_pilot": "magflow.execution.cluster.pilot",
    "magflow.execution.fireworks_task": "magflow.execution.fireworks.task",
    "magflow.execution.remote_run": "magflow.execution.remote.run",
}
"""Old module path (``magflow.a.b``), or old path of one name in a module (``magflow.a.b:Name``), to the new one."""
