from __future__ import annotations

import json

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner
from vesin import NeighborList

from magflow.cli.app import app
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.units import BOHR, EV_PER_A3_IN_GPA, HARTREE
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.io.importing.consistency import slopes
from magflow.io.importing.suspicion import suspicions
from magflow.io.records import labeled_frames
from strategies import frames

LEVEL = LevelOfTheory("dft", "1", LabelKind.CONSTRAINED, "PBE")
SLOPES = ("forces", "stress", "magnetic_forces")


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> list[LabeledFrame]:
    """Labels of a model along a path on which atoms, cell and moments move a little at every step."""
    rng, engine = np.random.default_rng(5), SpinLatticeEngine()
    level, work = engine.level_of_theory(["Al", "Fe"]), tmp_path_factory.mktemp("w")
    cell, moments = np.eye(3) * 3.6, np.array([2.0, 0.1, -1.8])
    fractions = rng.normal(0, 0.02, (3, 3)) + np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0.5]])
    made = []
    for _ in range(40):
        cell = cell + rng.normal(0, 0.01, (3, 3))
        fractions = fractions + rng.normal(0, 0.004, (3, 3))
        moments = moments + rng.normal(0, 0.02, 3)
        frame = Frame(("Fe", "Al", "Fe"), cell, fractions @ cell, moments)
        made.append(LabeledFrame(frame, engine.label(frame, level, work)))
    return made


def changed(items, **factors) -> list[LabeledFrame]:
    """The same labels with quantities multiplied, as in a file of another unit or sign."""
    return [
        LabeledFrame(
            item.frame,
            Label(
                item.frame.frame_id,
                item.label.level_of_theory,
                item.frame.orientation,
                **{
                    name: getattr(item.label, name) * factors.get(name, 1.0)
                    for name in ("energy", "forces", "stress", "magnetic_forces")
                },
                magmoms=item.label.magmoms,
            ),
        )
        for item in items
    ]


def test_labels_that_belong_together_have_slopes_of_one(items):
    found = {slope.quantity: slope for slope in slopes(items)}
    assert set(found) == set(SLOPES)
    for slope in found.values():
        assert slope.value == pytest.approx(1.0, abs=0.05) and not slope.suspicious
    assert suspicions(items) == []


@pytest.mark.parametrize(
    ("quantity", "factor", "words"),
    [
        ("stress", -1.0, "opposite sign"),
        ("stress", EV_PER_A3_IN_GPA, "GPa"),
        ("stress", -10 * EV_PER_A3_IN_GPA, "kB of the opposite sign"),
        ("forces", -1.0, "opposite sign"),
        ("forces", BOHR / HARTREE, "hartree/bohr"),
        ("magnetic_forces", -1.0, "opposite sign"),
        ("magnetic_forces", 1 / HARTREE, "hartree beside energies in eV"),
    ],
)
def test_another_unit_or_sign_is_named(items, quantity, factor, words):
    told = [s.what for s in suspicions(changed(items, **{quantity: factor}))]
    assert any(quantity in what and words in what for what in told), told
    others = [q for q in SLOPES if q != quantity]
    assert not any(what.startswith(q) for what in told for q in others)


def test_energies_in_hartree_are_named(items):
    told = [s.what for s in suspicions(changed(items, energy=1 / HARTREE))]
    assert any("the energies are in hartree" in what for what in told), told


def plain(energy=-8.0, *, positions=((0, 0, 0), (1.4, 1.4, 1.4)), a=2.8, **label) -> LabeledFrame:
    frame = Frame(("Fe", "Al"), np.eye(3) * a, np.array(positions, dtype=float))
    return LabeledFrame(frame, Label(frame.frame_id, label.pop("level", LEVEL), energy=energy, **label))


def many(energies) -> list[LabeledFrame]:
    return [plain(e, a=2.8 + 0.01 * k) for k, e in enumerate(energies)]


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (plain(positions=((0, 0, 0), (0.1, 0, 0))), "overlap"),
        (plain(a=9.0), "volume per atom"),
        (plain(forces=np.array([[200.0, 0, 0], [-200.0, 0, 0]])), "a force above"),
        (plain(forces=np.array([[1.0, 0, 0], [0.0, 0, 0]])), "add up to zero"),
        (plain(forces=np.zeros((2, 3)), positions=((0, 0, 0), (1.3, 1.43, 1.5))), "all forces are exactly zero"),
        (plain(magmoms=np.array([[0, 0, 22.0], [0, 0, 0]])), "a moment above"),
    ],
)
def test_what_one_label_gives_away(odd, words):
    (told,) = suspicions([plain(), odd])
    assert words in told.what and (told.count, told.first) == (1, 1)


def test_levels_bands_and_outliers():
    rng = np.random.default_rng(2)
    near = -8.0 + rng.normal(0, 0.02, 60)
    assert suspicions(many(near)) == []
    other = LevelOfTheory("dft", "2", LabelKind.CONSTRAINED, "PBE")
    assert "2 levels of theory" in suspicions([plain(), plain(a=2.9, level=other)])[0].what
    (outlier,) = suspicions(many([*near, -30.0]))
    assert "away from all others" in outlier.what and outlier.first == 60
    (bands,) = suspicions(many([*near, *(near[:10] - 2.0)]))
    assert "two bands" in bands.what and bands.count == 10
    (hartree,) = suspicions(many([*near, *(near[:10] / HARTREE)]))
    assert "hartree" in hartree.what


@pytest.mark.parametrize("size", [6, 60])
def test_a_wide_set_is_no_two_bands(size):
    energies = np.linspace(-9, -7, size)
    assert not any("bands" in s.what for s in suspicions(many(energies)))


def run(*arguments):
    result = CliRunner().invoke(app, ["import", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def test_several_sources_become_one_set(items, tmp_path):
    write_extxyz(tmp_path / "a.extxyz", items[:25])
    write_extxyz(tmp_path / "b.extxyz", items[20:])
    result = run(tmp_path / "a.extxyz", tmp_path / "b.extxyz", "-o", tmp_path / "all.extxyz")
    assert "stands there twice (5 frames" in " ".join(result.output.split())
    back = labeled_frames(read_extxyz(tmp_path / "all.extxyz"))
    assert [i.label_id for i in back] == [i.label_id for i in items]
    told = json.loads(run(tmp_path / "a.extxyz", tmp_path / "b.extxyz", "--json").stdout)
    assert told["labels"] == 40 and told["elements"] == {"Al": 40, "Fe": 40}
    assert told["moments"] == {"obtained, along z": 40} and told["written"] is None
    assert [s["frames"] for s in told["sources"]] == [25, 20] and told["suspicious"] == []


def test_a_level_can_be_declared(tmp_path):
    write_extxyz(tmp_path / "a.extxyz", [plain()])
    frame = '2\nLattice="2.8 0 0 0 2.8 0 0 0 2.8" Properties=species:S:1:pos:R:3 energy=-8\nFe 0 0 0\nAl 1.4 1.4 1.4\n'
    (tmp_path / "bare.extxyz").write_text(frame)
    run(tmp_path / "bare.extxyz", "--level", "pbe-520", "-o", tmp_path / "o.extxyz")
    (record,) = read_extxyz(tmp_path / "o.extxyz")
    assert record.label.level_of_theory.code == "pbe-520"
    run(tmp_path / "a.extxyz", "--level", "pbe-520", "-o", tmp_path / "p.extxyz")
    assert read_extxyz(tmp_path / "p.extxyz")[0].label.level_of_theory == LEVEL


def test_reference_sets_are_what_they_are_said_to_be(reference_data):
    """Units and signs of published sets, from their own energies: fe_gap22 calls its virial the other way round."""
    told = json.loads(run(reference_data / "fe_gap22" / "DB9.xyz", "--virial-sign", 1, "--json").stdout)
    assert any("opposite sign" in s["what"] for s in told["suspicious"])
    told = json.loads(run(reference_data / "fe_gap22" / "DB9.xyz", "--virial-sign", -1, "--json").stdout)
    assert not any("stress" in s["what"] for s in told["suspicious"])
    folder = reference_data / "fitsnap_fe"
    for keys, wrong in (("stress=source_stress_kB@-kB", False), ("stress=source_stress_kB@kB", True)):
        told = json.loads(run(folder / "BCC-HCP-transition.extxyz", "--keys", keys, "--json").stdout)
        assert any("opposite sign" in s["what"] for s in told["suspicious"]) == wrong
        assert told["moments"] == {"obtained, non-collinear": 134}


@settings(max_examples=60, deadline=None)
@given(frame=frames(), scale=st.floats(0.5, 3.0))
def test_overlaps_are_those_of_a_search_for_neighbours(frame, scale):
    """In cells of any shape and size: images of other cells and of the atom itself count."""
    frame = frame.non_magnetic().replace(cell=frame.cell * scale, positions=frame.positions * scale)
    radii = np.array([covalent_radii[atomic_numbers[s]] for s in frame.species])
    i, j, d = NeighborList(cutoff=float(radii.max()), full_list=True).compute(
        frame.positions, frame.cell, periodic=True, quantities="ijd"
    )
    expected = bool(np.any(d < 0.5 * (radii[i.astype(int)] + radii[j.astype(int)])))
    item = LabeledFrame(frame, Label(frame.frame_id, LEVEL, energy=-1.0))
    assert any(s.what == "atoms overlap" for s in suspicions([item])) == expected
