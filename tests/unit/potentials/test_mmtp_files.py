"""``.mtp`` files: dialects, MLIP's selection state, and every kind of damage."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmtp_models import random_frame, random_potential

from magflow.errors import InputError, StoreError
from magflow.potentials.mmtp import MmtpPotential
from magflow.potentials.mmtp.grade import Scope, select_active_set
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.mtp_file import Dialect, read_mtp, write_mtp

FRAMES = [random_frame(seed) for seed in range(20)]
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def raw(form=Form.PAPER, scope=None, **options):
    """A potential an ``.mtp`` file can hold in full."""
    potential = random_potential(form, **{"level": 4, "n_psi": 2, "n_phi": 3, **options})
    model = replace(potential.model, max_moment=np.full(len(potential.species), 2.9), symmetrise=False, extend=False)
    potential = MmtpPotential(model)
    if scope is None:
        return potential
    frames = [f for f in FRAMES if set(f.species) <= set(potential.species)]
    return replace(potential, active=select_active_set(potential, potential.geometry(frames), scope))


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("level", [2, 8, 12])
def test_what_is_written_reads_back(tmp_path, form, dialect, level):
    potential = raw(form, level=level)
    again = read_mtp(write_mtp(potential, tmp_path / "p.mmtp", dialect=dialect), potential.species)
    expected, got = potential.predict(FRAMES), again.predict(FRAMES)
    np.testing.assert_allclose(got.energy, expected.energy, rtol=1e-12)
    np.testing.assert_allclose(got.forces, expected.forces, atol=1e-11)
    np.testing.assert_allclose(got.magnetic_forces, expected.magnetic_forces, atol=1e-11)


def test_dialects_differ_in_the_magnetic_keys_only(tmp_path):
    mag, basis = (write_mtp(raw(), tmp_path / d, dialect=d).read_text().splitlines() for d in Dialect)
    assert {line.split()[0] for line in set(mag) - set(basis)} == {"min_mag", "max_mag", "mag_basis_size"}
    spelled = {line.split()[0] for line in set(basis) - set(mag)}
    assert spelled == {"magnetic_basis_type", "min_val", "max_val", "basis_size"}


@pytest.mark.parametrize("old", list(Dialect))
def test_motep_writes_a_third_dialect(tmp_path, old):
    """``min``, ``max`` and ``size`` below both types."""
    motep = pytest.importorskip("motep.io.mlip.mtp")
    potential = raw()
    motep.write_mtp(tmp_path / "theirs", motep.read_mtp(write_mtp(potential, tmp_path / "ours", dialect=old)))
    assert re.search(r"^\s*min = ", (tmp_path / "theirs").read_text(), re.MULTILINE)
    again = read_mtp(tmp_path / "theirs", potential.species)
    np.testing.assert_allclose(again.predict(FRAMES).energy, potential.predict(FRAMES).energy, rtol=1e-12)


class TestSelectionState:
    @pytest.mark.parametrize("scope", [Scope.SITES, Scope.FRAMES])
    @pytest.mark.parametrize("power", [0, 1, 2])
    def test_survives(self, tmp_path, scope, power):
        potential = raw(scope=scope)
        if scope is Scope.FRAMES:
            potential = replace(potential, active=replace(potential.active, size_power=power))
        again = read_mtp(write_mtp(potential, tmp_path / "p.mmtp"), potential.species)
        assert (again.active.scope, again.active.size_power) == (scope, potential.active.size_power)
        seen = [random_frame(seed) for seed in range(50, 60)]
        np.testing.assert_allclose(again.grades(seen), potential.grades(seen), rtol=1e-6)
        twice = read_mtp(write_mtp(again, tmp_path / "q.mmtp"), potential.species)
        np.testing.assert_array_equal(twice.active.inverse, again.active.inverse)

    def test_what_the_format_cannot_say_is_left_out(self, tmp_path):
        even = random_potential(level=4, species=("Fe",))
        for potential in (raw(), raw(scope=Scope.LINEAR), even):
            assert b"#" not in write_mtp(potential, tmp_path / "p.mtp").read_bytes()

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"MVS_v1.1", b"MVS_v9.9", "not text"),
            (b"energy_weight", b"energy_wait", "begins wrong"),
            (b"site_en_weight 1.0", b"site_en_weight one", "not a number"),
            (b"site_en_weight 1.0", b"site_en_weight 0.0", "mixes rows"),
            (b"force_weight 0.0", b"force_weight 0.1", "mixes rows"),
            (b"energy_weight 0.0", b"energy_weight nan", "mixes rows"),
            (b"weight_scaling 0", b"weight_scaling 7", "mixes rows"),
            (b"\n#\n", b"\n+\n", "does not fit the potential"),
            (b"-1 -1\n", b"-1 ?\n", "no table of its rows"),
        ],
    )
    def test_damage_is_named(self, tmp_path, old, new, message):
        potential = raw(scope=Scope.SITES, species=("Fe",))
        path = write_mtp(potential, tmp_path / "p.mmtp")
        data = path.read_bytes()
        # The mark of the end may by chance stand in the matrices too: change the last.
        at = data.rindex(old) if old.startswith(b"\n") and b"+" not in old else data.index(old)
        if old == b"\n#\n":
            at = data.index(b"\n#\n-1 -1")
        path.write_bytes(data[:at] + new + data[at + len(old) :])
        with pytest.raises(InputError, match=message) as caught:
            read_mtp(path, potential.species)
        assert str(path) in str(caught.value)

    def test_matrices_that_do_not_belong_together(self, tmp_path):
        potential = raw(scope=Scope.SITES, species=("Fe",))
        path = write_mtp(potential, tmp_path / "p.mmtp")
        data, n = path.read_bytes(), potential.model.spec.n_parameters
        start = data.index(b"\n#", data.index(b"weight_scaling")) + 2
        rows = np.frombuffer(data, "<f8", n * n, start)
        for changed in (rows * 2, rows * np.nan, np.roll(rows, 1)):
            path.write_bytes(data[:start] + changed.tobytes() + data[start + 8 * n * n :])
            with pytest.raises(InputError, match="not inverse"):
                read_mtp(path, ["Fe"])

    def test_of_another_potential(self, tmp_path):
        small, large = (raw(scope=Scope.SITES, species=("Fe",), n_phi=n_phi) for n_phi in (3, 4))
        path, other = write_mtp(small, tmp_path / "p.mmtp"), write_mtp(large, tmp_path / "q.mmtp")
        at = b"#MVS_v1.1"
        path.write_bytes(path.read_bytes().split(at)[0] + at + other.read_bytes().split(at)[1])
        with pytest.raises(InputError, match="does not fit the potential"):
            read_mtp(path, ["Fe"])


@pytest.fixture
def text(tmp_path):
    return write_mtp(raw(n_psi=1, species=("Fe",)), tmp_path / "p.mtp").read_text()


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ("^MTP", "MPT", "not an MTP file"),
        ("species_count = 1", "species_count = 2", "wrong number of species"),
        ("RBChebyshev", "RBTaylor", "unknown basis"),
        (r"\{[^}]*e-\d\d\}\nalpha_moments", "{1.0}\nalpha_moments", "wrong number of radial coefficients"),
        ("alpha_moment_mapping", "alpha_moment_map", "a key is missing"),
        ("0-0", "0-1", "missing or in excess"),
        ("0-0", "zero", "neither a key nor coefficients"),
        (r"max_dist = .*", "max_dist = nan", "not a finite number"),
        (r"max_dist = .*", "max_dist = 4.5.1", "not a finite number"),
        (r"max_dist = .*", "max_dist = 1e999", "not a finite number"),
        (r"max_dist = .*", "max_dist = 4.5 4.6", "not one number"),
        (r"max_dist = .*", "max_dist = 1.0", "out of order"),
        (r"max_dist = (.*)", r"max_dist = \1\nmax_dist = \1", "given twice"),
        (r"alpha_moment_mapping = .*", "alpha_moment_mapping = {0, 99}", "out of range"),
        (r"alpha_moment_mapping = .*", "alpha_moment_mapping = {0}", "wrong number of scalar moments"),
        (r"alpha_index_times = .*", "alpha_index_times = {{0, 7, 1, 1}}", "out of range"),
        (r"alpha_index_times = .*", "alpha_index_times = {{0, 0, 1}}", "another size than announced"),
        (r"alpha_index_times = .*", "alpha_index_times = {{0, 0.5, 1, 1}}", "an integer"),
        (r"alpha_index_times = .*", "alpha_index_times = {{1, 0, 1, 0}}", "not consistent"),
        (r"alpha_index_basic = .*", "alpha_index_basic = {{0, 0, 0, 99}}", "out of range"),
        (r"alpha_index_basic = .*", "alpha_index_basic = {{9, 0, 0, 0}}", "out of range"),
        (r"moment_coeffs = .*", "moment_coeffs = {1.0}", "wrong number of coefficients"),
        (r"moment_coeffs = \{(.*)\}", r"moment_coeffs = {\1", "a list does not end"),
        (r"radial_basis_size = .*", "radial_basis_size = 99", "wrong number of radial coefficients"),
        (r"radial_basis_size = .*", "radial_basis_size = 0", "from 1 up"),
        (r"scaling = .*", "scaling = one", "not a finite number"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path, text, pattern, replacement, message):
    changed = re.sub(pattern, replacement, text)
    assert changed != text
    path = tmp_path / "bad.mtp"
    path.write_text(changed)
    with pytest.raises(InputError, match=message) as caught:
        read_mtp(path, ["Fe"])
    assert caught.value.where.startswith(str(path))
    if line := re.search(r"line (\d+)$", caught.value.where):
        named = changed.splitlines()[int(line[1]) - 1]
        assert named not in text.splitlines() or message in ("given twice", "out of range")


def test_magnetic_range(tmp_path):
    text = write_mtp(raw(), tmp_path / "p.mmtp").read_text()
    for pattern, replacement, message in (
        (r"min_mag = .*", "min_mag = -1", "not symmetric"),
        (r"mag_basis_size = .*", "mag_basis_size = 3", "wrong number of radial coefficients"),
        (r"mag_basis_size = .*", "", "a key is missing"),
        (r"max_mag = .*", "max_mag = -2.9", "not symmetric"),
        (r"\tmin_mag", "magnetic_basis_type = BTaylor\nmin_val", "unknown basis"),
    ):
        (tmp_path / "bad").write_text(re.sub(pattern, replacement, text))
        with pytest.raises(InputError, match=message):
            read_mtp(tmp_path / "bad", ["Al", "Fe"])


def test_absent_and_binary(tmp_path):
    (tmp_path / "binary").write_bytes(b"MTP\n\xff\x00")
    with pytest.raises(InputError, match="not text"):
        read_mtp(tmp_path / "binary", ["Fe"])
    with pytest.raises(InputError, match="cannot be read"):
        read_mtp(tmp_path / "absent", ["Fe"])


@pytest.mark.parametrize("form", list(Form))
def test_species_with_ranges_of_their_own_get_the_widest(tmp_path, form):
    potential = random_potential(form)
    assert len(set(potential.model.max_moment)) == 2
    bare = MmtpPotential(replace(potential.model, symmetrise=False))
    again = read_mtp(write_mtp(potential, tmp_path / "p.mmtp"), potential.species)
    assert set(again.model.max_moment) == {potential.model.max_moment.max()}
    np.testing.assert_allclose(again.predict(FRAMES).energy, bare.predict(FRAMES).energy, rtol=1e-10)
    np.testing.assert_allclose(again.predict(FRAMES).magnetic_forces, bare.predict(FRAMES).magnetic_forces, atol=1e-9)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(StoreError, match="cannot write"):
        write_mtp(raw(), tmp_path)


DATA = {}


def good(tmp_path, dialect, scope):
    key = (dialect, scope)
    if key not in DATA:
        DATA[key] = write_mtp(raw(scope=scope, species=("Fe",)), tmp_path / "good", dialect=dialect).read_bytes()
    return DATA[key]


def expect_error_or_potential(tmp_path, data):
    path = tmp_path / "changed"
    path.write_bytes(data)
    try:
        potential = read_mtp(path, ["Fe"])
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert np.isfinite(potential.model.parameters).all()


@relaxed
@given(st.sampled_from(Dialect), st.sampled_from([None, Scope.SITES]), st.data())
def test_any_byte_changed(tmp_path, dialect, scope, data):
    text = good(tmp_path, dialect, scope)
    at, byte = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 255))
    expect_error_or_potential(tmp_path, text[:at] + bytes([byte]) + text[at + 1 :])


@relaxed
@given(st.sampled_from(Dialect), st.sampled_from([None, Scope.SITES]), st.data())
def test_any_line_lost_doubled_or_moved(tmp_path, dialect, scope, data):
    lines = good(tmp_path, dialect, scope).splitlines(keepends=True)
    at, to = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    kept = lines[:at] + lines[at + 1 :]
    change = data.draw(st.sampled_from(["lose", "double", "move"]))
    changed = {
        "lose": kept,
        "double": [*lines[:at], lines[at], *lines[at:]],
        "move": [*kept[:to], lines[at], *kept[to:]],
    }
    expect_error_or_potential(tmp_path, b"".join(changed[change]))


@relaxed
@given(st.sampled_from([None, Scope.SITES]), st.data())
def test_any_end_cut_off(tmp_path, scope, data):
    text = good(tmp_path, Dialect.MAG, scope)
    end = text.index(b"#") if scope else len(text)
    cut = data.draw(st.integers(0, len(text) - 2))
    path = tmp_path / "cut"
    path.write_bytes(text[:cut])
    # Only the text alone, and a table of rows that is whole, say all.
    if end - 2 <= cut <= end or text[cut:].strip() in (b"", b"#", b"}"):
        return
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_mtp(path, ["Fe"])
