"""A flow of jobflow as every queue takes it: checked, its jobs in order, each with its category."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
    with warnings.catch_warnings():
        # jobflow warns of jobs that do not wait for each other; the measurements of a validation do not
        warnings.filterwarnings("ignore", "Some jobs are not connected")
        return [(job, list(dict.fromkeys([*parents, *job.input_uuids]))) for job, parents in flow.iterflow()]


def category(job: Job) -> str:
    """The kind of resources that a job asks for, ``light`` unless it says otherwise."""
    config: dict[str, Any] = job.config.manager_config or {}
    found = job.metadata.get("category") or config.get("category") or config.get("_category") or "light"
    return str(found)
