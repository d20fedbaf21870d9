"""Campaigns worked off in the test's own process: each worker process would import for seconds before its first job."""

from __future__ import annotations

from pathlib import Path

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.worker import Worker


def run(file: Path, directory: Path) -> CampaignDirectory:
    """A campaign from its file to its end; one that was run before goes on."""
    here = CampaignDirectory.prepare(directory, file, load_campaign(file))
    submit_campaign(here)
    work(here)
    return here


def work(here: CampaignDirectory) -> None:
    """Do what is left in the queue of a campaign; what is patched holds for its jobs too."""
    Worker(JobQueue(here.path), here.store, "test").run(until_drained=True)
