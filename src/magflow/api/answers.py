"""Answers to what people ask a campaign: rows of labels, frames, models, iterations, measurements or jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from magflow.campaign.directory import CampaignDirectory
from magflow.errors import InputError
from magflow.execution.backend import open_reader
from magflow.stores.questions import Question, stored_rows

ROWS = ("labels", "frames", "models", "iterations", "measurements", "jobs")
"""What can be asked for."""


def answer(here: CampaignDirectory, what: str, question: Question) -> list[dict[str, Any]]:
    """The rows that answer a question to a campaign.

    Raises
    ------
    InputError
        If there are no rows of the kind `what`, or a field is unknown.
    """
    if what not in ROWS:
        raise InputError("nothing of that kind is listed", seen=what, expected=", ".join(ROWS))
    found = question.arranged(_rows(here, what, question), where := f"query {what}")
    if not found:  # because of a field that there is not?
        question.require_known(list(islice(_rows(here, what, Question(fields=question.fields)), 1)), where)
    return found


def _rows(here: CampaignDirectory, what: str, question: Question) -> Iterator[dict[str, Any]]:
    if what == "jobs":
        return question.matching(_jobs(here))
    rows = stored_rows(here.documents, here.id, what, question)
    return _with_directories(here, rows) if what == "labels" and "directory" in question.keys else rows


def _with_directories(here: CampaignDirectory, labels: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Labels with the directory that their job ran in; None where nothing of it was kept, or it was in none."""
    kept = {job.uuid: job.directory for job in open_reader(here).jobs()}
    mine = {"output.doc_type": "label", "metadata.campaign": here.id}
    jobs = here.documents.docs_store.query(mine, properties=["uuid", "output.label_id", "output.iteration"])
    of = {(d["output"]["label_id"], d["output"]["iteration"]): kept.get(d["uuid"]) for d in jobs}
    for row in labels:
        yield row | {"directory": of.get((row["label_id"], row["iteration"]))}


def _jobs(here: CampaignDirectory) -> Iterator[dict[str, Any]]:
    for job in open_reader(here).jobs():
        yield asdict(job) | {"state": str(job.state), "metadata": dict(job.metadata)}
