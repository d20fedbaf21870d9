"""Where classes and functions that documents, job payloads and LaunchPads name have moved to.

A payload written by an older magflow names modules as they were called then. This table is read before such a payload
is decoded, so that a campaign queued by an older release goes on after an upgrade. Lines are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOVED: dict[str, str] = {
    "magflow.execution.cluster_pilot": "magflow.execution.cluster.pilot",
    "magflow.execution.fireworks_task": "magflow.execution.fireworks.task",
    "magflow.execution.remote_run": "magflow.execution.remote.run",
    "magflow.select.calibration": "magflow.select.assessment",
    "magflow.potentials.deepmd.settings:StartBias": "magflow.potentials.outside.settings:StartBias",
    "magflow.stores.mongo:MongoAddress": "magflow.stores.address:MongoAddress",
}
"""Old module path (``magflow.a.b``), or old path of one name in a module (``magflow.a.b:Name``), to the new one."""


def where_now(module: str, name: str = "") -> tuple[str, str]:
    """Module and qualified name under which what was `name` in `module` is found now.

    A line for the name itself comes before one for its class, and that before one for its module. What has moved
    twice is followed.
    """
    while (found := _moved_once(module, name)) != (module, name):
        module, name = found
    return module, name


def _moved_once(module: str, name: str) -> tuple[str, str]:
    first, dot, rest = name.partition(".")
    for known, left in ((name, ""), (first, dot + rest)):
        if target := MOVED.get(f"{module}:{known}"):
            new_module, _, new_name = target.partition(":")
            return new_module, new_name + left
    return MOVED.get(module, module), name


def renamed(payload: Any) -> Any:
    """`payload`, plain data as monty wrote it, with every module, class and function named as it is called now."""
    if isinstance(payload, list):
        return [renamed(item) for item in payload]
    if not isinstance(payload, Mapping):
        return payload
    found = {key: renamed(value) for key, value in payload.items()}
    for kind in ("@class", "@callable"):
        if isinstance(found.get("@module"), str) and isinstance(found.get(kind), str):
            found["@module"], found[kind] = where_now(found["@module"], found[kind])
    return found
