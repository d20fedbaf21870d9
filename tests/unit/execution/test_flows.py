"""The order in which every queue takes the jobs of a flow is jobflow's own."""

from __future__ import annotations

import warnings

import pytest
from jobflow import Flow, JobOrder, job

from magflow.execution.flows import entries


@job
def total(*numbers):
    return sum(numbers)


def linear() -> Flow:
    return Flow([total(1), total(2), Flow([total(3), total(4)], order=JobOrder.LINEAR)], order=JobOrder.LINEAR)


def loose() -> Flow:
    first, other = total(1), total(2)
    last = total(first.output, other.output, first.output)
    return Flow([last, Flow([other]), total(5), first])


@pytest.mark.parametrize("make", [linear, loose])
def test_jobs_come_as_jobflow_gives_them(make):
    flow = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [(job, [*parents, *job.input_uuids]) for job, parents in flow.iterflow()]
    ours = entries(flow)
    assert [job.uuid for job, _ in ours] == [job.uuid for job, _ in theirs]
    assert [set(parents) for _, parents in ours] == [set(parents) for _, parents in theirs]
    assert all(len(parents) == len(set(parents)) for _, parents in ours)


def test_a_circle_is_refused():
    one, two = total(1), total(2)
    one.function_args, two.function_args = (two.output,), (one.output,)
    with pytest.raises(ValueError, match="cycles"):
        entries(Flow([one, two]))
