"""Campaign files made for elements and structures: valid, and with lattice constants that are somebody's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from magflow.campaign.beginnings import INDUCED, LARGEST_MOMENTS, of_elements, of_file
from magflow.campaign.check import USUALLY_MAGNETIC, check_campaign
from magflow.campaign.doubts import doubts
from magflow.campaign.lattices import crystals
from magflow.campaign.load import load_campaign, parse_campaign
from magflow.campaign.source import parse_source
from magflow.cli.app import app
from magflow.errors import InputError
from magflow.explore.builders import from_builder
from magflow.explore.domain import sample
from magflow.explore.prototypes import build_prototypes

THINGS = ("prototype", "moments", "elements", "targets", "budget")


def spec_of(beginning, labels=30):
    return parse_campaign(parse_source(beginning.text("abinit", labels), "made"), "made")


def sound(spec, tmp_path) -> bool:
    """Whether all that the file alone decides is right."""
    found = [p for p in check_campaign(spec, tmp_path) if p.name.startswith(THINGS)]
    assert len(found) > len(THINGS) - 1
    return all(p.ok for p in found)


@pytest.mark.parametrize("symbol", ["Ni", "Cr", "Fe", "Co", "Gd", "Al", "Si", "Po"])
def test_an_element_stands_in_the_crystal_that_ase_builds(symbol):
    (crystal,) = crystals([symbol], [])
    built, frame = bulk(symbol), from_builder(crystal.builder, "")
    assert frame.volume / len(frame) == pytest.approx(built.get_volume() / len(built), rel=1e-3)
    assert "reference state" in crystal.origin


def test_another_structure_keeps_the_volume_and_says_that_it_is_a_guess():
    for structure in ("bcc", "fcc", "hcp"):
        (crystal,) = crystals(["Fe"], [structure])
        frame = from_builder(crystal.builder, "")
        assert frame.volume / len(frame) == pytest.approx(2.87**3 / 2, rel=1e-3)
        assert ("guess" in crystal.origin) == (structure != "bcc")
    (alloy,) = crystals(["Fe", "Al"], ["b2"])
    assert alloy.builder.a**3 == pytest.approx(2.87**3 / 2 + 4.05**3 / 4, rel=1e-3)
    (said,) = crystals(["Fe", "O"], ["rocksalt"], 4.3)
    assert (said.builder.a, said.origin) == (4.3, "as asked for")


@pytest.mark.parametrize(
    ("elements", "structures", "says"),
    [
        (["Mn"], [], "no simple crystal of Mn"),
        (["Ga"], [], "no simple crystal of Ga"),
        (["Ni"], ["diamond"], "--lattice-constant"),
        (["Fe", "O"], ["rocksalt"], "no lattice constant is known"),
        (["Ni"], ["b2"], "two elements"),
        (["Ni"], ["fc"], "unknown structure"),
        (["Nj"], [], "no chemical symbols"),
        (["Fe", ""], [], "no chemical symbols"),
        (["Fe", "Al"], ["bcc"], "a crystal has none"),
    ],
)
def test_what_nobody_knows_is_asked_for(elements, structures, says):
    with pytest.raises(InputError, match=says):
        of_elements(elements, structures)


@pytest.mark.parametrize(
    ("elements", "structures", "orderings"),
    [
        (["Ni"], ["fcc"], {"fcc-Ni": "FM AFM", "fcc-Ni-waves": "FM"}),
        (["Co"], [], {"hcp-Co": "FM AFM", "hcp-Co-waves": "FM"}),
        (["Al"], [], {"fcc-Al": "NM", "fcc-Al-waves": "NM"}),
        (["Fe", "Al"], ["b2"], {"b2-FeAl": "FM", "b2-FeAl-waves": "FM"}),
        (["Fe", "Ni"], [], {"bcc-Fe": "FM AFM", "bcc-Fe-waves": "FM", "fcc-Ni": "FM AFM", "fcc-Ni-waves": "FM"}),
    ],
)
def test_what_is_made_is_a_campaign(elements, structures, orderings, tmp_path):
    spec = spec_of(of_elements(elements, structures))
    assert {p.name: " ".join(p.orderings) for p in spec.system.prototypes} == orderings
    assert spec.engine().kind == ("constrained" if set(elements) - {"Al"} else "non-magnetic")
    assert sound(spec, tmp_path)


@pytest.mark.parametrize(
    ("elements", "structures"),
    [("Ni", "fcc"), ("Al", "fcc"), ("Fe", "bcc"), ("Cr", "bcc"), ("Fe,Al", "b2"), ("Po", "sc")],
)
def test_all_cells_of_a_cubic_crystal_fit_into_the_cube_of_the_kpoints(elements, structures):
    spec = spec_of(of_elements(elements.split(","), [structures]))
    engine = spec.engine()
    assert engine.kpoints.cube > 10
    system = spec.system
    prototypes = build_prototypes(system.prototypes, system.elements, Path(), system.moments)
    frames = [c.frame for c in sample(prototypes, spec.explore.domain, system.moments, 200, 1)]
    assert len({len(frame) for frame in frames}) == 2
    assert [engine.refusal(frame) for frame in frames] == [None] * 200


def test_nickel_is_smeared_so_little_that_it_keeps_its_moment():
    for elements, smearing in ((["Ni"], 0.003), (["Fe", "Ni"], 0.003), (["Fe"], 0.01)):
        spec = spec_of(of_elements(elements, []))
        assert spec.engine().tsmear_ha == smearing
        assert doubts(spec) == []
    hot = of_elements(["Ni"], []).text("abinit", 30).replace("tsmear_ha: 0.003", "tsmear_ha: 0.01")
    ((key, doubt),) = doubts(parse_campaign(parse_source(hot, "made"), "made"))
    assert key == ("label", "settings", "tsmear_ha")
    assert "3158 K" in doubt.detail


def test_the_batches_follow_the_budget(tmp_path):
    beginning = of_elements(["Ni"], ["fcc"])
    for labels in (2, 7, 24, 96, 1000):
        spec = spec_of(beginning, labels)
        assert spec.stop.labels == labels
        assert min(16, labels // 10) <= spec.select.batch <= spec.select.initial <= labels
        assert sound(spec, tmp_path)
    assert (spec.select.initial, spec.select.batch) == (48, 16)


def test_a_crystal_of_a_file_in_the_order_of_its_moments(tmp_path):
    iron = bulk("Fe", cubic=True)
    write(tmp_path / "POSCAR", iron, format="vasp")
    (tmp_path / "made").mkdir()
    done = CliRunner().invoke(app, ["init", "--from", str(tmp_path / "POSCAR"), "-o", str(tmp_path / "made/c.yaml")])
    assert done.exit_code == 0, done.output
    spec = load_campaign(tmp_path / "made/c.yaml")
    assert sound(spec, tmp_path)
    assert spec.system.prototypes[0].orderings == ("FM", "AFM")
    iron.set_initial_magnetic_moments([2.2, -2.2])
    write(tmp_path / "afm.extxyz", iron)
    assert of_file(tmp_path / "afm.extxyz", tmp_path).prototypes[0].orderings[0] == "given"
    del iron.arrays["initial_magmoms"]
    iron.set_initial_magnetic_moments(np.array([[2.2, 0, 0], [0, 2.2, 0]]))
    write(tmp_path / "ncl.extxyz", iron)
    with pytest.raises(InputError, match="not collinear"):
        of_file(tmp_path / "ncl.extxyz", tmp_path)


def test_every_element_that_is_usually_magnetic_has_a_range():
    assert set(LARGEST_MOMENTS) >= USUALLY_MAGNETIC
    assert min(LARGEST_MOMENTS.values()) > INDUCED


@pytest.mark.parametrize(
    "words",
    [
        "feal --elements Ni",
        "--elements Ni --from POSCAR",
        "--from POSCAR --structure fcc",
        "--structure fcc",
        "feal -o x.yaml",
        "--elements Ni --engine abnit",
        "here --elements Ni -o x.yaml",
        "here there --elements Ni",
        "bcc-ni",
    ],
)
def test_what_does_not_go_together_is_refused(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["init", *words.split()])
    assert done.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_the_word_beside_elements_or_a_crystal_is_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["init", "--elements", "Ni", "--structure", "fcc", "nickel"])
    assert done.exit_code == 0, done.output
    assert "next: magflow check nickel/fcc-Ni.yaml" in done.stdout
    assert load_campaign(tmp_path / "nickel" / "fcc-Ni.yaml").system.elements == ("Ni",)
    Path("POSCAR").write_text("Fe\n2.8\n1 0 0\n0 1 0\n0 0 1\nFe\n1\nDirect\n0 0 0\n")
    done = CliRunner().invoke(app, ["init", "--from", "POSCAR", "iron"])
    assert done.exit_code == 0, done.output
    (made,) = (tmp_path / "iron").iterdir()
    prototype = load_campaign(made).system.prototypes[0]
    assert (made.parent / prototype.file).resolve() == tmp_path / "POSCAR"


def test_a_made_file_is_never_written_over_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["init", "--elements", "Ni", "--structure", "fcc"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert "ASE's reference state" in (tmp_path / "fcc-Ni.yaml").read_text()
    assert CliRunner().invoke(app, words).exit_code == 2
