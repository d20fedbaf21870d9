"""What a run leaves for people: the report and the newest ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from magflow.campaign.directory import CampaignDirectory
from magflow.report.page import write
from magflow.report.record import read_record
from magflow.stores import queries


@dataclass(frozen=True)
class Results:
    """Where the report is, and the ensemble (None if none was trained)."""

    report: Path
    models: Path | None


def write_results(directory: CampaignDirectory) -> Results:
    """Write ``report.html`` and ``models/`` of a campaign.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    models = None
    if queries.models(directory.store, campaign=directory.id):
        queries.latest_ensemble(directory.store, directory.id).save(directory.models)
        models = directory.models
    return Results(write(read_record(directory.path), directory.report), models)
