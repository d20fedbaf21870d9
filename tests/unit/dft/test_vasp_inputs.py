"""Input sets: whatever the order of the atoms, each number belongs to its site or its species."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from magflow.core.frame import Frame
from magflow.core.label import LabelKind
from magflow.dft.vasp import VaspEngine
from magflow.dft.vasp.generator import LongLineIncar, MagneticSetGenerator
from magflow.errors import InputError
from magflow.io.structure import site_order, to_structure
from replay_vasp import read_incar, read_poscar
from strategies import ELEMENTS, frames

RADII = dict(zip(ELEMENTS, (1.1, 1.2, 1.3, 0.8), strict=True))
SETTINGS = {"version": "6.4.2", "rwigs_a": RADII, "kpoints": (2, 2, 2), "potcars": {"Fe": "Fe_pv"}}
METHODS = ({"method": "penalty"}, {"method": "deltaspin"})


def inputs(frame: Frame, **settings) -> dict[str, str]:
    """The files as text, without POTCARs."""
    generator = MagneticSetGenerator(settings=SETTINGS | settings)
    files = generator.get_input_set(to_structure(frame), potcar_spec=True)
    return {name: str(value) for name, value in files.items()}


@st.composite
def shuffled(draw: st.DrawFn) -> Frame:
    """A magnetic frame of up to ten atoms, elements in any order, every moment and position different."""
    n = draw(st.integers(1, 10))
    species = draw(st.lists(st.sampled_from(ELEMENTS), min_size=n, max_size=n))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cell = rng.normal(size=(3, 3)) + 5 * np.eye(3)
    if draw(st.booleans()):
        cell[2] *= -1
    moments = rng.normal(0, 2, (n, 3))
    if draw(st.booleans()):
        moments[:, :2] = 0
    return Frame(tuple(species), cell, rng.normal(0, 5, (n, 3)), moments, rng.random(n) < 0.7)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m["method"])
@given(frame=shuffled())
def test_every_number_stays_with_its_site(method, frame):
    files = inputs(frame, constraint=method)
    incar, (species, cell, positions) = read_incar(files["INCAR"]), read_poscar(files["POSCAR"])
    order = site_order(frame)
    n = len(frame)
    vectors = np.array(incar["MAGMOM"], dtype=float).reshape(n, 3)
    targets = np.array(incar["M_CONSTR"], dtype=float).reshape(n, 3)
    held = np.ones(n, bool) if frame.constrained is None else frame.constrained
    assert sorted(order) == list(range(n))
    for row, atom in enumerate(order):
        assert species[row] == frame.species[atom]
        np.testing.assert_allclose(positions[row] @ cell, frame.positions[atom], atol=1e-9)
        np.testing.assert_array_equal(vectors[row], frame.magmoms[atom])
        np.testing.assert_array_equal(targets[row], frame.magmoms[atom] if held[atom] else np.zeros(3))
    blocks = list(dict.fromkeys(species))
    assert [float(x) for x in incar["RWIGS"]] == [RADII[e] for e in blocks]
    assert files["POTCAR.spec"].split() == [{"Fe": "Fe_pv"}.get(e, e) for e in blocks]
    if method["method"] == "deltaspin":
        assert [int(x) for x in incar["CONSTRL"]] == [int(held[a]) for a in order for _ in range(3)]
        assert len(incar["LAMBDA"]) == 3 * n
        of_held = {frame.species[a] for a in order if held[a]}
        assert [float(x) for x in incar["SCCONVB_GRAD"]] == [1.0 if e in of_held else -1.0 for e in blocks]


@given(frame=shuffled())
def test_elements_stand_in_one_block_each(frame):
    header = inputs(frame)["POSCAR"].splitlines()[5:7]
    assert len(set(header[0].split())) == len(header[0].split())
    assert sum(map(int, header[1].split())) == len(frame)


@given(frame=frames(magnetic=True, vector=False))
def test_site_order_is_what_pymatgen_leaves_alone(frame):
    order = site_order(frame)
    again = to_structure(
        Frame(tuple(frame.species[i] for i in order), frame.cell, frame.positions[order], frame.magmoms[order])
    )
    assert site_order(frame) == order
    assert [s.specie.symbol for s in again] == [s.specie.symbol for s in again.get_sorted_structure()]


def test_a_left_handed_cell_is_not_inverted():
    """pymatgen writes a left-handed cell as its mirror image; forces would come back reversed."""
    frame = Frame(("Fe", "Al"), np.diag([3.0, 3.1, -3.2]), [[0.1, 0.2, 0.3], [1.5, 1.6, 1.9]], [1.5, 0.1])
    _, cell, positions = read_poscar(inputs(frame)["POSCAR"])
    assert np.linalg.det(cell) > 0
    np.testing.assert_allclose(positions @ cell, frame.positions[site_order(frame)], atol=1e-12)


def test_kinds_differ_in_magnetism_only():
    frame = Frame(("Al", "Fe"), 3 * np.eye(3), [[0, 0, 0], [1.5, 1.5, 1.5]], [0.1, 2.0])
    incars = {kind: read_incar(inputs(frame, kind=kind)["INCAR"]) for kind in LabelKind}
    magnetic = {"ISPIN", "MAGMOM", "LNONCOLLINEAR", "LSORBIT", "I_CONSTRAINED_M", "M_CONSTR", "LAMBDA", "RWIGS"}
    rest = [{k: v for k, v in incar.items() if k not in magnetic} for incar in incars.values()]
    assert rest[0] == rest[1] == rest[2]
    none, free, held = (incars[k] for k in ("non-magnetic", "spin-polarised", "constrained"))
    assert (none["ISPIN"], free["ISPIN"]) == (["1"], ["2"])
    assert "MAGMOM" not in none
    assert [float(x) for x in free["MAGMOM"]] == [0.1, 2.0]
    assert (held["LNONCOLLINEAR"], held["LSORBIT"]) == (["True"], ["False"])
    assert held["LAMBDA"] == ["25.0"]


def test_free_vectors_need_the_noncollinear_program():
    frame = Frame(("Fe",), 3 * np.eye(3), [[0, 0, 0]], [[1.0, 0.5, 2.0]])
    incar = read_incar(inputs(frame, kind="spin-polarised")["INCAR"])
    assert incar["LNONCOLLINEAR"] == ["True"]
    assert incar["MAGMOM"] == ["1.0", "0.5", "2.0"]
    assert "I_CONSTRAINED_M" not in incar


@pytest.mark.parametrize(("functional", "tag"), [("PBE", "PE"), ("PBEsol", "PS"), ("RPBE", "RP")])
def test_the_functional_is_always_written(functional, tag):
    """atomate2's own sets would make it PBEsol."""
    frame = Frame(("Fe",), 3 * np.eye(3), [[0, 0, 0]], [2.0])
    assert read_incar(inputs(frame, functional=functional)["INCAR"])["GGA"][0].upper() == tag


def test_long_lines_are_folded_and_read_back():
    incar = LongLineIncar({"M_CONSTR": [round(0.1 * k, 1) for k in range(300)], "NSW": 0})
    assert max(map(len, str(incar).splitlines())) < 255
    assert LongLineIncar.from_str(str(incar)) == incar


def test_hubbard_terms_follow_the_species():
    frame = Frame(("O", "Ni"), 4.2 * np.eye(3), [[2.1, 0, 0], [0, 0, 0]], [0.1, 1.5])
    incar = read_incar(inputs(frame, hubbard={"Ni": {"l": 2, "u_ev": 5.3}})["INCAR"])
    assert (incar["LDAUL"], incar["LDAUU"]) == (["2", "-1"], ["5.3", "0.0"])
    assert read_poscar(inputs(frame)["POSCAR"])[0] == ["Ni", "O"]
    oxide = Frame(("O", "Ti"), 4.2 * np.eye(3), [[2.1, 0, 0], [0, 0, 0]])  # not in the order of the alphabet
    incar = read_incar(inputs(oxide, kind="non-magnetic", hubbard={"Ti": {"l": 2, "u_ev": 3.0}})["INCAR"])
    assert (incar["LDAUL"], incar["LDAUU"]) == (["2", "-1"], ["3.0", "0.0"])


def test_mesh_and_spacing():
    frame = Frame(("Fe",), np.diag([3.0, 3.0, 6.0]), [[0, 0, 0]], [2.0])
    assert "2 2 2" in inputs(frame)["KPOINTS"]
    assert re.search(r"11 11 6", inputs(frame, kpoints=0.2)["KPOINTS"])


def test_without_moments_only_the_non_magnetic_kind_works():
    bare = Frame(("Fe",), 3 * np.eye(3), [[0, 0, 0]])
    assert "MAGMOM" not in inputs(bare, kind="non-magnetic")["INCAR"]
    with pytest.raises(InputError, match="needs moments"):
        inputs(bare)


@pytest.mark.parametrize(
    "bad",
    [
        {"incar": {"magmom": "2*1"}},
        {"incar_running": {"I_CONSTRAINED_M": 1}},
        {"functional": "LDA"},
        {"constraint": {"method": "penalty", "ladder": (10, 1)}},
        {"constraint": {"method": "penalty", "mode": 3}},
        {"constraint": {"method": "deltaspin", "ladder": (1,)}},
        {"version": "latest"},
        {"kpoints": 4},
    ],
)
def test_settings_that_contradict_themselves_are_refused(bad):
    with pytest.raises(ValidationError):
        VaspEngine(**SETTINGS | bad)
    with pytest.raises(InputError):
        MagneticSetGenerator(settings=SETTINGS | bad)
