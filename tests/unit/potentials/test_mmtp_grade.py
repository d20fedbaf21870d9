"""Rows of sites, active sets and extrapolation grades, against finite differences, motep and MLIP."""

from __future__ import annotations

import lzma
import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from mmtp_models import random_frame, random_potential

from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.io.mlip_cfg import read_cfg
from magflow.potentials.mmtp import MmtpPotential
from magflow.potentials.mmtp.grade import LinearActiveSet, ParameterActiveSet, Scope, frame_rows, select_active_set
from magflow.potentials.mmtp.maxvol import _swap, maxvol
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.mtp_file import read_mtp, write_mtp
from magflow.potentials.mmtp.sites import BLOCK, parameter_rows

MAXVOL = [Scope.LINEAR, Scope.SITES, Scope.FRAMES]
FRAMES = [random_frame(seed) for seed in range(30)]


def with_parameters(potential, parameters):
    return replace(potential, model=replace(potential.model, parameters=parameters))


def activated(scope, potential=None, frames=FRAMES):
    potential = potential or random_potential(level=6, n_psi=2)
    return replace(potential, active=select_active_set(potential, potential.geometry(frames), scope))


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("beyond", [1.0, 1.7], ids=["inside", "extended"])
def test_parameter_rows_are_derivatives_of_the_site_energies(form, beyond):
    potential = random_potential(form, level=8, n_phi=4)
    potential = replace(potential, model=replace(potential.model, r_min=1.8 * beyond))
    frames = [f.replace(magmoms=f.magmoms * beyond) for f in FRAMES[:2]]
    rows = parameter_rows(potential.model, potential.geometry(frames))
    parameters, rng = potential.model.parameters, np.random.default_rng(0)
    for _ in range(5):
        direction = rng.normal(size=len(parameters)) * np.maximum(np.abs(parameters), 1e-3)
        # The energy is of degree 5 at most in the parameters: the four-point formula leaves h^4 / 30 of the fifth
        # derivative.
        at = {
            h: with_parameters(potential, parameters + h * direction).atomic_energies(frames)
            for h in (-2e-2, -1e-2, 1e-2, 2e-2)
        }
        slope = (8 * (at[1e-2] - at[-1e-2]) - (at[2e-2] - at[-2e-2])) / 0.12
        np.testing.assert_allclose(rows @ direction, slope, rtol=1e-6, atol=1e-6 * np.abs(slope).max())


def test_parameter_rows_hold_the_basis_functions_and_the_species():
    potential = random_potential(Form.PAPER, level=8)
    geometry, model = potential.geometry(FRAMES), potential.model
    rows = parameter_rows(model, geometry)
    linear, species = np.split(rows[:, model.n_radial :], [model.basis.n_scalar], axis=1)
    np.testing.assert_allclose(linear, potential.basis_values(geometry), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(species, np.eye(2)[geometry.type])


def test_blocks_and_spans_of_atoms_make_no_difference():
    potential = random_potential(level=4, n_phi=2)
    geometry = potential.geometry(FRAMES * (BLOCK // 100))
    assert len(geometry.type) > BLOCK
    rows = parameter_rows(potential.model, geometry)
    np.testing.assert_array_equal(rows, np.tile(rows[:120], (len(rows) // 120, 1)))
    np.testing.assert_array_equal(parameter_rows(potential.model, geometry, 7, 300), rows[7:300])


@pytest.mark.parametrize(("power", "times"), [(0, 8.0), (1, 8.0**0.5), (2, 1.0)])
def test_rows_of_frames_grow_with_the_size_as_the_power_says(power, times):
    potential = random_potential(level=4, n_phi=2)
    geometry = potential.geometry([FRAMES[0], repeated(FRAMES[0], (2, 2, 2))])
    small, large = frame_rows(potential.model, geometry, power)
    np.testing.assert_allclose(large, times * small, rtol=1e-9, atol=1e-12)
    assert power or np.allclose(small, parameter_rows(potential.model, geometry, 0, 4).sum(axis=0))


def test_an_atom_alone_has_a_row_of_its_species_only():
    potential = random_potential(level=6, species=("Fe",))
    lonely = random_frame(0, ("Fe",), 1)
    lonely = lonely.replace(cell=lonely.cell * 5)
    row = parameter_rows(potential.model, potential.geometry([lonely]))[0]
    assert row[-1] == 1.0 and not row[:-1].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(0, 40), st.integers(0, 1000))
def test_maxvol_bounds_every_row(r, extra, seed):
    rows = np.random.default_rng(seed).normal(size=(r + extra, r))
    for start in (None, np.arange(r)):
        chosen = maxvol(rows, start)
        assert len(set(chosen.tolist())) == r
        assert np.abs(rows @ np.linalg.inv(rows[chosen])).max() <= 1.001 + 1e-9


def test_maxvol_keeps_its_coefficients_up_to_date_over_many_swaps():
    rows = np.random.default_rng(3).normal(size=(60, 6))
    chosen = np.arange(6)
    c = rows @ np.linalg.inv(rows[chosen])
    assert _swap(c, chosen) >= 5
    np.testing.assert_allclose(c, rows @ np.linalg.inv(rows[chosen]), atol=1e-10)


def test_maxvol_finds_the_largest_of_all_small_ones():
    """Hadamard bound: of rows of one length, orthogonal ones have the largest volume."""
    angles = np.radians([0, 20, 40, 90, 70])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert sorted(maxvol(rows, np.array([1, 2]))) == [0, 3]


def test_a_type_never_seen_has_an_infinite_grade():
    rng = np.random.default_rng(0)
    active = LinearActiveSet.select(np.zeros(20, int), rng.normal(size=(20, 3)), 2)
    grades = active.grades(np.array([0, 1]), rng.normal(size=(2, 3)))
    assert np.isfinite(grades[0]) and np.isinf(grades[1])


@pytest.mark.parametrize("scope", MAXVOL)
class TestScopes:
    def test_low_on_the_training_set_and_high_outside(self, scope):
        potential = activated(scope)
        assert potential.grades(FRAMES).max() <= 1.0011
        strained = [f.replace(cell=f.cell * 0.85, positions=f.positions * 0.85) for f in FRAMES]
        assert np.median(potential.grades(strained)) > 2.0
        polarised = [f.replace(magmoms=f.magmoms * 3.0) for f in FRAMES]
        assert np.median(potential.grades(polarised)) > 2.0

    def test_invariant_under_what_the_energy_is(self, scope):
        potential = activated(scope)
        frames = [random_frame(seed) for seed in range(100, 105)]
        expected = potential.grades(frames)
        np.testing.assert_allclose(potential.grades([f.time_reversed() for f in frames]), expected, rtol=1e-6)
        turned, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
        turned *= np.sign(np.linalg.det(turned))
        rotated = [f.replace(cell=f.cell @ turned, positions=f.positions @ turned) for f in frames]
        np.testing.assert_allclose(potential.grades(rotated), expected, rtol=1e-6)

    def test_kept_with_the_model(self, scope):
        potential = activated(scope)
        loaded = MmtpPotential.from_bytes(potential.to_bytes())
        assert loaded.active.scope is scope
        np.testing.assert_array_equal(loaded.grades(FRAMES), potential.grades(FRAMES))

    def test_damaged_arrays(self, scope):
        potential = activated(scope)
        arrays = potential.active.arrays()
        name = next(iter(arrays))
        for damaged in (
            {name: arrays[name][1:]},
            {name: arrays[name] * np.nan},
            {name: arrays[name].astype(complex)},
            {"active_of_old": arrays[name]},
            {"active_sites": arrays[name], "active_frames": arrays[name]},
            {**arrays, "active_size_power": np.array(7)},
        ):
            bad = replace(potential, active=_Arrays(damaged))
            with pytest.raises(InputError, match="damaged"):
                MmtpPotential.from_bytes(bad.to_bytes())


class _Arrays:
    def __init__(self, arrays):
        self.arrays = lambda: arrays


@pytest.mark.parametrize("scope", [Scope.LINEAR, Scope.SITES])
def test_a_frame_takes_the_grade_of_its_worst_atom(scope):
    potential = activated(scope)
    atoms = potential.atom_grades(FRAMES).reshape(-1, 4)
    np.testing.assert_array_equal(potential.grades(FRAMES), atoms.max(axis=1))


def test_atoms_have_no_grades_in_a_set_of_frames():
    with pytest.raises(InputError, match="whole frames"):
        activated(Scope.FRAMES).atom_grades(FRAMES)


@pytest.mark.parametrize("scope", [Scope.SITES, Scope.FRAMES])
def test_directions_no_label_reached_have_huge_grades(scope):
    potential = activated(scope, random_potential(level=4, species=("Al", "Fe")), [random_frame(0, ("Fe",))])
    assert potential.grades([random_frame(1, ("Al",))])[0] > 1e4


@pytest.mark.parametrize(("scope", "mode"), [(Scope.SITES, "neighborhood"), (Scope.FRAMES, "configuration")])
def test_motep_selects_the_same_set(tmp_path, scope, mode):
    """motep's copy of MLIP's algorithm gives the same grades, of the raw magnetic potential."""
    pytest.importorskip("motep")
    from motep.grade import Grader
    from motep.io.mlip.mtp import read_mtp as motep_read

    potential = random_potential(Form.PAPER, level=4, n_phi=3, n_psi=2, species=("Fe",))
    raw = replace(potential.model, symmetrise=False, extend=False)
    frames = [random_frame(seed, ("Fe",)) for seed in range(60)]
    potential = activated(scope, replace(potential, model=raw), frames[:50])
    data = motep_read(write_mtp(replace(potential, active=None), tmp_path / "p.mmtp"))
    data.species, data.optimized = [26], ["species_coeffs", "moment_coeffs", "radial_coeffs"]
    images = [Atoms(f.species, f.positions, cell=f.cell, pbc=True, magmoms=f.magmoms[:, 2]) for f in frames]
    grader = Grader(data, seed=0, mode=mode, maxvol_setting={"algorithm": "mlip"})
    grader.update(images[:50])
    graded = [image.calc.results for image in grader.grade(images)]
    np.testing.assert_allclose(potential.grades(frames), [r["MV_grade"] for r in graded], rtol=1e-4)


@pytest.fixture(scope="module")
def mlip(reference_data, tmp_path_factory):
    """A potential MLIP trained, and the configurations it graded."""
    folder = reference_data / "mtp_reference" / "multi_10"
    path = tmp_path_factory.mktemp("mlip") / "out.cfg"
    path.write_bytes(lzma.decompress((folder / "out.cfg.xz").read_bytes()))
    return folder / "pot.mtp", read_cfg(path, ["Fe", "Al", "Cr"])


def test_grades_are_those_mlip_wrote(mlip, tmp_path):
    """Every printed digit of 27027 grades, by selecting from MLIP's training set and by way of a selection state.

    The potential comes without its selection state; its training set is what MLIP graded. MLIP's units decide what
    1e-6 of a coefficient is, and so which virtual rows stay: radial coefficients stand in the file over `scaling`.
    """
    path, records = mlip
    frames = [record.configuration for record in records]
    printed = np.concatenate([record.columns["nbh_grades"] for record in records])
    potential = read_mtp(path, ["Fe", "Al", "Cr"])
    model = potential.model
    scaling = float(re.search(r"scaling = (\S+)", path.read_text())[1])
    units = np.where(np.arange(model.spec.n_parameters) < model.n_radial, scaling, 1.0)

    rows = parameter_rows(model, potential.geometry(frames)) * units
    inverse = ParameterActiveSet.select(Scope.SITES, rows).inverse
    (tmp_path / "pot.mtp").write_bytes(path.read_bytes() + _as_mlip_saves(inverse, model))
    loaded = read_mtp(tmp_path / "pot.mtp", ["Fe", "Al", "Cr"])
    np.testing.assert_allclose(loaded.active.inverse, inverse * units[:, None], rtol=1e-12)
    np.testing.assert_allclose(loaded.atom_grades(frames), printed, rtol=0, atol=6e-6)
    of_frames = [float(record.info["MV_grade"]) for record in records[:50]]
    np.testing.assert_allclose(loaded.grades(frames[:50]), of_frames, rtol=0, atol=6e-6)


def _as_mlip_saves(inverse, model):
    """The block as MLIP-3 streams it; its coefficients are radial, species, linear."""
    radial, linear, species = np.split(inverse, [model.n_radial, model.n_radial + model.basis.n_scalar])
    inverse = np.concatenate([radial, species, linear])
    n, zero, one = len(inverse), f"{0.0:.16e}", f"{1.0:.16e}"
    text = f"\n#MVS_v1.1\nenergy_weight {zero}\nforce_weight {zero}\nstress_weight {zero}\n"
    text += f"site_en_weight {one}\nweight_scaling 2\n#"
    matrices = np.linalg.inv(inverse).tobytes() + inverse.T.tobytes()
    links = "".join(f"{row} {row % 7}\n" for row in range(n))
    return text.encode() + matrices + f"\n#\n{links}#\nBEGIN_CFG\nEND_CFG\n".encode()
