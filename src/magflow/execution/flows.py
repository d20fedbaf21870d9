"""A flow of jobflow as every queue takes it: checked, its jobs in order, each with its category."""

from __future__ import annotations

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
    """The jobs of `flow`, parents first, each with the uuids of all jobs it waits for or refers to.

    In the order of ``flow.iterflow()``, which imports matplotlib in every process and warns of jobs that do not wait
    for each other, as the measurements of a validation do not.

    Raises
    ------
    ValueError
        If jobs wait for each other in a circle.
    """
    from networkx import is_directed_acyclic_graph, topological_sort, weakly_connected_components

    graph = flow.graph
    if not is_directed_acyclic_graph(graph):
        raise ValueError("Job connectivity contains cycles therefore job execution order cannot be determined.")
    order = [node for part in weakly_connected_components(graph) for node in topological_sort(graph.subgraph(part))]
    jobs: dict[str, Job] = {node: graph.nodes[node]["job"] for node in order if "job" in graph.nodes[node]}
    return [
        (job, list(dict.fromkeys([*(u for u, _ in graph.in_edges(node) if u in jobs), *job.input_uuids])))
        for node, job in jobs.items()
    ]


def category(job: Job) -> str:
    """The kind of resources that a job asks for, ``light`` unless it says otherwise."""
    config: dict[str, Any] = job.config.manager_config or {}
    found = job.metadata.get("category") or config.get("category") or config.get("_category") or "light"
    return str(found)
