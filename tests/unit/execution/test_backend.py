"""A campaign has one queue in its life."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

import toy_jobs as toy
from magflow import __version__
from magflow.core import plugins
from magflow.core.versions import NewerFormatError
from magflow.errors import CampaignError, StoreError
from magflow.execution.backend import (
    FILE,
    Backend,
    backend_named,
    backend_of,
    claim_backend,
    open_queue,
    open_reader,
    require_backend,
)
from magflow.execution.local.queue import JobQueue

HERE = backend_named("local")
PAD = backend_named("fireworks", "my_launchpad.yaml")
PROJECT = backend_named("jobflow-remote", "site", "cpu")


@pytest.fixture
def campaign(tmp_path):
    return SimpleNamespace(path=tmp_path)


def test_a_new_campaign_may_go_anywhere_and_then_stays(campaign):
    assert backend_of(campaign) == HERE
    for wanted in (HERE, PAD, PROJECT):
        require_backend(campaign, wanted)
    claim_backend(campaign, PROJECT)
    assert backend_of(campaign) == PROJECT
    claim_backend(campaign, PROJECT)
    for other in (HERE, PAD, backend_named("jobflow-remote", "another", "cpu")):
        with pytest.raises(CampaignError, match="another queue") as caught:
            require_backend(campaign, other)
        assert caught.value.exit_code == 5


def test_a_campaign_that_was_run_here_is_not_submitted(campaign):
    open_queue(campaign)
    require_backend(campaign, PAD)  # a queue without jobs binds nobody
    JobQueue(campaign.path).submit(toy.add(1))
    require_backend(campaign, HERE)
    with pytest.raises(CampaignError, match="seen: local"):
        claim_backend(campaign, PAD)
    assert not (campaign.path / FILE).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "abacus"}', '{"kind": "abacus", "format": 1}', "{}"])
def test_a_damaged_note_is_said(campaign, text):
    (campaign.path / FILE).write_text(text)
    with pytest.raises(StoreError, match="backend cannot be read"):
        backend_of(campaign)


def test_a_note_of_magflow_0_1_is_read(campaign):
    for kind, known in (("fireworks", PAD), ("jobflow-remote", PROJECT)):
        (campaign.path / FILE).write_text(json.dumps({"kind": kind, "where": known.where, "worker": known.worker}))
        assert backend_of(campaign) == known


def test_a_note_says_its_format_and_may_hold_what_a_newer_magflow_added(campaign):
    claim_backend(campaign, PROJECT)
    noted = json.loads((campaign.path / FILE).read_text())
    assert (noted["format"], noted["magflow"]) == (1, __version__)
    (campaign.path / FILE).write_text(json.dumps(noted | {"magflow": "9.1", "colour": "red"}))
    assert backend_of(campaign) == PROJECT
    (campaign.path / FILE).write_text(json.dumps(noted | {"magflow": "9.1", "format": 2}))
    with pytest.raises(NewerFormatError, match=r"written by magflow 9\.1"):
        backend_of(campaign)


def test_a_note_is_there_whole_or_not_at_all(campaign, monkeypatch):
    claim_backend(campaign, PROJECT)
    before = (campaign.path / FILE).read_text()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StoreError, match="cannot write"):
        claim_backend(campaign, PROJECT)
    assert (campaign.path / FILE).read_text() == before


class Elsewhere(Backend):
    """A back end of somebody else's."""

    name, hint = "elsewhere", "ask them"

    def reader(self, directory):
        return "their reader"

    def queue(self, directory):
        return "their queue"


def test_a_back_end_of_somebody_elses_needs_one_entry_point(campaign, monkeypatch):
    entry = EntryPoint("elsewhere", f"{__name__}:Elsewhere", plugins.BACKENDS)
    known = {**plugins._found(plugins.BACKENDS), "elsewhere": entry}
    monkeypatch.setattr(plugins, "_found", lambda group: known)
    theirs = backend_named("elsewhere", "there")
    claim_backend(campaign, theirs)
    assert backend_of(campaign) == theirs
    assert (open_reader(campaign), open_queue(campaign)) == ("their reader", "their queue")
    with pytest.raises(CampaignError, match="ask them"):
        require_backend(campaign, HERE)
