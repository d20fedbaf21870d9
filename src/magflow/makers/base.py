"""What all Makers share: the campaign they work for, job names that are the same on every run, plug-ins as fields."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobflow import Flow, Job, Maker, OutputReference
from monty.json import MSONable
from pydantic import BaseModel

from magflow.core.arrays import digest

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "magflow")


class Category(StrEnum):
    """Kinds of work, for executors that send them to different resources; kept in ``job.metadata["category"]``."""

    DFT = "dft"
    TRAIN = "train"
    MD = "md"
    LIGHT = "light"


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

    def uuid_for(self, *words: object) -> str:
        """The uuid of one job: the same whenever the same campaign makes it, so that resubmission is harmless."""
        return str(uuid.uuid5(_NAMESPACE, "/".join((self.id, *map(str, words)))))


def marked(flow: Flow, campaign: Campaign) -> Flow:
    """`flow` with the campaign's id in the metadata of its jobs and of all that they add: whose document is whose."""
    flow.update_metadata({"campaign": campaign.id})
    return flow


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


def prepare(job: Job, uuid_: str, category: Category, *, expose_store: bool = False) -> Job:
    """Give a job its uuid, category and access to the store."""
    job.set_uuid(uuid_)
    job.metadata["category"] = str(category)
    job.config.expose_store = expose_store
    return job


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
