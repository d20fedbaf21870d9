"""The input text: types, per-type variables, k-points, bands; and the overlap of spheres."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magflow.core.frame import Frame
from magflow.core.units import BOHR
from magflow.dft.abinit.datasets import PawDataset
from magflow.dft.abinit.inputs import atom_types, band_count, input_text
from magflow.dft.abinit.settings import AbinitSettings
from magflow.dft.kpoints import kpoint_mesh
from magflow.dft.spheres import largest_overlap, overlap_fraction

VALENCE = {"Fe": 8.0, "Al": 3.0, "Cr": 6.0}
NUMBERS = {"Fe": 26, "Al": 13, "Cr": 24}
RADII = {"Fe": 2.2, "Al": 2.1, "Cr": 2.3}


def paw(elements):
    return {e: PawDataset(e, None, e * 16, "PBE", VALENCE[e], 2.0) for e in sorted(set(elements))}


def variables(text: str) -> dict[str, list[str]]:
    """Words of each variable; a value may go on over lines."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if re.match(r"[a-z]", line):
            name, *words = line.split()
            found[name] = words
        else:
            found[name] += line.split()
    return found


def row_of(species, moments=None, held=None):
    n = len(species)
    positions = [[2.5 * i, 0.1 * i, 0.0] for i in range(n)]
    return Frame(species, np.diag([2.5 * n, 3, 3]), positions, moments if moments is not None else np.ones(n), held)


atoms = st.lists(st.tuples(st.sampled_from(sorted(VALENCE)), st.booleans()), min_size=1, max_size=12)


@settings(deadline=None)  # first calls import packages
@given(atoms)
def test_types_say_of_every_atom_what_it_is_and_whether_it_is_held(atoms):
    species, held = zip(*atoms, strict=True)
    types = atom_types(species, held)
    assert [(types.elements[t - 1], types.held[t - 1]) for t in types.typat] == list(atoms)
    assert len(set(zip(types.elements, types.held, strict=True))) == len(types.elements)
    first = [types.typat.index(t + 1) for t in range(len(types.elements))]
    assert first == sorted(first)  # order of first appearance, which is ABINIT's


@settings(deadline=None)  # first calls import packages
@given(atoms, st.randoms())
def test_shuffling_atoms_moves_their_lines_along(atoms, random):
    random.shuffle(atoms)
    species, held = zip(*atoms, strict=True)
    moments = [0.25 * i - 1 for i in range(len(atoms))]
    engine = AbinitSettings(ratsph_bohr=RADII)
    got = variables(input_text(engine, row_of(species, moments, held), paw(species), {}))
    types = [int(t) - 1 for t in got["typat"]]
    assert [int(got["znucl"][t]) for t in types] == [NUMBERS[s] for s in species]
    assert [float(got["ratsph"][t]) for t in types] == [RADII[s] for s in species]
    if any(held):
        assert [got["constraint_kind"][t] == "1" for t in types] == list(held)
        assert got["iscf"] == ["7"]
    else:
        assert "constraint_kind" not in got
    files = re.findall(r"(\w+)\.xml", " ".join(got["pseudos"]))
    assert [files[t] for t in types] == list(species)
    spinat = np.array(got["spinat"], dtype=float).reshape(-1, 3)
    np.testing.assert_allclose(spinat[:, 2], moments)
    assert not spinat[:, :2].any()


@settings(deadline=None)  # first calls import packages
@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_positions_and_cell_are_written_in_bohr(shift):
    frame = row_of(("Fe", "Al"))
    frame = frame.replace(positions=frame.positions + shift)
    got = variables(input_text(AbinitSettings(), frame, paw(frame.species), {}))
    np.testing.assert_allclose(np.array(got["xcart"], float).reshape(-1, 3) * BOHR, frame.positions, atol=1e-12)
    np.testing.assert_allclose(np.array(got["rprim"], float).reshape(3, 3) * BOHR, frame.cell, atol=1e-12)


def test_no_line_is_longer_than_abinit_reads():
    species = ("Fe", "Al") * 150
    text = input_text(AbinitSettings(), row_of(species), paw(species), {})
    assert max(map(len, text.splitlines())) <= 132
    assert len(variables(text)["typat"]) == 300


def test_level_of_theory_of_the_quick_campaign_is_the_default():
    frame = row_of(("Fe", "Al"), [1.5, 0.0])
    got = variables(input_text(AbinitSettings(), frame, paw(frame.species), {}))
    expected = {"ecut": "10", "pawecutdg": "20", "tsmear": "0.01", "occopt": "3", "tolvrs": "1e-08", "nsym": "1"}
    assert {k: got[k] for k in expected} == {k: [v] for k, v in expected.items()}
    assert got["ngkpt"] == ["4", "4", "4"]
    assert got["shiftk"] == ["0", "0", "0"]
    assert got["ratsph"] == ["2.2", "2.2"]
    assert got["constraint_kind"] == ["1", "1"]
    assert got["nband"] == ["12"]


def test_kinds_differ_only_in_what_concerns_moments():
    frame = row_of(("Fe", "Al"), [1.5, 0.0])
    held, free, none = (
        variables(input_text(AbinitSettings(kind=k), frame, paw(frame.species), {}))
        for k in ("constrained", "spin-polarised", "non-magnetic")
    )
    cycle = {"iscf", "npulayit", "diemix", "diemixmag", "wfoptalg"}
    magnetic = {"constraint_kind", "spinat", "nsppol", "ratsph", "ratsm"} | cycle
    for other in (free, none):
        assert {k: v for k, v in other.items() if k not in magnetic} == {
            k: v for k, v in held.items() if k not in magnetic
        }
    assert free["nsppol"] == ["2"]
    assert none["nsppol"] == ["1"]
    assert "constraint_kind" not in free
    assert "spinat" not in none
    assert ["diemixmag" in got for got in (held, free, none)] == [False, True, False]
    assert [got["iscf"] for got in (held, free, none)] == [["7"], ["17"], ["17"]], "half the steps without constraints"


def test_bands_follow_the_composition():
    assert band_count(("Fe", "Al"), VALENCE, 1.0) == 12
    assert band_count(("Fe", "Fe"), VALENCE, 1.0) == 16
    assert band_count(("Al",), VALENCE, 1.0) == 6  # 3 electrons: two bands filled, four above
    assert band_count(("Al", "Fe"), VALENCE, 1.0) == band_count(("Fe", "Al"), VALENCE, 1.0)


def test_mesh_from_a_spacing():
    cubic = 3.0 * np.eye(3)
    assert kpoint_mesh(cubic, 2 * np.pi / 3 / 4) == (4, 4, 4)
    assert kpoint_mesh(cubic, 2 * np.pi / 3 / 4 - 1e-3) == (5, 5, 5)
    assert kpoint_mesh(np.diag([3.0, 6.0, 100.0]), 0.5) == (5, 3, 1)
    assert kpoint_mesh(cubic, (2, 3, 4)) == (2, 3, 4)


@settings(deadline=None)  # first calls import packages
@given(st.floats(0.05, 2.0), st.integers(0, 2**32 - 1))
def test_spacing_is_never_exceeded_and_never_wasted(spacing, seed):
    cell = 4 * np.eye(3) + np.random.default_rng(seed).normal(size=(3, 3)) * 0.5
    mesh = np.array(kpoint_mesh(cell, spacing))
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell).T, axis=1)
    assert (lengths / mesh <= spacing * (1 + 1e-6)).all()
    assert ((mesh == 1) | (lengths / np.maximum(mesh - 1, 1) > spacing)).all()


def test_overlap_is_the_ratio_that_abinit_prints():
    radius = np.array([2.2])
    for distance, percent in ((3.9, 1.8636), (3.7, 3.5952), (3.5, 5.8479)):
        assert 100 * overlap_fraction(np.array([distance]), radius, radius)[0] == pytest.approx(percent, abs=5e-5)


def test_overlap_of_spheres_apart_and_inside_each_other():
    a, b = np.array([2.0, 2.0]), np.array([1.0, 1.0])
    np.testing.assert_array_equal(overlap_fraction(np.array([3.0, 0.5]), a, b), [0.0, 1.0])


@settings(deadline=None)  # first calls import packages
@given(st.integers(0, 2**32 - 1))
def test_largest_overlap_sees_every_periodic_image(seed):
    rng = np.random.default_rng(seed)
    cell = 3.0 * np.eye(3) + rng.normal(size=(3, 3)) * 0.3
    frame = Frame(("Fe", "Al"), cell, rng.uniform(-4, 4, (2, 3)), [0, 0])
    radii = np.array([1.2, 1.1])
    images = np.array(np.meshgrid(*[range(-6, 7)] * 3)).reshape(3, -1).T @ cell
    best = 0.0
    for i in range(2):
        for j in range(2):
            d = np.linalg.norm(frame.positions[j] - frame.positions[i] + images, axis=1)
            d = d[d > 1e-9]
            best = max(best, overlap_fraction(d, np.full_like(d, radii[i]), np.full_like(d, radii[j])).max())
    assert largest_overlap(frame, radii)[0] == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    "bad",
    [
        {"ecut": 10},
        {"kpoints": [4, 4]},
        {"kpoints": 0},
        {"kpoints": 4},
        {"kind": "relaxed"},
        {"attempts": 0},
        {"ratsph_bohr": -1},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="validation error"):
        AbinitSettings(**bad)
