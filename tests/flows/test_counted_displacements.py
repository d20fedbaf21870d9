"""Labels of displaced atoms are counted when a campaign file is taken up, not whenever somebody looks."""

from __future__ import annotations

import json

import pytest

from magflow.campaign.budget import labels_wanted
from magflow.campaign.directory import FILE, IDENTITY, CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.execution.status import campaign_status
from magflow.stores import connection
from magflow.stores.layout import DATABASE


@pytest.fixture
def with_phonons(tmp_path, write_campaign):
    """A campaign that will label displaced atoms, prepared and nothing else."""
    file = write_campaign(tmp_path / "tiny.yaml", phonons={"supercells": [[1, 1, 2]]})
    here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
    here.store.update({"uuid": "1", "index": 1, "output": 1, "metadata": {"campaign": here.id}})
    yield here
    connection.disconnect(here.path / DATABASE)


def test_who_looks_does_not_count_displaced_atoms_again(with_phonons, monkeypatch):
    here = CampaignDirectory.existing(with_phonons.path)
    monkeypatch.setattr(CampaignDirectory, "spec", property(lambda self: pytest.fail("the whole file was read")))
    status = campaign_status(here)
    assert (status.label_budget, status.beside) == (20 - 7, {"phonon": (0, 7)})


def test_a_file_that_was_edited_in_place_is_counted_anew(with_phonons):
    file = with_phonons.path / FILE
    file.write_text(file.read_text().replace("supercells:", "structures: [B2-FeAl]\n  supercells:"))
    here = CampaignDirectory.existing(with_phonons.path)
    assert here.phonon_labels == sum(labels_wanted(here.spec)) == 3
    assert json.loads((here.path / IDENTITY).read_text())["phonon_labels"]["labels"] == 7


@pytest.mark.parametrize("kept", [None, 3, {"file": "other", "labels": 99}, {}])
def test_an_identity_of_an_older_release_is_counted_anew(with_phonons, kept):
    file = with_phonons.path / IDENTITY
    content = json.loads(file.read_text())
    content.pop("phonon_labels")
    file.write_text(json.dumps(content | ({} if kept is None else {"phonon_labels": kept})))
    assert CampaignDirectory.existing(with_phonons.path).phonon_labels == 7
