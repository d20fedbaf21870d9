"""One try of a job, wherever it runs: what it cost, what went wrong, the name of its directory."""

from __future__ import annotations

import re
import resource
import traceback

from magflow.core.masking import mask
from magflow.errors import MagflowError


def directory_name(uuid: str, index: int, name: str, attempt: int) -> str:
    """Name of the directory of one try of a job."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip("_.")[:60] or "job"
    start = re.sub(r"\W", "_", uuid[:8])
    return f"{plain}-{start}-{attempt}" if index == 1 else f"{plain}-{start}.{index}-{attempt}"


def describe(error: Exception) -> str:
    """A MagflowError in its own words; else the traceback. Without credentials: it goes into the queue."""
    if isinstance(error, MagflowError):
        return mask(f"{type(error).__name__}: {error}")
    return mask("".join(traceback.format_exception(error))[-8000:])


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in usages)
