"""What a campaign left behind, decoded: the one input of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from magflow.makers.documents import CandidatesDoc, IterationDoc, LabelDoc, ModelDoc, OutcomeDoc, SelectionDoc

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class JobRow:
    """One job of the queue.

    Parameters
    ----------
    name, state, worker
        As in the queue; `worker` is empty for a job that never started.
    started, ended
        Seconds since the epoch; None if that has not happened.
    message
        Last line of the error of a failed job.
    """

    name: str
    state: str
    worker: str = ""
    started: float | None = None
    ended: float | None = None
    message: str = ""


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
        One pool (the decoded arrays of the selection) per selection.
    iterations, parities
        One set of parity arrays per iteration: ``<quantity>_true``, ``<quantity>_predicted`` and
        ``<quantity>_deviation`` (as the ensemble gave it) in house units (energy in eV/atom); empty where
        nothing was assessed.
    labels, models
        Finished and failed labels; every trained member.
    outcome
        None while the campaign runs.
    jobs
        Rows of the queue, if there was one.
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
    models: tuple[ModelDoc, ...] = ()
    iterations: tuple[IterationDoc, ...] = ()
    parities: tuple[Arrays, ...] = ()
    outcome: OutcomeDoc | None = None
    jobs: tuple[JobRow, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def campaign(self) -> str:
        """Id of the campaign; empty before its first document."""
        for document in self.documents():
            return document.campaign
        return ""

    @property
    def usable(self) -> tuple[LabelDoc, ...]:
        """Finished labels."""
        return tuple(x for x in self.labels if x.state == "ok")

    @property
    def failed(self) -> tuple[LabelDoc, ...]:
        """Failed labels."""
        return tuple(x for x in self.labels if x.state == "failed")

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
