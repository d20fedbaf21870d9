"""The campaign of test_campaign with DeePMD in place of mMTP: only `train` in its file differs."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor
from magflow.stores import queries

pytestmark = [
    pytest.mark.deepmd,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.usefixtures("deepmd_kit"),
]

SETTINGS = {
    "cutoff": 3.5,
    "descriptor_neurons": [8, 16],
    "fitting_neurons": [32, 32],
    "batch_atoms": 8,
    "steps": 40,
    "interval": 20,
}


@pytest.mark.parametrize("family", ["dp", "dp-spin"])
def test_a_campaign_trains_with_deepmd(family, tmp_path, write_campaign):
    file = write_campaign(tmp_path / "tiny.yaml", stop={"labels": 15})
    content = YAML(typ="safe").load(file)
    content["train"] = {"family": family, "ensemble": 2, "settings": SETTINGS}
    YAML(typ="safe").dump(content, file)
    here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
    submit_campaign(here)
    LocalExecutor(here.path, workers=2).run()
    assert queries.outcome(here.store).reason == "label-budget"
    last = queries.iterations(here.store)[-1]
    assert last.labels_total == 15 and last.rmse["forces"] > 0.0
    assert ("magnetic_forces" in last.rmse) == (family == "dp-spin")
    ensemble = queries.latest_ensemble(here.store)
    assert ensemble.family_name == family and len(ensemble.members) == 2
