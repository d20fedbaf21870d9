"""A whole campaign on real ABINIT, as small as it gets: a coarse mesh and nine labels."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from ase.io import read
from typer.testing import CliRunner

from magflow.campaign.directory import CampaignDirectory
from magflow.cli.app import app
from magflow.stores import contents, queries

pytestmark = [
    pytest.mark.abinit,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("abinit") is None, reason="ABINIT is not installed: make engines"),
]


def test_constrained_dft_labels_train_an_ensemble_that_predicts_them(campaign_file, tmp_path):
    coarse = {"kpoints": [2, 2, 2], "ecut_ha": 8, "pawecutdg_ha": 16, "attempts": 1}
    file = campaign_file(
        label={"engine": "abinit", "settings": coarse},
        select={"initial": 6, "batch": 3},
        stop={"labels": 9},
        explore={"domain": {"displacement": 0.05}},
    )
    cli, run = CliRunner(), tmp_path / "run"
    result = cli.invoke(app, ["run", str(file), "--dir", str(run), "--quiet"])
    assert result.exit_code == 0, result.output + result.stderr
    store = CampaignDirectory.existing(run).store
    labels = queries.labels(store)
    assert len(labels) == 9
    usable = [d for d in labels if d.state == "ok"]
    assert len(usable) >= 6, [d.message for d in labels if d.state == "failed"]
    assert {d.level_of_theory["code"] for d in usable} == {"abinit"}
    assert all(d.cpu_seconds > 0.2 and d.kind == "constrained" for d in usable)
    for item in contents.labelled_frames(store):
        np.testing.assert_allclose(item.label.magmoms, item.frame.magmoms, atol=1e-3)
        assert np.isfinite(item.label.magnetic_forces[:, 2]).all()
    assert cli.invoke(app, ["export", str(run), "-o", str(tmp_path / "labels.extxyz")]).exit_code == 0
    predicted = tmp_path / "predicted.extxyz"
    made = cli.invoke(app, ["predict", str(run), str(tmp_path / "labels.extxyz"), "-o", str(predicted)])
    assert made.exit_code == 0, made.stderr
    energies = [atoms.get_potential_energy() / len(atoms) for atoms in read(predicted, index=":")]
    truth = [item.label.energy / len(item.frame) for item in contents.labelled_frames(store)]
    assert np.corrcoef(energies, truth)[0, 1] > 0.99
