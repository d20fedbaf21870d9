"""Finding, checking and unpacking PAW datasets; what the engine says about them."""

from __future__ import annotations

import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.units import BOHR
from magflow.dft.abinit.datasets import datasets_of, find_datasets, unpacked
from magflow.dft.abinit.inputs import input_text
from magflow.dft.datasets import MissingDatasetError, MixedFunctionalsError
from magflow.errors import InputError, MissingToolError
from magflow.settings import load_settings


def test_found_in_a_folder(datasets):
    found = find_datasets(["Fe", "Al"], "PBE", [datasets], {})
    iron = found["Fe"]
    assert (iron.functional, iron.valence, iron.radius_bohr) == ("PBE", 8.0, 2.2)
    assert iron.md5 == hashlib.md5(gzip.decompress(iron.source.read_bytes())).hexdigest()


def test_first_folder_wins_and_an_explicit_file_beats_it(datasets, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "Fe.PBE.xml").write_bytes(gzip.decompress((datasets / "Fe.PBE.gz").read_bytes()) + b"<!-- mine -->")
    assert find_datasets(["Fe"], "PBE", [other, datasets], {})["Fe"].source.parent == other
    assert find_datasets(["Fe"], "PBE", [datasets], {"Fe": other / "Fe.PBE.xml"})["Fe"].source.parent == other


def test_missing(datasets, tmp_path):
    with pytest.raises(MissingDatasetError, match=r"Co\.PBE") as caught:
        find_datasets(["Fe", "Co"], "PBE", [datasets], {})
    assert "gpaw-data" in str(caught.value)
    with pytest.raises(MissingToolError):
        find_datasets(["Fe"], "PBE", [datasets], {"Fe": tmp_path / "no.xml"})


def test_mixed_functionals(datasets):
    with pytest.raises(MixedFunctionalsError, match="another functional") as caught:
        find_datasets(["Fe", "Cr"], "PBE", [datasets], {"Cr": datasets / "Cr.LDA.xml"})
    assert "Cr: LDA" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"# a norm-conserving file\n26 8 psp8\n", "not a PAW dataset"),
        (b"", "not a PAW dataset"),
        (gzip.compress(b"<paw_setup>" * 1000, mtime=0)[:-40], "truncated"),
        (b"\x1f\x8bnot gzip at all", "cannot be read"),
        (b'<paw_setup><atom symbol="Al" Z="13" valence="3"/><xc_functional name="PBE"/>', "another element"),
    ],
)
def test_unfit_files(tmp_path, content, says):
    path = tmp_path / "Fe.PBE.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        find_datasets(["Fe"], "PBE", [tmp_path], {})


def test_unpacked_once_by_many_at_a_time(datasets, tmp_path):
    dataset = find_datasets(["Fe"], "PBE", [datasets], {})["Fe"]
    cache = tmp_path / "c"
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: unpacked(dataset, cache), range(32)))
    (path,) = paths
    assert hashlib.md5(path.read_bytes()).hexdigest() == dataset.md5
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_changed_is_not_unpacked(datasets, tmp_path):
    dataset = find_datasets(["Fe"], "PBE", [datasets], {})["Fe"]
    dataset.source.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(InputError, match="has changed"):
        unpacked(dataset, tmp_path / "c")


def test_a_cache_that_cannot_be_written(datasets, tmp_path):
    (tmp_path / "file").write_text("")
    dataset = find_datasets(["Fe"], "PBE", [datasets], {})["Fe"]
    with pytest.raises(MissingToolError, match="cache_dir"):
        unpacked(dataset, tmp_path / "file")


def test_level_of_theory_records_what_matters_and_nothing_else(fake):
    level = fake().level_of_theory(["Fe", "Al"])
    assert (level.code, level.version, level.functional) == ("abinit", "9.6.2", "PBE")
    assert sorted(level.datasets) == ["Al", "Fe"]
    assert level.fingerprint == fake().level_of_theory(["Al", "Fe", "Fe"]).fingerprint
    for same in ({"magcon_lambda": 0.05}, {"nstep": 7}, {"attempts": 1}, {"cores": 2}, {"time_limit_s": 5.0}):
        assert fake(**same).level_of_theory(["Fe", "Al"]).fingerprint == level.fingerprint
    for other in ({"ecut_ha": 12}, {"kpoints": (2, 1, 1)}, {"kpoints": 0.3}, {"ratsph_bohr": 2.3}, {"tsmear_ha": 0.02}):
        assert fake(**other).level_of_theory(["Fe", "Al"]).fingerprint != level.fingerprint


def test_level_of_theory_changes_with_dataset_and_version(fake, datasets, monkeypatch):
    before = fake().level_of_theory(["Fe"]).fingerprint
    path = datasets / "Fe.PBE.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"<!-- new -->"))
    assert fake().level_of_theory(["Fe"]).fingerprint != before


def test_sphere_radii_are_checked_before_the_first_label(fake):
    with pytest.raises(InputError, match="smaller than its PAW sphere"):
        fake(ratsph_bohr={"Fe": 2.1}).level_of_theory(["Fe"])
    with pytest.raises(InputError, match="no sphere radius for Al"):
        fake(ratsph_bohr={"Fe": 2.2}).level_of_theory(["Fe", "Al"])
    assert "ratsph_bohr" not in fake(kind="non-magnetic", ratsph_bohr=1.0).level_of_theory(["Fe"]).parameters


def test_spheres_that_nobody_states_are_as_large_as_the_dataset_needs(fake, datasets):
    """Those of Cr, Mn and Ni are larger than that of iron; smaller ones keep it."""
    iron = gzip.decompress((datasets / "Fe.PBE.gz").read_bytes()).decode()
    for element, radius in (("Cr", "2.300"), ("Al", "2.050")):
        text = iron.replace('symbol="Fe"', f'symbol="{element}"').replace("2.200", radius)
        (datasets / f"{element}.PBE.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    level = fake().level_of_theory(["Fe", "Cr", "Al"])
    assert level.parameters["ratsph_bohr"] == {"Al": 2.2, "Cr": 2.3, "Fe": 2.2}
    assert fake().sphere_radii(["Cr"])["Cr"] == pytest.approx(2.3 * BOHR)
    assert "2.3 bohr" in next(p.detail for p in fake().probe(["Cr"]) if p.name == "PAW dataset Cr")
    frame = Frame(("Fe", "Cr"), 2.9 * np.eye(3), [[0, 0, 0], [1.45] * 3], [2.2, -0.5])
    found = datasets_of(fake(), frame.species, load_settings())
    assert "ratsph 2.2 2.3\n" in input_text(fake(), frame, found, {})
    with pytest.raises(InputError, match="or leave it out"):
        fake(ratsph_bohr=2.2).level_of_theory(["Cr"])


def test_a_dataset_with_fewer_electrons_is_named(fake, datasets):
    assert "costs less" not in next(p.detail for p in fake().probe(["Fe"]) if p.name == "PAW dataset Fe")
    iron = gzip.decompress((datasets / "Fe.PBE.gz").read_bytes()).decode()
    for name, valence in (("Fe.16.PBE.gz", "16"), ("Fe.6.PBE.gz", "6"), ("Fe.7.PBE.gz", "7")):
        text = iron.replace('valence="8', f'valence="{valence}')
        (datasets / name).write_bytes(gzip.compress(text.encode(), mtime=0))
    (datasets / "Fe.dzp.PBE.basis").write_text("no dataset")
    (probe,) = (p for p in fake().probe(["Fe"]) if p.name == "PAW dataset Fe")
    assert probe.ok
    assert "8 electrons" in probe.detail and "Fe.6.PBE.gz beside it holds 6, which costs less" in probe.detail


def test_probe_says_what_is_missing_and_how_to_get_it(fake, tmp_path, monkeypatch):
    good = {p.name: p for p in fake().probe(["Fe", "Al"])}
    assert all(p.ok for p in good.values()), good
    assert "9.6.2" in good["ABINIT"].detail
    assert "PBE" in good["PAW dataset Fe"].detail
    broken = fake().model_copy(update={"command": "no-such-abinit"})
    bad = {p.name: p for p in broken.probe(["Fe", "Xx"])}
    assert not bad["ABINIT"].ok
    assert "apt-get install" in bad["ABINIT"].hint
    assert not bad["PAW dataset Xx"].ok
    monkeypatch.setenv("MAGFLOW_SCRATCH_DIR", "/proc/nowhere")
    assert not {p.name: p for p in fake().probe(["Fe"])}["scratch"].ok
    monkeypatch.setenv("MAGFLOW_DATASET_DIRS", "not json")
    assert not fake().probe(["Fe"])[0].ok


@pytest.mark.parametrize("command", [" ", "true", "'unbalanced"])
def test_probe_never_raises(datasets, command):
    from magflow.dft.abinit import AbinitEngine

    assert not AbinitEngine(command=command).probe(["Fe"])[0].ok
