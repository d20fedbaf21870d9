"""What all Makers share: the campaign they work for, jobs that say what they are, plug-ins as fields."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobflow import Flow, Job, Maker, OutputReference
from monty.json import MSONable
from pydantic import BaseModel

from magflow.core.arrays import digest
from magflow.makers.roles import CAMPAIGN, Role


@dataclass
class Campaign(MSONable):
    """What every job of a campaign knows about it.

    Parameters
    ----------
    id
        Hash of everything that decides the science; part of every job uuid.
    name
        For people.
    elements
        All elements of the campaign, alphabetical: one level of theory and one species list for all frames.
    seed
        Every random number of the campaign follows from it.
    """

    id: str
    name: str
    elements: list[str]
    seed: int

    def seed_for(self, *words: object) -> int:
        """A 32-bit seed for one job; different words give independent streams."""
        return int(digest([str(self.seed).encode(), *(str(w).encode() for w in words)], 8), 16)


class PluginMaker(Maker):
    """A Maker whose fields may be pydantic models (engines, families, settings)."""

    def as_dict(self) -> dict[str, Any]:
        """JSON form; monty writes pydantic models only at the top level of a document, not inside a Maker."""
        d = super().as_dict()
        for key, value in d.items():
            if isinstance(value, BaseModel):
                kind = type(value)
                d[key] = {"@module": kind.__module__, "@class": kind.__qualname__, **value.model_dump(mode="json")}
        return d


READS = "magflow_reads"
"""Key of a job's metadata: uuids of the jobs whose outputs it reads from the store by itself."""


def prepare(job: Job, campaign: Campaign, role: Role, *, expose_store: bool = False, reads: Sequence[str] = ()) -> Job:
    """Make a job the campaign's: its name, its uuid, what it is and whose; and its access to the store.

    Parameters
    ----------
    reads
        Uuids of the jobs whose outputs it reads there by itself; they are ended when it begins. A queue whose jobs
        reach no store sends these along.
    """
    job.name = role.title
    job.set_uuid(role.uuid(campaign.id))
    job.metadata.update(_metadata(campaign, role))
    job.config.expose_store = expose_store
    if reads:
        job.metadata[READS] = list(dict.fromkeys(reads))
    return job


def adopt(work: Job | Flow, campaign: Campaign, role: Role) -> None:
    """The same for what another package's Maker made: it keeps its name, and what it adds is the campaign's too."""
    if isinstance(work, Job):
        work.set_uuid(role.uuid(campaign.id))
    work.update_metadata(_metadata(campaign, role))


def _metadata(campaign: Campaign, role: Role) -> dict[str, Any]:
    return {CAMPAIGN: campaign.id, **role.tag.as_metadata()}


def references(uuids: list[str]) -> list[OutputReference]:
    """References to the outputs of jobs by uuid."""
    return [OutputReference(u) for u in uuids]


class Stopwatch:
    """Wall and CPU seconds of a block: ``with Stopwatch() as watch: ...``."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __enter__(self) -> Stopwatch:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self.wall_seconds = time.perf_counter() - self._wall
        self.cpu_seconds = time.process_time() - self._cpu
