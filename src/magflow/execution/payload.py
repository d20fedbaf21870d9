"""Jobs as text: what a queue keeps of a job, and how a job that an older magflow has queued is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from magflow.core.moved import renamed
from magflow.core.versions import FORMAT, WRITER, Format
from magflow.errors import InputError

if TYPE_CHECKING:
    from jobflow import Job

PAYLOAD: Format[dict[str, Any]] = Format("job")
"""Of what jobflow and monty make of a job: its function, its arguments, and the Makers, engines and settings in them.

A step gets and returns the job as plain data, with modules and classes named as they are called now.
"""

STAMP = "magflow"
"""Key of the metadata, which every queue keeps, that holds the stamp of the job."""


def encoded(job: Job) -> str:
    """The job as JSON.

    Raises
    ------
    InputError
        If it holds something that cannot be serialised, or a function that a worker process cannot import.
    """
    from monty.json import MontyEncoder

    try:
        content = job.as_dict()
        text = json.dumps(content | {"metadata": content["metadata"] | {STAMP: PAYLOAD.stamp}}, cls=MontyEncoder)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "this job cannot be serialised",
            where=f"job {job.name}",
            seen=f"{type(error).__name__}: {error}",
            expected="arguments that are plain data or MSONable objects",
        ) from error
    if '"@module": "__main__"' in text or "<locals>" in text:
        raise InputError(
            "a worker process cannot import the function of this job",
            where=f"job {job.name}",
            expected="a function, or a method of a class, at the top level of an importable module",
            hint="move it out of the script or the function that it is defined in",
        )
    return text


def decoded(text: str) -> Job:
    """The job that :func:`encoded` made `text` of, in this magflow or in an older one.

    Raises
    ------
    NewerFormatError
        If a newer magflow queued it, in a format this one does not know.
    """
    from monty.json import MontyDecoder

    job: Job = MontyDecoder().process_decoded(present(json.loads(text)))
    return job


def present(content: dict[str, Any]) -> dict[str, Any]:
    """A job as plain data, in the present format.

    Raises
    ------
    NewerFormatError
        If a newer magflow queued it, in a format this one does not know.
    """
    stamp = content.get("metadata", {}).get(STAMP, {})
    where = f"job {content.get('name')}"
    return PAYLOAD.upgraded(renamed(content), stamp.get(FORMAT, 1), stamp.get(WRITER), where)
