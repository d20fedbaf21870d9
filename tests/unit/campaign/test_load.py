from __future__ import annotations

import json
import re

import pytest

from magflow.campaign.load import load_campaign
from magflow.campaign.source import CampaignFileError
from magflow.campaign.templates import template_names
from magflow.core.label import LabelKind
from magflow.core.units import EV_PER_A3_IN_GPA


def problems(path):
    with pytest.raises(CampaignFileError) as caught:
        load_campaign(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems)
    for line in lines:
        assert re.match(rf"{re.escape(str(path))}:\d+ ?\S*: seen .+; expected .+", line)
    return lines


@pytest.mark.parametrize("template", template_names())
def test_templates_load(campaign_file, template):
    spec = load_campaign(campaign_file(template=template))
    assert spec.magflow == 1
    assert spec.engine().name == spec.label.engine
    assert spec.family().name == spec.train.family == "mmtp"
    assert spec.stop.rules().targets == spec.targets()


def test_quick_campaign_is_the_one_asked_for(campaign_file):
    spec = load_campaign(campaign_file(template="feal_quick"))
    engine = spec.engine()
    assert (engine.ecut_ha, engine.pawecutdg_ha, engine.kpoints, engine.tsmear_ha) == (10, 20, (4, 4, 4), 0.01)
    assert (engine.tolvrs, engine.ratsph_bohr, engine.functional) == (1e-8, 2.2, "PBE")
    assert engine.kind is LabelKind.CONSTRAINED
    assert spec.explore.domain.volume == (-0.09, 0.09)
    assert (spec.explore.domain.strain, spec.explore.domain.displacement) == (0.03, 0.14)
    assert spec.system.moments == {"Fe": (0.0, 2.8), "Al": (0.0, 0.1)}
    assert spec.stop.labels == 120
    assert {p.name: p.builder.a for p in spec.system.prototypes} == {"B2-FeAl": 2.884, "bcc-Fe": 2.836}


def test_targets_in_house_units(campaign_file):
    spec = load_campaign(campaign_file(template="feal_quick"))
    assert spec.targets() == {
        "energy": 0.005,
        "forces": 0.04,
        "stress": pytest.approx(1 / EV_PER_A3_IN_GPA),
        "magnetic_forces": 0.03,
    }


CASES = {
    "misspelled section": (("explore:", "explor:"), "unknown key", "did you mean explore?"),
    "misspelled key": (("  displacement:", "  displacment:"), "unknown key", "did you mean displacement?"),
    "misspelled setting": (("failure_rate", "failure_rat"), "unknown key", "did you mean failure_rate?"),
    "key in the wrong place": (("  ensemble: 5", "  batch: 5"), "unknown key", "belongs at select.batch"),
    "missing key": (("name: model-hamiltonian", "#"), "seen nothing", "add the key name"),
    "word for a number": (("seed: 1", "seed: one"), 'seen "one"', "integer"),
    "text for a number": (("seed: 1", "seed: '1'"), 'seen "1"', "integer"),
    "fraction for an integer": (("initial: 20", "initial: 20.5"), "seen 20.5", "integer"),
    "boolean for a number": (("initial: 20", "initial: true"), "seen true", "integer"),
    "negative": (("labels: 50", "labels: -1"), "seen -1", "greater than or equal to 1"),
    "nan": (("strain: 0.03", "strain: .nan"), "seen .nan", "a finite number"),
    "infinite": (("energy_mev_per_atom: 2", "energy_mev_per_atom: .inf"), "seen .inf", "a finite number"),
    "list for a mapping": (("    Fe: [0.0, 2.8]", "    - Fe"), "seen", ""),
    "null": (("seed: 1", "seed: null"), "seen null", "integer"),
    "unknown element": (("elements: [Al, Fe]", "elements: [Al, Fe, Xq]"), "seen Xq", "chemical symbols"),
    "element twice": (("elements: [Al, Fe]", "elements: [Al, Al, Fe]"), "seen Al, Al, Fe", "each element once"),
    "moment of another element": (("    Fe: [0.0, 2.8]", "    Ni: [0.0, 2.8]"), "seen Ni", "system.elements"),
    "reversed range": (("Fe: [0.0, 2.8]", "Fe: [2.8, 0.0]"), "Fe: [2.8, 0]", "[smallest, largest]"),
    "negative range": (("Al: [0.0, 0.1]", "Al: [-0.1, 0.1]"), "seen -0.1", "greater than or equal to 0"),
    "range of one": (("Fe: [0.0, 2.8]", "Fe: [2.8]"), "seen", ""),
    "unknown engine": (("engine: spin-lattice", "engine: spin-latice"), "spin-latice", "did you mean spin-lattice?"),
    "unknown family": (("family: mmtp", "family: mtp"), "mtp", "did you mean mmtp?"),
    "unknown ordering": (("[FM, AFM]", "[FM, AFN]"), 'seen "AFN"', "'AFM'"),
    "unknown structure": (("structure: bcc,", "structure: bbc,"), 'seen "bbc"', "'bcc'"),
    "another version": (("magflow: 1", "magflow: 2"), "seen 2", "1"),
    "bad name": (("name: model-hamiltonian", "name: ../evil"), 'seen "../evil"', ""),
    "empty prototypes": (("  prototypes:", "  prototypes: []\n  other:"), "seen", ""),
    "volume": (("volume: [-0.09, 0.09]", "volume: [0.09, -0.09]"), "seen", "low <= high"),
    "setting of another engine": (("workers: 2", "workers: 2\n  cores_per_label: 4"), "", "has no such setting"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_per_problem(campaign_file, case):
    change, seen, expected = CASES[case]
    lines = problems(campaign_file(change))
    assert any(seen in line and expected in line for line in lines), lines


def test_all_problems_come_at_once_and_in_order(campaign_file):
    lines = problems(campaign_file(("seed: 1", "seed: x"), ("ensemble: 5", "ensemble: 0"), ("seconds:", "second:")))
    assert [line.split()[1] for line in lines] == ["seed:", "label.settings.second:", "train.ensemble:"]


def test_line_numbers(campaign_file):
    path = campaign_file(("  displacement:", "  displacment:"))
    number = 1 + next(i for i, text in enumerate(path.read_text().splitlines()) if "displacment" in text)
    assert problems(path)[0].startswith(f"{path}:{number} explore.domain.displacment:")


def test_a_union_reports_the_branch_that_was_meant(campaign_file):
    lines = problems(campaign_file(("  batch: 10", "  batch: 10\n  trust: {energy: {low: 2.0, high: 1.0}}")))
    assert len(lines) == 1
    assert "select.trust.energy" in lines[0] and "must lie above" in lines[0]


def test_a_campaign_has_to_end(campaign_file):
    lines = problems(campaign_file(("  labels: 50", ""), ("  iterations: 8", "")))
    assert "a budget: labels, core_hours or iterations" in lines[0]


def test_a_loop_begins_with_a_family_that_needs_no_other(campaign_file):
    (line,) = problems(campaign_file(("family: mmtp", "family: difference")))
    assert "begin without another potential" in line and "magflow train --start" in line


def test_execution_overrides_the_engine(campaign_file):
    abinit = {"template": "feal_quick"}
    path = campaign_file(("    cores: 1 ", "    # "), ("  workers: 2", "  cores_per_label: 2"), **abinit)
    assert load_campaign(path).engine().cores == 2
    lines = problems(campaign_file(("  workers: 2", "  cores_per_label: 2"), **abinit))
    assert "either execution.cores_per_label or label.settings.cores" in lines[0]


def test_keys_that_came_later_change_no_campaign_that_lacks_them(campaign_file, monkeypatch):
    """Else no campaign that has begun could go on."""
    said = []
    monkeypatch.setattr("magflow.campaign.schema.digest", lambda parts: said.append(parts[0].decode()) or "x")
    for change in (("cubic: true}", "cubic: true}\n      sizes: [2]"), ("cubic: true}", "cubic: true}")):
        assert load_campaign(campaign_file(change)).fingerprint == "x"
    assert '"sizes"' in said[0] and '"sizes"' not in said[1]
    assert all("Fe" in text and '"prototypes"' in text for text in said)
    prototypes = json.loads(said[1])["system"]["prototypes"]
    assert all("moments" not in prototype for prototype in prototypes)


def test_fingerprint_depends_on_the_science_only(campaign_file):
    def fingerprint(*changes):
        return load_campaign(campaign_file(*changes)).fingerprint

    reference = fingerprint()
    for change in [
        ("labels: 50", "labels: 90"),
        ("iterations: 8", "iterations: 9"),
        ("workers: 2", "workers: 1"),
        ("# layout of this file", "# a comment"),
    ]:
        assert fingerprint(change) == reference, change
    for change in [
        ("seed: 1", "seed: 2"),
        ("strain: 0.03", "strain: 0.02"),
        ("batch: 10", "batch: 11"),
        ("ensemble: 5", "ensemble: 4"),
        ("a: 2.836", "a: 2.84"),
        ("energy_mev_per_atom: 2", "energy_mev_per_atom: 3"),
        ("failure_rate: 0.0", "failure_rate: 0.1"),
    ]:
        assert fingerprint(change) != reference, change


BUILDER = ("builder: {structure: bcc, species: [Fe], a: 2.836, cubic: true}", "file: fe.xyz")
POSCAR = '2\nLattice="2.8 0 0 0 2.8 0 0 0 2.8" Properties=species:S:1:pos:R:3\nFe 0 0 0\nFe 1.4 1.4 1.4\n'


def test_structure_files_lie_beside_the_campaign_file(campaign_file, tmp_path, monkeypatch):
    path = campaign_file(BUILDER)
    (tmp_path / "fe.xyz").write_text(POSCAR)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    spec = load_campaign(path)
    assert spec.system.prototypes[1].file == tmp_path / "fe.xyz"
    before = spec.fingerprint
    (elsewhere / "campaign.yaml").write_text(path.read_text())
    (elsewhere / "fe.xyz").write_text(POSCAR)
    assert load_campaign(elsewhere / "campaign.yaml").fingerprint == before
    (elsewhere / "fe.xyz").write_text(POSCAR.replace("2.8 0 0 0", "2.9 0 0 0"))
    assert load_campaign(elsewhere / "campaign.yaml").fingerprint != before


@pytest.mark.parametrize(
    "store",
    [
        "store: {docs_store: {'@module': os, type: x}, additional_stores: {data: {type: MemoryStore}}}",
        "store: {docs_store: {type: MemoryStore}, additional_stores: {}}",
        "store: {docs_store: {}, additional_stores: {data: {type: MemoryStore}}}",
        "store: {}",
        "store: {mongodb: {}, docs_store: {type: MemoryStore}}",
        "store: {mongodb: {uri: 'mongodb://magnus:correct-horse@h/db'}}",
        "store: {docs_store: {type: MongoStore, password: x}, additional_stores: {data: {type: MemoryStore}}}",
        "store: {docs_store: {type: VaultStore, collection_name: x}, additional_stores: {data: {type: MemoryStore}}}",
        "store: {docs_store: {type: MemoryStore}, additional_stores: {data: {type: S3Store, index: {type: Other}}}}",
    ],
)
def test_stores_that_are_refused(campaign_file, store):
    told = problems(campaign_file(("magflow: 1 ", f"{store}\nmagflow: 1 ")))[0]
    assert "store: seen" in told
    assert "correct-horse" not in told
