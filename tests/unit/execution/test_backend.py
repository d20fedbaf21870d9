"""A campaign has one queue in its life."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import toy_jobs as toy

from magflow.errors import CampaignError, StoreError
from magflow.execution.backend import FILE, Backend, BackendKind, backend_of, claim_backend, open_queue, require_backend
from magflow.execution.local.queue import JobQueue

PAD = Backend(BackendKind.FIREWORKS, "my_launchpad.yaml")
PROJECT = Backend(BackendKind.JOBFLOW_REMOTE, "site", "cpu")


@pytest.fixture
def campaign(tmp_path):
    return SimpleNamespace(path=tmp_path)


def test_a_new_campaign_may_go_anywhere_and_then_stays(campaign):
    assert backend_of(campaign) == Backend()
    for wanted in (Backend(), PAD, PROJECT):
        require_backend(campaign, wanted)
    claim_backend(campaign, PROJECT)
    assert backend_of(campaign) == PROJECT
    claim_backend(campaign, PROJECT)
    for other in (Backend(), PAD, Backend(BackendKind.JOBFLOW_REMOTE, "another", "cpu")):
        with pytest.raises(CampaignError, match="another queue") as caught:
            require_backend(campaign, other)
        assert caught.value.exit_code == 5


def test_a_campaign_that_was_run_here_is_not_submitted(campaign):
    open_queue(campaign)
    require_backend(campaign, PAD)  # a queue without jobs binds nobody
    JobQueue(campaign.path).submit(toy.add(1))
    require_backend(campaign, Backend())
    with pytest.raises(CampaignError, match="seen: local"):
        claim_backend(campaign, PAD)
    assert not (campaign.path / FILE).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "abacus"}', '{"kind": "fireworks", "pad": 1}', "{}"])
def test_a_damaged_note_is_said(campaign, text):
    (campaign.path / FILE).write_text(text)
    with pytest.raises(StoreError, match="backend cannot be read"):
        backend_of(campaign)
