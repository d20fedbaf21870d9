"""What `magflow check` doubts, where in the file it says so, and the label that it tries."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow.campaign.doubts import doubts
from magflow.campaign.load import load_campaign
from magflow.campaign.source import dotted
from magflow.cli.app import app
from magflow.core.frame import Frame
from magflow.core.label import Cost, Failure, FailureKind, Label
from magflow.dft.abinit import AbinitEngine
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.dft.vasp import VaspEngine

CUBE = Frame(("Fe", "Fe"), 2.84 * np.eye(3), [[0, 0, 0], [1.42] * 3])
SLAB = Frame(("Fe", "Fe"), np.diag([2.84, 2.84, 20.0]), [[0, 0, 0], [1.42] * 3])


def doubted(path) -> dict[str, str]:
    return {dotted(key): f"{doubt.detail}; {doubt.hint}" for key, doubt in doubts(load_campaign(path))}


def told(engine, *frames) -> dict[str, str]:
    return {doubt.setting: f"{doubt.detail}; {doubt.hint}" for doubt in engine.doubts(frames)}


def check(path, *options):
    return CliRunner(env={"COLUMNS": "300"}).invoke(
        app, ["check", str(path), "--dir", str(path.parent / "r"), *options]
    )


def test_nothing_is_doubted_of_what_is_usual(campaign_file):
    assert not doubted(campaign_file())
    assert not told(AbinitEngine(), CUBE) and not told(VaspEngine(version="6.4.2"), CUBE)
    assert not told(AbinitEngine(kpoints=0.2), CUBE, SLAB)


@pytest.mark.parametrize(
    ("engine", "setting", "says"),
    [
        (AbinitEngine(ecut_ha=400, pawecutdg_ha=800), "ecut_ha", "400 hartree is 10885 eV; in eV? then 14.7"),
        (AbinitEngine(tsmear_ha=300), "tsmear_ha", "in K? then 0.00095"),
        (AbinitEngine(tsmear_ha=0.2), "tsmear_ha", "63155 K; in eV? then 0.0073"),
        (AbinitEngine(ecut_ha=30), "pawecutdg_ha", "coarser than the plane waves"),
        (VaspEngine(version="6.4.2", encut_ev=18), "encut_ev", "in hartree? then 489.8"),
        (VaspEngine(version="6.4.2", sigma_ev=300), "sigma_ev", "in K? then 0.026"),
    ],
)
def test_units_that_were_mistaken(engine, setting, says):
    assert says in told(engine, CUBE)[setting]


def test_a_mesh_that_is_fine_for_one_cell_and_coarse_for_another():
    double = Frame(("Fe",) * 4, np.diag([5.68, 2.84, 2.84]), [[0, 0, 0], [1.42] * 3, [2.84, 0, 0], [4.26, 1.42, 1.42]])
    for engine in (AbinitEngine(), VaspEngine(version="6.4.2", kpoints=(4, 4, 4))):
        assert "0.55 1/A in Fe2 and 0.28 1/A in Fe4" in told(engine, CUBE, double)["kpoints"]
        assert "0.55 1/A in Fe2 and 0.079 1/A" in told(engine, SLAB)["kpoints"]


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ([("a: 2.836", "a: 5.36")], "system.prototypes[1].builder.a", "in bohr? then a: 2.836"),
        ([("family: mmtp", "family: mmtp\n  settings: {cutoff: 2.5}")], "train.settings.cutoff", "sees no neighbour"),
        ([("displacement: 0.1 ", "displacement: 0.0 ")], "stop.targets.forces_mev_per_a", "no atom is ever displaced"),
    ],
)
def test_what_the_physics_says(campaign_file, changes, key, says):
    found = doubted(campaign_file(*changes))
    assert list(found) == [key]
    assert says in found[key]


def test_a_doubt_says_where_and_refuses_nothing(campaign_file):
    path = campaign_file(("a: 2.836", "a: 5.36"))
    line = 1 + next(n for n, text in enumerate(path.read_text().splitlines()) if "5.36" in text)
    done = check(path)
    assert done.exit_code == 0
    assert f"DOUBT    {path}:{line} system.prototypes[1].builder.a: the nearest atoms are 4.64 A apart" in done.stdout
    (doubt,) = json.loads(check(path, "--json").stdout)["doubts"]
    assert doubt["place"] == f"{path}:{line} system.prototypes[1].builder.a"


def test_a_problem_says_where(campaign_file):
    path = campaign_file(("a: 2.836", "a: 1.0"), ("labels: 50", "labels: 10"))
    lines = path.read_text().splitlines()
    done = check(path)
    assert done.exit_code == 2
    crystal = 1 + next(n for n, text in enumerate(lines) if "bcc-Fe" in text)
    assert f"PROBLEM  {path}:{crystal} system.prototypes[1]: prototype bcc-Fe: atoms are closer" in done.stdout
    budget = 1 + next(n for n, text in enumerate(lines) if "initial" in text)
    assert f"PROBLEM  {path}:{budget} select.initial: budget: the first iteration" in done.stdout


def test_two_prototypes_of_one_name_are_refused_where_they_stand(campaign_file):
    done = check(campaign_file(("name: bcc-Fe", "name: B2-FeAl")))
    assert done.exit_code == 2
    assert "system.prototypes: seen B2-FeAl; expected prototypes of different names" in done.stderr


def test_one_label_is_tried_and_the_campaign_priced(campaign_file, monkeypatch):
    seen = []
    label = SpinLatticeEngine.label

    def noted(self, frame, level, workdir):
        seen.append((frame, workdir))
        cost = Cost(cpu_seconds=0.3, wall_seconds=30.0)  # a machine that does much else
        return replace(label(self, frame, level, workdir), cost=cost)

    monkeypatch.setattr(SpinLatticeEngine, "label", noted)
    path = campaign_file()
    done = check(path, "--try")
    assert done.exit_code == 0, done.output
    ((frame, workdir),) = seen
    assert (frame.formula, not workdir.exists()) == ("Al1Fe1", True)
    assert frame.magmoms[:, 2] == pytest.approx([0.75 * 2.8, 0.0])
    took = float(re.search(r"label: Al1Fe1 in (\S+) CPU s", done.stdout)[1])
    hours = float(re.search(r"price: 50 labels, about (\S+) core-hours", done.stdout)[1])
    assert took == 0.3
    assert hours == pytest.approx(50 * took / 3600, rel=0.06), "cells of one size cost the same"
    assert len(check(path, "--try", "--json").stdout) > 100


def test_a_label_that_fails_is_told_and_priced_by_nobody(campaign_file, monkeypatch):
    def fail(self, frame, level, workdir):
        return Label.failed(frame, level, FailureKind.CRASH, "it broke")

    monkeypatch.setattr(SpinLatticeEngine, "label", fail)
    done = check(campaign_file(), "--try")
    assert done.exit_code == 5
    assert "crash: it broke" in done.stdout and "price" not in done.stdout
    assert Failure(FailureKind.CRASH, "it broke").kind in done.stdout


def test_a_crystal_far_from_its_volume_is_doubted(campaign_file):
    done = check(campaign_file(("a: 2.884", "a: 2.6")), "--try")
    assert "too small for this level of theory" in done.stdout


@pytest.mark.slow
@pytest.mark.abinit
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("abinit") is None, reason="ABINIT is not installed: make engines")
@pytest.mark.parametrize("words", ["Ni --structure fcc", "Cr"])
def test_an_element_that_nobody_prepared_is_labelled(words, tmp_path, monkeypatch):
    """From its name to a label of ABINIT, with the spheres that its dataset needs."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["init", "--elements", *words.split(), "-o", "c.yaml"]).exit_code == 0
    text = (tmp_path / "c.yaml").read_text().replace("ecut_ha: 14 ", "ecut_ha: 8 ").replace("dg_ha: 28 ", "dg_ha: 16 ")
    (tmp_path / "c.yaml").write_text(text)
    done = check(tmp_path / "c.yaml", "--try")
    assert done.exit_code == 0, done.output
    assert "CPU s" in done.stdout
