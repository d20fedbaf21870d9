"""Labels: one job per frame, and the job that gathers a batch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobflow import CURRENT_JOB, Flow, Job, JobStore, Maker, OnMissing, OutputReference, Response, job

from magflow.core.label import FailureKind, LevelOfTheory, label_id
from magflow.core.protocols import LabelEngine
from magflow.core.release import __version__
from magflow.makers import roles
from magflow.makers.atomate import AtomateEngine, label_flow, serialised
from magflow.makers.base import Campaign, PluginMaker, prepare
from magflow.makers.documents import BatchDoc, CandidatesDoc, LabelDoc, OutcomeDoc, Purpose, SelectionDoc
from magflow.makers.judging import SEEN, compared, far_from_others, is_doubtful, judged, sibling, siblings_in, suspected
from magflow.makers.label_document import label_document
from magflow.makers.offered import chosen
from magflow.makers.packing import pack_batch, pack_frame, unpack_frame, unpack_labelled
from magflow.makers.tries import LOST
from magflow.select.stopping import StopReason


@dataclass(kw_only=True)
class LabelMaker(PluginMaker):
    """Labels frames with a label engine, or with any atomate2 static Maker.

    Parameters
    ----------
    engine
        A :class:`~magflow.core.protocols.LabelEngine`, an :class:`~magflow.makers.atomate.AtomateEngine`, or any
        atomate2 static Maker, which is wrapped in one.
    campaign
        The campaign the labels belong to.
    purpose
        What the labels are for.
    """

    engine: LabelEngine | AtomateEngine | Maker
    campaign: Campaign
    purpose: Purpose = Purpose.CAMPAIGN
    name: str = "label"

    @property
    def source(self) -> LabelEngine | AtomateEngine:
        """What labels: the engine, or the Maker wrapped as one."""
        return AtomateEngine(self.engine) if isinstance(self.engine, Maker) else self.engine

    @job(data="arrays")
    def make(self, frame: str, source: str, iteration: int) -> LabelDoc | Response[LabelDoc]:
        """One label. `frame` is text made by :func:`~magflow.makers.packing.pack_frame`."""
        configuration = unpack_frame(frame)
        engine = self.source
        level = level_of_theory(engine, self.campaign.elements)
        wanted, store = label_id(configuration.frame_id, level), CURRENT_JOB.store
        others = [] if store is None else siblings_in(store, level.fingerprint)
        earlier = [] if store is None else suspected(store, wanted)
        found = find_label(store, wanted, Purpose(self.purpose))
        if found is not None and is_doubtful(found, others):
            earlier.append(sibling(found).energy)
            found = None
        if found is not None:
            mine = {"campaign": self.campaign.id, "iteration": iteration, "source": source, "magflow": __version__}
            return found.model_copy(update=mine)
        purpose = Purpose(self.purpose)
        if isinstance(engine, AtomateEngine):
            return Response(replace=label_flow(engine, self.campaign, frame, source, iteration, purpose))
        workdir = Path.cwd() / f"label-{configuration.frame_id}"
        workdir.mkdir(exist_ok=True)
        computed = engine.label(configuration, level, workdir)
        label = judged(configuration, replace(computed, cost=computed.cost + LOST.get()))
        label = compared(configuration, label, others, earlier)
        if not any(workdir.iterdir()):
            workdir.rmdir()
        return label_document(configuration, label, self.campaign, engine.name, source, iteration, purpose)

    def after(self, explore: Job, select: Job, iteration: int) -> Job:
        """The job that labels what was selected in one iteration."""
        made = self.selected(explore.output, select.output, iteration)
        return prepare(made, self.campaign, roles.batch(iteration))

    @job
    def selected(self, candidates: CandidatesDoc, selection: SelectionDoc, iteration: int) -> Response[BatchDoc]:
        """Replace this job by one label job per selected frame and the job that gathers them."""
        frames, sources = chosen(candidates, selection)
        return Response(replace=self.flow([pack_frame(f) for f in frames], sources, iteration))

    @job
    def batch(
        self, sources: list[str], selection_uuid: str, iteration: int, words: tuple[str, ...] = ()
    ) -> Response[BatchDoc]:
        """The same for frames that were drawn beside the loop, which stay references.

        Parameters
        ----------
        sources
            Where each frame came from.
        selection_uuid
            The job that drew the frames, its ``frames``.
        words
            The purpose, and what tells batches of one purpose apart. Empty: a batch of the loop, queued by magflow 0.1,
            whose selections held frames.
        """
        if not words:
            explored = OutputReference(roles.explore(iteration, dynamics=False).uuid(self.campaign.id))
            return Response(replace=self.selected(explored, OutputReference(selection_uuid), iteration))
        frames = OutputReference(selection_uuid).frames
        drawn = [frames[i] for i in range(len(sources))]
        return Response(replace=self.flow(drawn, sources, iteration, which="".join(words[1:])))

    def flow(
        self,
        frames: Sequence[str | OutputReference],
        sources: Sequence[str],
        iteration: int,
        attempts: int | None = None,
        which: str = "",
    ) -> Flow:
        """The labels of `frames` and the job that gathers them; `output` is its BatchDoc.

        With `attempts`, the labels made so far, it is a batch of labels offered again, outside any iteration; `which`
        tells batches beside the loop apart.
        """
        purpose, jobs = Purpose(self.purpose), []
        for number, (frame, source) in enumerate(zip(frames, sources, strict=True)):
            role = roles.label(iteration, number, purpose, attempts, which)
            jobs.append(prepare(self.make(frame, source, iteration), self.campaign, role, expose_store=True))
        gather = collect(self.campaign, [j.output for j in jobs], iteration, attempts is not None)
        # A label job that was lost with its worker gives None here; the others are not held up by it.
        gather.config.on_missing_references = OnMissing.NONE
        prepare(gather, self.campaign, roles.collect(iteration, purpose, attempts, which))
        return Flow([*jobs, gather], output=gather.output, name=f"labels {iteration}")


def retried_batches(store: JobStore | None, campaign: Campaign, known: list[str]) -> list[str]:
    """Uuids of batches in the store that no iteration has taken up: labels that were retried since.

    A batch of an iteration is stored under its ``collect`` job and known by the uuid of the job it replaced, hence
    only those marked as retried are looked at.
    """
    if store is None:
        return []
    criteria = {"output.doc_type": "batch", "output.campaign": campaign.id, "output.retried": True}
    found = [d["uuid"] for d in store.query(criteria, properties=["uuid"])]
    return [u for u in dict.fromkeys(found) if u not in known]


_levels: dict[str, LevelOfTheory] = {}


def level_of_theory(source: LabelEngine | AtomateEngine, elements: Sequence[str]) -> LevelOfTheory:
    """Once per process for a source and elements of these values: it hashes datasets and asks programs who they are."""
    settings = serialised(source) if isinstance(source, AtomateEngine) else source.model_dump(mode="json")
    key = json.dumps([type(source).__module__, type(source).__qualname__, settings, list(elements)], sort_keys=True)
    if key not in _levels:
        _levels[key] = source.level_of_theory(elements)
    return _levels[key]


def find_label(store: JobStore | None, wanted: str, purpose: Purpose = Purpose.CAMPAIGN) -> LabelDoc | None:
    """A usable label in the store; the one of an interrupted run of this very job is returned as it is.

    One of another job is marked as reused for `purpose` and costs nothing. One that a newer magflow wrote in a format
    this one does not know may mean something else: it is left alone, and the label is computed.
    """
    if store is None:
        return None
    criteria = LabelDoc.usable(wanted)
    mine = None if CURRENT_JOB.job is None else store.query_one(criteria | {"uuid": CURRENT_JOB.job.uuid}, load=True)
    document = mine or store.query_one(criteria, load=True)
    if document is None:
        return None
    found = LabelDoc(**document["output"])
    if mine is not None:
        return found
    free = {"cpu_seconds": 0.0, "wall_seconds": 0.0, "core_hours": 0.0}
    return found.model_copy(update={"reused": True, "purpose": purpose} | free)


@job(data="arrays")
def collect(
    campaign: Campaign, labels: list[LabelDoc | None], iteration: int, retried: bool = False
) -> Response[BatchDoc]:
    """Gather the labels of a batch. If none is usable, the campaign ends here, with the reason."""
    documents = [d for d in labels if d is not None]
    usable = [d for d in documents if d.state == "ok"]
    failed = {d.label_id: str(d.failure) for d in documents if d.state == "failed"}
    doubted = _doubted(usable)
    usable = [d for d in usable if d.label_id not in doubted]
    failed |= dict.fromkeys(doubted, str(FailureKind.SUSPECT))
    items = [item for d in usable for item in unpack_labelled(d.arrays)]
    batch = BatchDoc(
        campaign=campaign.id,
        iteration=iteration,
        label_ids=[d.label_id for d in usable],
        failed=failed,
        suspects=sum(kind == FailureKind.SUSPECT for kind in failed.values()),
        levels_of_theory=list({d.level_of_theory_id: d.level_of_theory for d in documents}.values()),
        cpu_seconds=sum(d.cpu_seconds for d in documents),
        wall_seconds=sum(d.wall_seconds for d in documents),
        core_hours=sum(d.core_hours for d in documents),
        reused=sum(d.reused for d in documents),
        retried=retried,
        arrays=pack_batch(items, [unpack_frame(d.arrays) for d in documents if d.label_id in failed]),
    )
    beside_the_loop = bool(documents) and documents[0].purpose in (Purpose.VALIDATION, Purpose.PHONON)
    if items or not labels or beside_the_loop:
        return Response(output=batch)
    lost = len(labels) - len(documents)
    counts = Counter(failed.values()) + Counter({"worker-lost": lost} if lost else {})
    ending = finish_failed(campaign, iteration, dict(counts), documents[0].message if documents else None)
    prepare(ending, campaign, roles.stop(iteration, batch.created_at))
    return Response(output=batch, stop_children=True, addition=Flow([ending]))


def _doubted(usable: Sequence[LabelDoc]) -> list[str]:
    """Ids of labels that are far from the rest of their batch: when they were made, there were too few to tell."""
    verdicts = far_from_others([sibling(d) for d in usable])
    return [d.label_id for d, far in zip(usable, verdicts, strict=True) if far is not None and SEEN not in d.details]


@job
def finish_failed(campaign: Campaign, iteration: int, failures: dict[str, int], example: str | None) -> OutcomeDoc:
    """The outcome of a campaign in which a whole batch failed."""
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(failures.items()))
    explanation = f"every label of iteration {iteration} failed ({counts})"
    return OutcomeDoc(
        campaign=campaign.id,
        iteration=iteration,
        name=campaign.name,
        reason=StopReason.BATCH_FAILED,
        explanation=f"{explanation}; the first: {example}" if example else explanation,
        labels=0,
        core_hours=0.0,
        models=[],
        calibration={},
        rmse={},
    )
