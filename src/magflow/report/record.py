"""What a campaign left behind, decoded: the one input of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from magflow.campaign.directory import FILE, CampaignDirectory
from magflow.core.arrays import decode_arrays
from magflow.core.frame import Frame
from magflow.errors import InputError, MissingToolError, StoreError
from magflow.execution.states import JobRecord, JobState
from magflow.makers.documents import (
    CandidatesDoc,
    IterationDoc,
    LabelDoc,
    ModelDoc,
    OutcomeDoc,
    Purpose,
    SelectionDoc,
)
from magflow.makers.packing import unpack_labelled
from magflow.report.worst import worst_labels
from magflow.stores import contents, queries
from magflow.studies.base import Traces, results_left_in

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class CampaignRecord:
    """Documents in order of iteration, with their arrays decoded beside them.

    Parameters
    ----------
    name, directory
        The campaign's name and where it lives, as the user would type it.
    text
        The campaign file as written.
    targets
        RMSE to reach by quantity, house units (energy in eV/atom).
    selections, pools
        One pool per selection: ``volume`` (A^3/atom) and ``moment_max`` (muB) of each frame offered.
    iterations, parities
        One set of parity arrays per iteration: ``<quantity>_true``, ``<quantity>_predicted`` and
        ``<quantity>_deviation`` (as the ensemble gave it) in house units (energy in eV/atom), and ``<quantity>_label``,
        which of the iteration's ``assessed`` labels each value is of; empty where nothing was assessed.
    labels, models
        Finished and failed labels that the loop chose; every trained member.
    beside
        Labels of other purposes: of pre-training, and of the test of a transfer.
    outcome
        None while the campaign runs.
    jobs
        Jobs of the queue, wherever it is.
    frames
        label_id to its frame, of the labels that are drawn.
    ensemble
        Where the newest ensemble has been written; None if it has not.
    studies
        Name of a study to what it left in the campaign's documents or directory.
    versions
        Program to version, of what wrote the page.
    """

    name: str
    directory: str
    text: str = ""
    targets: Mapping[str, float] = field(default_factory=dict)
    candidates: tuple[CandidatesDoc, ...] = ()
    selections: tuple[SelectionDoc, ...] = ()
    pools: tuple[Arrays, ...] = ()
    labels: tuple[LabelDoc, ...] = ()
    beside: tuple[LabelDoc, ...] = ()
    models: tuple[ModelDoc, ...] = ()
    iterations: tuple[IterationDoc, ...] = ()
    parities: tuple[Arrays, ...] = ()
    outcome: OutcomeDoc | None = None
    jobs: tuple[JobRecord, ...] = ()
    frames: Mapping[str, Frame] = field(default_factory=dict)
    ensemble: str | None = None
    studies: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def campaign(self) -> str:
        """Id of the campaign; empty before its first document."""
        for document in self.documents():
            return document.campaign
        return ""

    @cached_property
    def usable(self) -> tuple[LabelDoc, ...]:
        """Finished labels, each once: a label that was found in the store again has several documents."""
        return tuple({x.label_id: x for x in reversed(self.labels) if x.state == "ok"}.values())[::-1]

    @cached_property
    def failed(self) -> tuple[LabelDoc, ...]:
        """Labels that failed and did not succeed in a later try, each once, as it failed last."""
        done = {x.label_id for x in self.usable}
        return tuple({x.label_id: x for x in self.labels if x.state == "failed" and x.label_id not in done}.values())

    @cached_property
    def worst(self) -> dict[str, dict[str, float]]:
        """As :func:`magflow.report.worst.worst_labels`."""
        return worst_labels(self.iterations, self.parities, self.targets)

    @property
    def failed_jobs(self) -> tuple[JobRecord, ...]:
        """Jobs of the queue that ended in an error."""
        return tuple(j for j in self.jobs if j.state == JobState.FAILED)

    @property
    def is_model_hamiltonian(self) -> bool:
        """True if any label comes from a model Hamiltonian; the level of theory says so in its code."""
        return any("model" in str(x.level_of_theory.get("code", "")).lower() for x in self.labels)

    def documents(self) -> Iterator[CandidatesDoc | SelectionDoc | LabelDoc | ModelDoc | IterationDoc | OutcomeDoc]:
        """Every document."""
        yield from self.candidates
        yield from self.selections
        yield from self.labels
        yield from self.models
        yield from self.iterations
        if self.outcome is not None:
            yield self.outcome


def read_record(path: Path) -> CampaignRecord:
    """The record of the campaign in directory `path`, finished or not.

    Raises
    ------
    InputError
        If there is no campaign.
    StoreError
        If its store cannot be read.
    """
    here = CampaignDirectory.existing(path)
    mine, targets = here.id, here.outline.stop.targets.house()
    iterations = queries.iterations(here.documents, campaign=mine, arrays=True)
    outcome = queries.outcome(here.documents, mine)
    parities = tuple(decode_arrays(d.arrays) for d in iterations)
    labels = queries.labels(here.documents, campaign=mine)
    drawn = {"label_id": {"$in": list(worst_labels(iterations, parities, targets))}, "state": "ok"}
    return CampaignRecord(
        name=here.identity["name"],
        directory=str(path),
        text=_campaign_file(path / FILE),
        targets=targets,
        candidates=tuple(queries.candidates(here.documents, campaign=mine)),
        selections=tuple(queries.selections(here.documents, campaign=mine)),
        pools=tuple(contents.extents(here.documents, mine)),
        labels=tuple(x for x in labels if x.purpose is Purpose.CAMPAIGN),
        beside=tuple(x for x in labels if x.purpose is not Purpose.CAMPAIGN),
        models=tuple(queries.models(here.documents, campaign=mine)),
        iterations=tuple(iterations),
        parities=parities,
        outcome=outcome,
        jobs=_jobs(here),
        frames={
            x.label_id: unpack_labelled(x.arrays)[0].frame
            for x in queries.labels(here.documents, criteria=drawn, arrays=True)
        },
        ensemble=str(here.models) if outcome and here.models.exists() else None,
        studies=results_left_in(Traces(path, partial(queries.plain_documents, here.documents, campaign=mine))),
        versions={"magflow": version("magflow")},
    )


def _campaign_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the campaign file cannot be read: {error}", where=str(path)) from error


def _jobs(directory: CampaignDirectory) -> tuple[JobRecord, ...]:
    """The queue of the campaign; empty if it had none, or if its LaunchPad is out of reach: the store says enough."""
    from magflow.execution.backend import open_reader

    try:
        return tuple(open_reader(directory).jobs())
    except (StoreError, InputError, MissingToolError):
        return ()
