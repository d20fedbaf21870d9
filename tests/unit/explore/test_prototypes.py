"""Prototypes: builders, files, orderings, and one clear error for each thing that can be wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from monty.json import MontyDecoder
from pydantic import ValidationError

from magflow.core.moments import Ordering
from magflow.errors import InputError
from magflow.explore.builders import BuilderSettings
from magflow.explore.domain import DomainSettings, sample
from magflow.explore.orderings import PrototypeOrdering
from magflow.explore.prototypes import Prototype, PrototypeSettings, seeds

MOMENTS = {"Fe": (0.0, 2.8), "Al": (0.0, 0.1)}

POSCAR = """Fe Al
1.0
2.884 0.0 0.0
0.0 2.884 0.0
0.0 0.0 2.884
Fe Al
1 1
Direct
0.0 0.0 0.0
0.5 0.5 0.5
"""

EXTXYZ = """2
Lattice="2.836 0 0 0 2.836 0 0 0 2.836" Properties=species:S:1:pos:R:3:initial_magmoms:R:1 pbc="T T T"
Fe 0.0 0.0 0.0 {0}
Fe 1.418 1.418 1.418 {1}
"""


class TestBuilder:
    def test_quick_campaign(self, quick):
        assert [p.label for p in quick] == ["B2-FeAl:FM", "bcc-Fe:FM", "bcc-Fe:AFM"]
        assert [p.pattern for p in quick] == [(1, 0), (1, 1), (1, -1)]
        assert [p.frame.ordering for p in quick] == [Ordering.FM, Ordering.FM, Ordering.AFM]
        assert quick[0].frame.species == ("Fe", "Al")
        assert quick[0].frame.cell == pytest.approx(np.eye(3) * 2.884)
        assert quick[0].frame.magmoms[:, 2] == pytest.approx([2.8, 0.0])

    def test_non_magnetic_has_no_moments_and_never_zero_ones(self, build, bcc_fe):
        (p,) = build(bcc_fe(orderings=["NM"]))
        assert p.frame.magmoms is None
        assert p.pattern == (0, 0)

    def test_element_presets_of_the_library_are_not_taken_over(self, build, bcc_fe):
        (p,) = build(bcc_fe(), moments={"Fe": (0.0, 1.7)})
        assert p.frame.magmoms[:, 2] == pytest.approx([1.7, 1.7])

    @pytest.mark.parametrize(
        ("structure", "species", "atoms"),
        [
            ("bcc", ["Fe"], 2),
            ("fcc", ["Fe"], 4),
            ("sc", ["Fe"], 1),
            ("hcp", ["Fe"], 2),
            ("diamond", ["Fe"], 8),
            ("b2", ["Fe", "Al"], 2),
            ("cesiumchloride", ["Fe", "Al"], 2),
            ("rocksalt", ["Fe", "Al"], 8),
            ("zincblende", ["Fe", "Al"], 8),
            ("wurtzite", ["Fe", "Al"], 4),
        ],
    )
    def test_structures(self, build, structure, species, atoms):
        builder = BuilderSettings(structure=structure, species=species, a=3.0)
        (p,) = build(PrototypeSettings(name="x", builder=builder))
        assert len(p.frame) == atoms
        assert set(p.frame.species) == set(species)

    def test_supercell_keeps_density_and_structure(self, build, b2_feal):
        one, many = build(b2_feal())[0].frame, build(b2_feal(supercell=(2, 1, 3)))[0].frame
        assert len(many) == 12
        assert many.volume == pytest.approx(6 * one.volume)
        assert many.species == one.species * 6

    @pytest.mark.parametrize(
        "bad",
        [
            {"name": "x"},
            {"name": "x", "file": "a", "builder": {"structure": "bcc", "species": ["Fe"], "a": 3}},
            {"name": "x:y", "file": "a"},
            {"name": "x", "builder": {"structure": "b2", "species": ["Fe"], "a": 3}},
            {"name": "x", "builder": {"structure": "bcc", "species": ["Fe"], "a": 3, "c": 4}},
            {"name": "x", "builder": {"structure": "bcc", "species": ["Fe"], "a": -3}},
            {"name": "x", "builder": {"structure": "bcc", "species": ["Fe"], "a": 3}, "orderings": ["given"]},
            {"name": "x", "file": "a", "supercell": [0, 1, 1]},
            {"name": "x", "file": "a", "orderings": []},
            {"name": "x", "file": "a", "ordering": ["FM"]},
        ],
    )
    def test_settings_that_make_no_sense_are_refused(self, bad):
        with pytest.raises(ValidationError):
            PrototypeSettings.model_validate(bad)


class TestMomentsOfOneStructure:
    def test_samples_stay_in_its_range(self, build, bcc_fe, b2_feal):
        wide, narrow = build(b2_feal(), bcc_fe(moments={"Fe": (1.5, 2.0)}))
        frames = [c.frame for c in sample([wide, narrow], DomainSettings(), MOMENTS, 64, 0)]
        iron = np.abs(np.concatenate([f.magmoms[:, 2] for f in frames if set(f.species) == {"Fe"}]))
        other = np.abs([f.magmoms[0, 2] for f in frames if set(f.species) != {"Fe"}])
        assert 1.5 <= iron.min() < 1.6 and 1.9 < iron.max() <= 2.0
        assert other.min() < 0.5 and other.max() > 2.3
        assert narrow.frame.magmoms[:, 2] == pytest.approx([2.0, 2.0])

    @pytest.mark.parametrize("limits", [(1.0, 3.0), (2.0, 1.0)])
    def test_a_range_outside_of_the_system_s_is_refused(self, build, bcc_fe, limits):
        with pytest.raises(InputError, match="not within the system"):
            build(bcc_fe(moments={"Fe": limits}))

    def test_round_trip(self, build, bcc_fe):
        (one,) = build(bcc_fe(moments={"Fe": (1.5, 2.0)}))
        assert Prototype.from_dict(one.as_dict()).moments == {"Fe": (1.5, 2.0)}
        old = {key: value for key, value in one.as_dict().items() if key != "moments"}
        assert Prototype.from_dict(old).moments == {}
        (near,) = build(bcc_fe(displacement=[0.0, 0.1]))
        assert Prototype.from_dict(json.loads(json.dumps(near.as_dict()))).displacement == (0.0, 0.1)
        plain = build(bcc_fe())[0].as_dict()  # the id of a campaign is made from it
        assert not {"moments", "displacement"} & plain.keys()


class TestFiles:
    def test_poscar(self, build, tmp_path):
        (tmp_path / "POSCAR_feal").write_text(POSCAR)
        (p,) = build(PrototypeSettings(name="x", file="POSCAR_feal"), base_dir=tmp_path)
        assert p.frame.species == ("Fe", "Al")
        assert p.frame.positions[1] == pytest.approx([1.442] * 3)

    @pytest.mark.parametrize(("up", "down", "ordering"), [(2.2, -2.2, "AFM"), (2.2, 2.2, "FM"), (-1.0, 2.0, "AFM")])
    def test_signs_given_in_the_file_are_kept(self, build, tmp_path, up, down, ordering):
        (tmp_path / "fe.extxyz").write_text(EXTXYZ.format(up, down))
        (p,) = build(PrototypeSettings(name="x", file="fe.extxyz", orderings=["given"]), base_dir=tmp_path)
        assert p.ordering == ordering
        assert np.sign(p.frame.magmoms[:, 2]).tolist() == [np.sign(up), np.sign(down)]

    def test_cif(self, build, tmp_path, bcc_fe):
        from ase import Atoms
        from ase.io import write

        write(tmp_path / "fe.cif", Atoms("Fe2", cell=[2.8] * 3, scaled_positions=[[0] * 3, [0.5] * 3], pbc=True))
        (p,) = build(PrototypeSettings(name="x", file="fe.cif", orderings=["AFM"]), base_dir=tmp_path)
        assert p.frame.ordering is Ordering.AFM

    @pytest.mark.parametrize(
        ("name", "text", "word"),
        [
            ("absent", None, "no such structure file"),
            ("a.cif", "hello", "a.cif"),
            ("POSCAR", "", "POSCAR"),
            ("POSCAR", POSCAR.replace("2.884", "zero"), "POSCAR"),
            ("POSCAR", POSCAR.replace("2.884", "nan"), "finite"),
            ("POSCAR", POSCAR.replace("0.0 2.884 0.0", "2.884 0.0 0.0"), "volume"),
            ("a.extxyz", "2\nno lattice\nFe 0 0 0\n", "a.extxyz"),
            ("a.extxyz", EXTXYZ.format("x", 1), "a.extxyz"),
            ("a.extxyz", EXTXYZ.format(1, 1) * 2, "2 configurations"),
            ("POSCAR", POSCAR.replace("0.5 0.5 0.5", "1.0 0.0 0.0"), "same place"),
            ("a.bin", "\x00\x01\x02", "a.bin"),
            ("a.xyz", "2\n\nFe 0 0 0\nFe 1 1 1\n", "Lattice"),
        ],
    )
    def test_a_file_that_will_not_do_is_one_clear_error(self, build, tmp_path, name, text, word):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=word):
            build(PrototypeSettings(name="x", file=name), base_dir=tmp_path)

    def test_given_needs_collinear_moments(self, build, tmp_path):
        text = EXTXYZ.format("1.0 0.0 0.0", "0.0 0.0 1.0").replace("initial_magmoms:R:1", "initial_magmoms:R:3")
        (tmp_path / "a.extxyz").write_text(text)
        with pytest.raises(InputError, match="not collinear"):
            build(PrototypeSettings(name="x", file="a.extxyz", orderings=["given"]), base_dir=tmp_path)
        assert build(PrototypeSettings(name="x", file="a.extxyz", orderings=["AFM"]), base_dir=tmp_path)

    def test_given_needs_moments_in_the_file(self, build, tmp_path):
        (tmp_path / "POSCAR").write_text(POSCAR)
        with pytest.raises(InputError, match="holds no moments"):
            build(PrototypeSettings(name="x", file="POSCAR", orderings=["given"]), base_dir=tmp_path)


class TestErrors:
    def test_element_outside_the_campaign(self, build, b2_feal):
        with pytest.raises(InputError, match=r"not in the campaign.*Al"):
            build(b2_feal(), elements=["Fe"])

    def test_two_of_one_name(self, build, bcc_fe):
        with pytest.raises(InputError, match=r"same name.*bcc-Fe"):
            build(bcc_fe(), bcc_fe())

    @pytest.mark.parametrize("ordering", ["AFM", "FiM", "DLM"])
    def test_ordering_that_does_not_fit(self, build, b2_feal, ordering):
        with pytest.raises(InputError, match=f"{ordering} does not fit.*1 magnetic site.*supercell"):
            build(b2_feal(orderings=[ordering]))

    def test_ordering_without_magnetic_sites(self, build, bcc_fe):
        with pytest.raises(InputError, match="no site is magnetic"):
            build(bcc_fe(), moments={})

    @pytest.mark.parametrize("bad", [(1.0, 0.5), (-1.0, 1.0), (0.0, float("nan"))])
    def test_moment_range(self, build, bcc_fe, bad):
        with pytest.raises(InputError, match="moments of Fe"):
            build(bcc_fe(), moments={"Fe": bad})


class TestPrototype:
    def test_json_round_trip_with_monty(self, build, bcc_fe):
        for p in build(bcc_fe(orderings=["FM", "AFM", "NM", "DLM"], weight=2.0)):
            back = json.loads(json.dumps(p.as_dict()), cls=MontyDecoder)
            assert back.frame == p.frame
            assert (back.frame.magmoms is None) == (p.frame.magmoms is None)
            assert (back.name, back.ordering, back.pattern, back.index, back.weight, back.label) == (
                p.name, p.ordering, p.pattern, p.index, p.weight, p.label,
            )  # fmt: skip

    def test_seeds(self, quick):
        assert [c.source for c in seeds(quick)] == [f"prototype:{p.label}" for p in quick]

    def test_enumerate_holds_what_the_named_orderings_hold(self, build, bcc_fe):
        options = {"supercell": (2, 1, 1), "max_patterns": 50}
        everything = build(bcc_fe(orderings=["enumerate"], **options))
        named = build(bcc_fe(orderings=["FM", "AFM", "FiM"], **options))
        assert {(p.ordering, p.pattern) for p in everything} == {(p.ordering, p.pattern) for p in named}
        assert everything[0].ordering is PrototypeOrdering.FM

    def test_max_patterns(self, build, bcc_fe):
        some = build(bcc_fe(orderings=["AFM"], supercell=(2, 2, 1), max_patterns=2))
        assert [p.label for p in some] == ["bcc-Fe:AFM", "bcc-Fe:AFM2"]
