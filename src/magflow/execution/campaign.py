"""What a campaign needs next, put into its queue: a start, a continuation, a second try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobflow import Flow, Job, OutputReference

from magflow.campaign.build import campaign_maker
from magflow.campaign.directory import CampaignDirectory
from magflow.core.arrays import digest
from magflow.core.label import FailureKind
from magflow.execution.backend import JobSubmitter, open_queue, open_reader
from magflow.execution.states import JobFilter, JobState
from magflow.makers import roles
from magflow.makers.documents import IterationDoc, LabelDoc, Purpose
from magflow.makers.iteration import ActiveLearningMaker, progress_of
from magflow.makers.packing import pack_frame, unpack_frame
from magflow.select.stopping import decide
from magflow.stores import queries


def submit_campaign(directory: CampaignDirectory) -> int:
    """Submit the first iteration, or what a campaign that ended has been given since: a larger budget, force constants
    to learn from, a validation.

    Jobs the queue knows are left as they are: this is the way to resume as well.

    Returns
    -------
    int
        The number of new jobs.
    """
    maker = campaign_maker(directory.spec, directory.id)
    queue = open_queue(directory)
    new = queue.submit(maker.make())
    if new or unfinished(directory):
        return new
    last = _last(directory)
    if last is None:
        return 0
    if decide(progress_of(last), maker.iteration.assess.stop) is not None:
        return _submit_afterwards(maker, directory, queue)
    rules = digest([repr(maker.iteration.assess.stop).encode()])
    mine = maker.campaign.id
    earlier = [*maker.given, *(roles.batch(i).uuid(mine) for i in range(last.iteration))]
    assessed = OutputReference(roles.assess(last.iteration).uuid(mine))
    job = maker.continuation(assessed, last.iteration, earlier, rules)
    return queue.submit(Flow([job]), allow_external_references=True)


def _submit_afterwards(maker: ActiveLearningMaker, directory: CampaignDirectory, queue: JobSubmitter) -> int:
    """What is asked of the ensemble of a campaign that has ended: first what changes it."""
    ended = queries.outcome(directory.store, directory.id)
    if ended is None or not ended.models:
        return 0
    stage = maker.afterwards(ended)
    new = 0 if stage is None else queue.submit(stage)
    asked = maker.validation(ended)
    return new if new or asked is None else queue.submit(asked)


def unfinished(directory: CampaignDirectory) -> int:
    """Number of jobs that wait, are ready or run."""
    counts = open_reader(directory).counts()
    return sum(counts[s] for s in (JobState.WAITING, JobState.READY, JobState.RUNNING))


def failed_labels(directory: CampaignDirectory, reason: str | None = None) -> list[LabelDoc]:
    """The newest document of every label chosen by the loop that failed and has not succeeded since, arrays loaded.

    Parameters
    ----------
    reason
        Only failures of this kind.
    """
    return _failed(directory, queries.CHOSEN, reason)


def failed_displacements(directory: CampaignDirectory, reason: str | None = None) -> list[LabelDoc]:
    """The same of labels for force constants of the crystals that the campaign file asks for."""
    tune = campaign_maker(directory.spec, directory.id).tune
    if tune is None:
        return []
    return _failed(directory, {"purpose": Purpose.PHONON, "source": {"$in": tune.phonons.sources}}, reason)


def _failed(directory: CampaignDirectory, of: Mapping[str, Any], reason: str | None) -> list[LabelDoc]:
    store, mine = directory.store, directory.id
    doubted = queries.doubted(store, mine) if reason in (None, FailureKind.SUSPECT) else set[str]()
    usable = {d["label_id"] for d in queries.label_summaries(store, mine) if d["state"] == "ok"} - doubted
    criteria = {"state": "failed"} | dict(of) | ({"failure": reason} if reason else {})
    newest = {d.label_id: d for d in queries.labels(store, criteria=criteria, campaign=mine, arrays=True)}
    if doubted:
        among = dict(of) | {"label_id": {"$in": sorted(doubted)}}
        newest |= {d.label_id: d for d in queries.labels(store, criteria=among, campaign=mine, arrays=True)}
    return [d for label, d in newest.items() if label not in usable]


def retry_campaign(directory: CampaignDirectory, reason: str | None = None) -> tuple[int, int]:
    """Offer failed labels and failed jobs again.

    While the campaign goes on, the labels join it at its next iteration; one that has ended is given one more
    iteration, which learns from them. Labels for force constants are computed again when these are asked for again:
    after that iteration, or, where nothing else failed, at once.

    Returns
    -------
    tuple
        The number of labels and of other jobs offered again.
    """
    queue = open_queue(directory)
    revived = 0 if reason else queue.retry(JobFilter(states=(JobState.FAILED,)))
    failed, beside = failed_labels(directory, reason), failed_displacements(directory, reason)
    maker = campaign_maker(directory.spec, directory.id)
    attempts = len(queries.label_summaries(directory.store, directory.id))
    if not failed:
        ended = queries.outcome(directory.store, directory.id)
        if not beside or ended is None or unfinished(directory):
            return 0, revived
        afterwards = maker.afterwards(ended, attempts)
        if afterwards is None:  # the section that asked for them is no longer in the file
            return 0, revived
        queue.submit(afterwards)
        return len(beside), revived
    last = _last(directory)
    iteration = failed[-1].iteration
    frames = [pack_frame(unpack_frame(d.arrays)) for d in failed]
    again = maker.iteration.label.flow(frames, [d.source for d in failed], iteration, attempts)
    jobs: list[Flow | Job] = [again]
    if not unfinished(directory):
        jobs.append(_extra_iteration(maker, directory, last, iteration, again.jobs[-1].uuid))
    whole = Flow(jobs, name=f"{maker.campaign.name} retry")
    queue.submit(whole, allow_external_references=True)
    return len(failed) + len(beside), revived


def _extra_iteration(
    maker: ActiveLearningMaker, directory: CampaignDirectory, last: IterationDoc | None, reached: int, batch: str
) -> Flow:
    """The iteration after the last one that was begun, with one more batch to learn from."""
    done = range(0 if last is None else last.iteration + 1)
    batches = [*maker.given, *(roles.batch(i).uuid(maker.campaign.id) for i in done)]
    models = maker.first_models
    previous = None
    if last is not None:
        models = maker.iteration.train.uuids(last.iteration)
        previous = roles.assess(last.iteration).uuid(maker.campaign.id)
    following = max(reached, -1 if last is None else last.iteration) + 1
    return maker.step(following, [*batches, batch], models, previous)


def _last(directory: CampaignDirectory) -> IterationDoc | None:
    found = queries.iterations(directory.store, campaign=directory.id)
    return found[-1] if found else None
