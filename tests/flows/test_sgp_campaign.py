"""A campaign that learns one Gaussian process and chooses by its variance: only `train` is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor
from magflow.potentials.sgp import SgpPotential
from magflow.stores import contents, queries


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_runs_to_its_end(tmp_path: Path, write_campaign):
    file = write_campaign(tmp_path / "tiny.yaml")
    content = YAML(typ="safe").load(file)
    settings = {"mmtp": content["train"]["settings"]}
    content["train"] = {"family": "sgp", "ensemble": 1, "uncertainty": "laplace", "settings": settings}
    YAML(typ="safe").dump(content, file)
    here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
    submit_campaign(here)
    LocalExecutor(here.path, workers=2).run()
    assert queries.outcome(here.store).reason == "label-budget"
    ensemble = contents.latest_ensemble(here.store, here.id)
    assert all(isinstance(member, SgpPotential) for member in ensemble.members)
    frames = [item.configuration for item in contents.labelled_frames(here.store, campaign=here.id)]
    told = ensemble.predict(frames).deviation
    assert len(ensemble.members) == 1
    assert np.isfinite(told.forces).all() and (told.energy > 0.0).all()
