from __future__ import annotations

import os
import re

import numpy as np
import pytest
from pymongo import MongoClient

from magflow.campaign.beginnings import of_elements
from magflow.campaign.build import campaign_maker
from magflow.campaign.check import check_campaign, estimate, findings, require_ready
from magflow.campaign.found import looks_at_labels
from magflow.campaign.load import load_campaign, parse_campaign
from magflow.campaign.source import parse_source
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import InputError, MissingToolError, StoreError
from magflow.io.extxyz_writer import write_extxyz


def failed(path, directory):
    return {p.name: p for p in check_campaign(load_campaign(path), directory) if not p.ok}


def test_a_good_campaign_is_ready(campaign_file, tmp_path):
    spec = load_campaign(campaign_file())
    assert [f.title for f in findings(spec, tmp_path)] == [
        "label engine",
        "potential family",
        "structures",
        "settings",
        "store",
        "cost",
    ]
    assert all(p.ok and p.detail for p in check_campaign(spec, tmp_path / "new" / "deeper"))
    require_ready(spec, tmp_path)
    assert not (tmp_path / "new").exists()


FE = '2\nLattice="2.8 0 0 0 2.8 0 0 0 2.8" Properties=species:S:1:pos:R:3\nFe 0 0 0\nFe 1.4 1.4 1.4\n'
BUILDER = ("builder: {structure: bcc, species: [Fe], a: 2.836, cubic: true}", "file: fe.xyz")


@pytest.mark.parametrize(
    ("change", "probe", "detail"),
    [
        (("a: 2.836", "a: 1.2"), "prototype bcc-Fe", "closer than"),
        (("species: [Fe, Al]", "species: [Fe, Ni]"), "prototype B2-FeAl", "not in the campaign"),
        (("    Fe: [0.0, 2.8]\n", ""), "moments", "has no range"),
        (("elements: [Al, Fe]", "elements: [Al, Fe, O]"), "elements", "in no prototype"),
        (("ensemble: 5", "ensemble: 1"), "ensemble", "no members to disagree"),
        (("ensemble: 5", "ensemble: 1\n  uncertainty: both"), "ensemble", "no members to disagree"),
        (
            ("ensemble: 5", "uncertainty: both\n  settings: {grade: linear}"),
            "ensemble",
            "do not know what labels leave",
        ),
        (("labels: 50", "labels: 10"), "budget", "more labels than"),
        (("candidates: 500", "candidates: 5"), "budget", "fewer frames"),
        (("elements: [Al, Fe]", "elements: [Al, Fe, Cu]"), "spin-lattice", "none for Cu"),
    ],
)
def test_what_is_found(campaign_file, tmp_path, change, probe, detail):
    found = failed(campaign_file(change), tmp_path)
    assert detail in found[probe].detail


def test_frames_that_the_engine_refuses_are_told_with_their_share(tmp_path):
    """Three lattice constants hold fewer than half of the shapes of fcc cells; their labels would fail one by one."""
    text = of_elements(["Ni"], ["fcc"]).text("abinit", 30)
    spec = parse_campaign(parse_source(text.replace("cube: 14.08", "cube: 10.56"), "made"), "made")
    problem = {p.name: p for p in check_campaign(spec, tmp_path) if not p.ok}["prototype fcc-Ni-waves"]
    assert "abinit refuses" in problem.detail
    assert "of 32 frames, the first: kpoints: the cell does not fit" in problem.detail
    assert "four lattice constants" in problem.detail


def test_one_fit_is_enough_where_it_tells_its_deviation(campaign_file, tmp_path):
    plain = load_campaign(campaign_file())
    alone = load_campaign(campaign_file(("ensemble: 5", "ensemble: 1\n  uncertainty: laplace")))
    assert not [p for p in check_campaign(alone, tmp_path) if not p.ok]
    assert (plain.train.bags, alone.train.bags) == (True, False)
    assert campaign_maker(alone).iteration.train.uncertainty == "laplace"
    written = load_campaign(campaign_file(("ensemble: 5", "ensemble: 5\n  bagging: true\n  uncertainty: ensemble")))
    assert written.fingerprint == plain.fingerprint != alone.fingerprint


def test_a_target_that_the_family_does_not_predict_is_told(campaign_file, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_DEEPMD_PYTHON", "no-such-python")
    for family, told in (("dp", True), ("dp-spin", False), ("mmtp", False)):
        spec = load_campaign(campaign_file(("family: mmtp", f"family: {family}")))
        (targets,) = [p for p in check_campaign(spec, tmp_path) if p.name == "targets"]
        assert targets.ok and ("dp predicts no magnetic forces" in targets.detail) == told


def test_it_is_told_after_how_many_labels_the_random_ones_can_show_that_targets_are_reached(campaign_file, tmp_path):
    def told(change: str) -> str:
        spec = load_campaign(campaign_file(("select:\n", f"select:\n  {change}\n")))
        return next(p.detail for p in check_campaign(spec, tmp_path) if p.name == "targets")

    none, few, many = (told(f"random_share: {share}") for share in (0.0, 0.1, 0.5))
    assert "no label is drawn at random" in none
    labels = [int(re.search(r"after (\d+) labels, 11 of them random", said)[1]) for said in (few, many)]
    assert labels[0] > 2 * labels[1]


def test_targets_are_needed_for_automatic_trust(campaign_file, tmp_path):
    path = campaign_file(
        ("    energy_mev_per_atom: 2\n", ""), ("    forces_mev_per_a: 20\n", ""), ("  targets:\n", "  targets: {}\n")
    )
    path.write_text(path.read_text().replace("    magnetic_forces_mev_per_mub: 10\n", ""))
    assert "trust: auto" in failed(path, tmp_path)["targets"].detail


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (None, "no such structure file"),
        ("garbage", "not a number of atoms"),
        (FE.replace("2.8 0 0 0 2.8", "2.8 0 0 2.8 0"), "no volume"),
        (FE.replace("Fe 1.4", "Xq 1.4"), "unknown element"),
        (FE.replace("1.4 1.4 1.4", "nan 1.4 1.4"), "not finite"),
        (FE.replace("1.4 1.4 1.4", "0.5 0.5 0.5"), "closer than"),
        (FE + FE, "not one configuration"),
    ],
)
def test_structure_files(campaign_file, tmp_path, content, detail):
    path = campaign_file(BUILDER)
    if content is not None:
        (tmp_path / "fe.xyz").write_text(content)
    assert detail in failed(path, tmp_path)["prototype bcc-Fe"].detail


@pytest.mark.parametrize(("name", "content"), [("POSCAR", "not a POSCAR\n1\n"), ("fe.cif", "data_x\nloop_\n_a\n")])
def test_damaged_structure_files_of_other_formats(campaign_file, tmp_path, name, content):
    path = campaign_file((BUILDER[0], f"file: {name}"))
    (tmp_path / name).write_text(content)
    assert "prototype bcc-Fe" in failed(path, tmp_path)


def test_estimate(campaign_file, tmp_path):
    spec = load_campaign(campaign_file(("engine: spin-lattice", "core_seconds: 36\n  engine: spin-lattice")))
    assert "50 labels, about 0.5 core-hours" in check_campaign(spec, tmp_path)[-1].detail


class TestMixedSizes:
    COST = ("engine: spin-lattice", "core_seconds: {Al1Fe1: 9, Fe2: 18}\n  engine: spin-lattice")

    def told(self, campaign_file, select):
        changes = (self.COST, ("labels: 50", "labels: 80"), ("select:\n", f"select:\n{select}"))
        return estimate(load_campaign(campaign_file(*changes)))

    def test_quotas_decide_the_mixture(self, campaign_file):
        shares = "{Al1Fe1 FM: 1, Al1Fe1 NM: 0, Fe2 FM: 0, Fe2 FiM: 0, Fe2 AFM: 0, Fe2 NM: 0}"
        told = self.told(campaign_file, f"  quotas: {{minimum_share: 0, shares: {shares}}}\n")
        assert "80 labels, about 0.2 core-hours" in told

    def test_random_labels_are_mixed_as_the_domain(self, campaign_file):
        assert "80 labels, about 0.3 core-hours" in self.told(campaign_file, "  strategy: random\n")

    def test_a_composition_without_a_cost(self, campaign_file, tmp_path):
        path = campaign_file(("engine: spin-lattice", "core_seconds: {Fe2: 18}\n  engine: spin-lattice"))
        assert "Al1Fe1" in failed(path, tmp_path)["estimate"].detail


def test_labels_beside_the_loop_are_in_the_estimate(campaign_file):
    """10 s each of 75 labels, 80 non-magnetic ones and 40 held-out ones."""
    told = estimate(load_campaign(campaign_file(template="transfer_feal")))
    assert "75 labels and 120 beside the loop, about 0.54 core-hours" in told


@pytest.mark.parametrize(("labels", "most"), [(80, 7), (81, 8), (20, 1)])
def test_a_last_batch_that_is_not_full_is_an_iteration(campaign_file, tmp_path, labels, most):
    path = campaign_file(("labels: 50", f"labels: {labels}"), ("  iterations: 8\n", ""))
    (budget,) = [p for p in check_campaign(load_campaign(path), tmp_path) if p.name == "budget"]
    assert budget.detail == f"20 labels, then 10 per iteration; at most {most} iterations"


def test_everything_that_failed_is_told_at_once(campaign_file, tmp_path):
    path = campaign_file(("a: 2.836", "a: 1.2"), ("ensemble: 5", "ensemble: 1"), ("labels: 50", "labels: 10"))
    told = r"closer than.*; ensemble: .*no members to disagree.*; budget: .*more labels than"
    with pytest.raises(InputError, match=told):
        require_ready(load_campaign(path), tmp_path)


def test_missing_abinit_is_a_missing_tool(campaign_file, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_ABINIT_COMMAND", str(tmp_path / "no-such-abinit"))
    with pytest.raises(MissingToolError, match="no-such-abinit"):
        require_ready(load_campaign(campaign_file(template="feal_quick")), tmp_path)


def test_missing_datasets_are_named(campaign_file, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_DATASET_DIRS", f'["{tmp_path}"]')
    found = failed(campaign_file(template="feal_quick"), tmp_path)
    assert any("Fe" in name and "dataset" in name.lower() for name in found)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_directory(campaign_file, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        require_ready(load_campaign(campaign_file()), closed / "run")


def test_a_file_in_the_way_of_the_directory(campaign_file, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        require_ready(load_campaign(campaign_file()), tmp_path / "file" / "run")


def test_a_database_is_contacted_and_nothing_is_written(campaign_file, tmp_path, wire_mongo):
    uri = f"{wire_mongo.uri}checked"
    path = campaign_file(("magflow: 1 ", f"store: {{mongodb: {{uri: '{uri}'}}}}\nmagflow: 1 "))
    (store,) = [p for p in check_campaign(load_campaign(path), tmp_path) if p.name == "store"]
    assert store.ok
    assert "0 documents" in store.detail
    assert "indexes will be created" in store.detail
    with MongoClient(uri) as client:
        assert client.get_default_database().list_collection_names() == []
    elsewhere = "{uri: 'mongodb://127.0.0.1:1', options: {serverSelectionTimeoutMS: 200}}"
    path = campaign_file(("magflow: 1 ", f"store: {{mongodb: {elsewhere}}}\nmagflow: 1 "))
    assert "does not answer" in failed(path, tmp_path)["store"].detail
    with pytest.raises(StoreError, match="does not answer"):
        require_ready(load_campaign(path), tmp_path)


def test_a_store_in_files_is_not_made(campaign_file, tmp_path):
    docs, data = tmp_path / "docs.json", tmp_path / "data.json"
    store = f"{{docs_store: {{type: JSONStore, paths: '{docs}', read_only: false}}, "
    store += f"additional_stores: {{data: {{type: JSONStore, paths: ['{data}'], read_only: false}}}}}}"
    path = campaign_file(("magflow: 1 ", f"store: {store}\nmagflow: 1 "))
    (found,) = [p for p in check_campaign(load_campaign(path), tmp_path / "run") if p.name == "store"]
    assert found.ok
    assert f"{docs}, {data}" in found.detail
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_several_magnetic_states_are_told_and_who_cannot_learn_them(campaign_file, tmp_path):
    engine, rng, items = SpinLatticeEngine(), np.random.default_rng(0), []
    level = engine.level_of_theory(["Al", "Fe"])
    for k in range(40):
        places = np.array([[0.0, 0, 0], [1.42, 1.42, 1.42]]) + 0.05 * rng.normal(size=(2, 3))
        frame = Frame(("Fe", "Fe"), 2.84 * np.eye(3), places, [2.2, 2.2 if k % 2 else -2.2])
        items.append(LabeledFrame(frame, engine.label(frame, level, tmp_path)))
    write_extxyz(tmp_path / "given.extxyz", items)
    for family, told in (
        ("mmtp", "without reading moments;"),
        ("dp", "without reading moments (family dp reads none);"),
    ):
        path = campaign_file(("family: mmtp", f"family: {family}"))
        path.write_text(path.read_text() + "\nlabels:\n  - path: given.extxyz\n")
        looks = dict(looks_at_labels(load_campaign(path)))
        said = looks["given.extxyz"]() + ";"
        assert "several magnetic states: " in said and told in said
