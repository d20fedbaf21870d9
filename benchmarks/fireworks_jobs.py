"""Jobs of benchmarks/fireworks_overhead.py, in a module that a worker can import."""

from __future__ import annotations

from jobflow import Flow, Response, job


@job
def trivial(i):
    """Nothing but a job."""
    return i


@job
def advance(left, iteration):
    """Be replaced by the next iteration: trivial jobs, one that waits for them all, and the one that goes on."""
    if left <= 0:
        return None
    jobs = [trivial(i) for i in range(min(iteration - 2, left))]
    gather = trivial([j.output for j in jobs])
    following = advance(left - len(jobs) - 2, iteration)
    return Response(replace=Flow([*jobs, gather, following]))
