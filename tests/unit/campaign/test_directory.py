"""The directory of a campaign whose identity was left empty: taken up again by its own file, and by no other."""

from __future__ import annotations

import json

import pytest

from magflow.campaign.directory import FILE, IDENTITY, CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.errors import CampaignError, StoreError
from magflow.stores import connection
from magflow.stores.layout import DATABASE


@pytest.fixture
def prepared(tmp_path, campaign_file):
    """A campaign whose store holds a document of it, and the way to prepare it again."""
    file = campaign_file()
    here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
    here.store.update({"uuid": "1", "index": 1, "output": 1, "metadata": {"campaign": here.id}})
    yield here, lambda file=file: CampaignDirectory.prepare(here.path, file, load_campaign(file))
    connection.disconnect(here.path / DATABASE)


@pytest.mark.parametrize("left", [b"", b"\0" * 80, b'{"id": "', b"[1]"], ids=["empty", "zeros", "cut", "other"])
def test_an_empty_or_damaged_identity_is_written_anew(prepared, left):
    here, again = prepared
    (here.path / IDENTITY).write_bytes(left)
    (here.path / FILE).write_bytes(b"")
    with pytest.raises(StoreError, match="identity cannot be read") as caught:
        CampaignDirectory.existing(here.path)
    assert "magflow run" in caught.value.hint
    again()
    assert json.loads((here.path / IDENTITY).read_text())["id"] == CampaignDirectory.existing(here.path).id == here.id
    assert CampaignDirectory.existing(here.path).spec.name == here.spec.name


@pytest.mark.parametrize("left", [b"", None], ids=["empty", "missing"])
def test_but_not_by_another_campaign(prepared, left, campaign_file):
    here, again = prepared
    mine = here.id
    (here.path / IDENTITY).unlink()
    if left is not None:
        (here.path / IDENTITY).write_bytes(left)
    with pytest.raises(CampaignError, match="another campaign") as caught:
        again(campaign_file(("seed: ", "seed: 4")))
    assert caught.value.seen == mine
