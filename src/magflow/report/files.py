"""What a run leaves for people: the report and the newest ensemble, as it was before force constants, too."""

from __future__ import annotations

from magflow.campaign.directory import CampaignDirectory
from magflow.report.page import write
from magflow.report.record import read_record
from magflow.stores import contents, queries


def write_results(directory: CampaignDirectory) -> None:
    """Write ``report.html`` of a campaign, ``models/`` if it has trained an ensemble, and ``models-untuned/``.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    if queries.models(directory.store, campaign=directory.id):
        contents.latest_ensemble(directory.store, directory.id).save(directory.models)
        ended = queries.outcome(directory.store, directory.id)
        if ended is not None and ended.tuned:
            contents.latest_ensemble(directory.store, directory.id, untuned=True).save(directory.untuned)
    write(read_record(directory.path), directory.report)
