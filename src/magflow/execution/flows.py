"""A flow of jobflow as every queue takes it: checked, its jobs in order, each as text and with its category."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from monty.json import MontyEncoder

from magflow.errors import InputError

if TYPE_CHECKING:
    from jobflow import Flow, Job


@contextmanager
def explained() -> Iterator[None]:
    """Turn what jobflow says of a flow that cannot be run into an InputError."""
    try:
        yield
    except ValueError as error:
        raise InputError("this flow cannot be run", where="submit", seen=str(error)) from error


def entries(flow: Flow) -> list[tuple[Job, list[str]]]:
    """The jobs of `flow`, parents first, each with the uuids of all jobs it waits for or refers to."""
    return [(job, list(dict.fromkeys([*parents, *job.input_uuids]))) for job, parents in flow.iterflow()]


def serialise(job: Job) -> str:
    """The job as JSON.

    Raises
    ------
    InputError
        If it holds something that cannot be serialised, or a function that a worker process cannot import.
    """
    try:
        text = json.dumps(job.as_dict(), cls=MontyEncoder)
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


def category(job: Job) -> str:
    """The kind of resources that a job asks for, ``light`` unless it says otherwise."""
    config: dict[str, Any] = job.config.manager_config or {}
    found = job.metadata.get("category") or config.get("category") or config.get("_category") or "light"
    return str(found)
