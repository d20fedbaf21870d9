"""The campaign of test_campaign with another program in place of mMTP: only `train` in its file differs."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor
from magflow.stores import contents, queries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

DEEPMD = {
    "cutoff": 3.5,
    "descriptor_neurons": [8, 16],
    "fitting_neurons": [32, 32],
    "batch_atoms": 8,
    "steps": 40,
    "interval": 20,
}
NEQUIP = {"cutoff": 3.5, "features": 4, "radial_neurons": 8, "epochs": 6, "batch_frames": 2}
ALLEGRO = {"cutoff": 3.5, "features": 4, "tensor_features": 2, "neurons": 8, "epochs": 6, "batch_frames": 2}


@pytest.mark.parametrize(
    ("program", "family", "settings"),
    [
        pytest.param("deepmd_kit", "dp", DEEPMD, marks=pytest.mark.deepmd),
        pytest.param("deepmd_kit", "dp-spin", DEEPMD, marks=pytest.mark.deepmd),
        pytest.param("nequip", "nequip", NEQUIP, marks=pytest.mark.nequip),
        pytest.param("nequip", "nequip-spin", NEQUIP, marks=pytest.mark.nequip),
        pytest.param("nequip", "allegro", ALLEGRO, marks=pytest.mark.nequip),
    ],
)
def test_a_campaign_trains_with_another_program(program, family, settings, tmp_path, write_campaign, request):
    request.getfixturevalue(program)  # skips without it
    file = write_campaign(tmp_path / "tiny.yaml", stop={"labels": 15})
    content = YAML(typ="safe").load(file)
    content["train"] = {"family": family, "ensemble": 2, "settings": settings}
    YAML(typ="safe").dump(content, file)
    here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
    submit_campaign(here)
    LocalExecutor(here.path, workers=2).run()
    assert queries.outcome(here.store).reason == "label-budget"
    last = queries.iterations(here.store)[-1]
    assert last.labels_total == 15 and last.rmse["forces"] > 0.0
    assert ("magnetic_forces" in last.rmse) == family.endswith("-spin")
    ensemble = contents.latest_ensemble(here.store)
    assert ensemble.family_name == family and len(ensemble.members) == 2
