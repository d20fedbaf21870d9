"""A crystal at temperature: against classical statistical mechanics of a crystal that can be solved, and LAMMPS."""

from __future__ import annotations

import numpy as np
import pytest

from exact_potentials import HarmonicCrystal, alone, bcc
from lammps_potential import mendelev_iron, open_lammps
from magflow.core.units import KB
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.base import Work, property_of
from magflow.properties.measurement import Moments
from magflow.properties.sampling import FORCE_DEVIATION, LARGEST_FORCE_DEVIATION
from magflow.properties.subject import Subject
from magflow.properties.thermal import J_PER_MOL, Thermal
from mmtp_iron import iron_ensemble

CRYSTAL = repeated(bcc(2.86), (3, 3, 3))
SETTINGS = {"atoms": 54, "timestep": 6.0, "picoseconds": 3.0, "runs": 1, "temperatures": (300.0, 900.0)}


def measured(subject, tmp_path, **settings):
    return Thermal(**SETTINGS | settings).measure(subject, Work(tmp_path))


def exact(kelvin, crystal, gamma=2.0, bulk=1.0):
    """Volume of the harmonic crystal, A^3/atom: v^2 - v0 v - 3 gamma k T v0 / B = 0."""
    v0 = crystal.volume / len(crystal)
    return 0.5 * (v0 + np.sqrt(v0**2 + 12.0 * gamma * KB * kelvin * v0 / bulk))


@pytest.fixture(scope="module")
def harmonic(tmp_path_factory):
    members = tuple(HarmonicCrystal(CRYSTAL, stretch=s) for s in (0.995, 1.005))
    subject = Subject(PotentialEnsemble(members, "harmonic"), "bcc-Fe", CRYSTAL)
    return measured(subject, tmp_path_factory.mktemp("harmonic"))


def test_lattice_parameter_of_a_harmonic_crystal(harmonic):
    for kelvin in SETTINGS["temperatures"]:
        a, v, rho = (harmonic.value(name, kelvin) for name in ("lattice parameter", "volume", "density"))
        assert v.value == pytest.approx(exact(kelvin, CRYSTAL), abs=4.0 * v.error)
        assert v.error < 3e-3 * v.value
        assert a.value**3 == pytest.approx(2.0 * v.value)
        assert a.error / a.value == pytest.approx(v.error / v.value / 3.0)
        assert rho.value == pytest.approx(55.845 * 1.66053906660 / v.value)
    assert harmonic.moments is Moments.NOT_READ
    assert harmonic.atoms == 54
    assert harmonic.picoseconds == pytest.approx(6.0, rel=0.01)


def test_expansion_and_heat_capacity_of_a_harmonic_crystal(harmonic):
    expansion, heat = harmonic.value("linear thermal expansion", 600.0), harmonic.value("heat capacity", 600.0)
    low, high = exact(300.0, CRYSTAL), exact(900.0, CRYSTAL)
    assert expansion.value == pytest.approx(1e6 * np.log(high / low) / 1800.0, abs=4.0 * expansion.error)
    assert expansion.error < 0.1 * expansion.value
    v0 = CRYSTAL.volume / 54
    stretched = 0.5 * ((high - v0) ** 2 - (low - v0) ** 2) / v0 / 600.0
    assert heat.value == pytest.approx((3.0 * KB + stretched) * J_PER_MOL, abs=4.0 * heat.error)
    assert heat.error < 0.05 * heat.value
    assert pytest.approx(24.94, abs=0.01) == 3.0 * KB * J_PER_MOL


def test_spread_of_the_volume_is_that_of_the_members(harmonic):
    """Each member by itself would have a volume that differs by half a per cent."""
    v = harmonic.value("volume", 300.0)
    assert v.spread / v.value == pytest.approx(np.std([0.995, 1.005], ddof=1), rel=0.25)
    edge = harmonic.value("lattice parameter", 300.0)
    assert edge.spread / edge.value == pytest.approx(v.spread / v.value / 3.0)
    over_all, worst = (harmonic.value(name, 300.0).value for name in (FORCE_DEVIATION, LARGEST_FORCE_DEVIATION))
    assert 0.0 < np.sqrt(3.0) * over_all < worst, "the norm of the worst atom, and a component of any"


def test_a_cell_that_is_not_cubic_has_three_lengths(tmp_path):
    cell = np.diag([2.9, 2.9, 3.3])
    crystal = repeated(bcc(2.9).replace(cell=cell, positions=[[0, 0, 0], [1.45, 1.45, 1.65]]), (3, 3, 3))
    found = measured(
        Subject(alone(HarmonicCrystal(crystal)), "bct-Fe", crystal), tmp_path, temperatures=(300.0,), picoseconds=0.3
    )
    assert [v.name for v in found.values][:3] == ["a", "b", "c"]
    edges = [found.value(name, 300.0).value for name in "abc"]
    assert np.prod(edges) / 54 == pytest.approx(found.value("volume", 300.0).value, rel=5e-3)


def test_a_crystal_that_is_gone_is_told(tmp_path):
    """The sites of these springs are those of another crystal: body centres shifted by half an edge."""
    shift = 1.43 * np.array([[0, 0, 0], [0, 0, 1]] * 27)
    other = CRYSTAL.replace(positions=CRYSTAL.positions + shift)
    subject = Subject(alone(HarmonicCrystal(other, spring=1.0, gamma=0.0)), "bcc-Fe", CRYSTAL)
    found = measured(subject, tmp_path, picoseconds=1.2, temperatures=(20.0, 40.0))
    assert found.failure.startswith("20 K: the crystal is gone, molten or another one")
    assert found.values == ()


def test_moments_follow_and_an_explosion_keeps_its_last_frame(tmp_path):
    subject = Subject(iron_ensemble(2), "bcc-Fe", bcc(2.84, moment=2.2), Moments.RELAXED, {"Fe": 3.0})
    found = measured(subject, tmp_path, atoms=54, temperatures=(100.0, 40000.0), picoseconds=0.2, timestep=2.0)
    assert "unstable at 40000 K after 0." in found.failure
    assert len(found.frames) == 1 and len(found.frames[0]) == 54
    assert found.value("moment", 100.0).value == pytest.approx(2.0, abs=0.5)
    assert found.outside is not None
    assert found.moments is Moments.RELAXED


class TestBadInput:
    def test_a_supercell_narrower_than_the_cutoff(self, tmp_path):
        subject = Subject(iron_ensemble(2), "bcc-Fe", bcc(2.84, moment=2.2), Moments.FIXED)
        with pytest.raises(InputError, match=r"2 atoms is 2.84 A wide, less than the cutoff of 4.5 A; ask for more"):
            Thermal(atoms=2).measure(subject, Work(tmp_path))

    def test_no_moments(self):
        with pytest.raises(InputError, match="moments"):
            Subject(iron_ensemble(2), "bcc-Fe", bcc(2.84))

    @pytest.mark.parametrize("kelvin", [[], [0.0], [300.0, 300.0], [-1.0]])
    def test_temperatures(self, kelvin):
        with pytest.raises(InputError, match=r"thermal\.temperatures"):
            property_of("thermal", {"temperatures": kelvin})


@pytest.mark.slow
def test_iron_of_an_embedded_atom_potential_as_lammps_has_it(tmp_path, record_testsuite_property):
    """Lattice parameter, expansion and heat capacity of Mendelev's iron, 300 to 600 K, against fix npt of LAMMPS."""
    subject = Subject(alone(mendelev_iron()), "bcc-Fe", bcc(2.8553))
    found = measured(subject, tmp_path, atoms=128, timestep=2.0, runs=2, picoseconds=10.0, temperatures=(300.0, 600.0))
    reference = {t: lammps_npt(t) for t in (300.0, 600.0)}
    for kelvin, (a, error, _) in reference.items():
        mine = found.value("lattice parameter", kelvin)
        record_testsuite_property(
            f"iron at {kelvin:g} K", f"{mine.value:.4f} +- {mine.error:.4f}, LAMMPS {a:.4f} +- {error:.4f} A"
        )
        assert mine.value == pytest.approx(a, abs=3.0 * np.hypot(mine.error, error))
        assert mine.error < 5e-4 * mine.value
    heat = (reference[600.0][2] - reference[300.0][2]) / 300.0 * J_PER_MOL
    expansion = 1e6 * np.log(reference[600.0][0] / reference[300.0][0]) / 300.0
    my_heat, my_expansion = (found.value(name, 450.0) for name in ("heat capacity", "linear thermal expansion"))
    record_testsuite_property(
        "heat capacity of iron", f"{my_heat.value:.2f} +- {my_heat.error:.2f}, LAMMPS {heat:.2f} J/(mol K)"
    )
    told = f"{my_expansion.value:.1f} +- {my_expansion.error:.1f}, LAMMPS {expansion:.1f} 1e-6/K"
    record_testsuite_property("expansion of iron", f"{told}, {found.cpu_seconds:.0f} CPU s")
    assert my_heat.value == pytest.approx(heat, rel=0.05)
    error = np.hypot(*(error / a for a, error, _ in reference.values())) / 300.0 * 1e6
    assert my_expansion.value == pytest.approx(expansion, abs=3.0 * np.hypot(my_expansion.error, error))


def lammps_npt(kelvin, steps=20_000):
    """Lattice parameter with its error and enthalpy (eV/atom) of 128 atoms at zero pressure."""
    from magflow.properties.statistics import average

    lmp = open_lammps()
    lmp.commands_list(
        ["units metal", "lattice bcc 2.8553", "region r block 0 4 0 4 0 4", "create_box 1 r", "create_atoms 1 box",
         "mass 1 55.845", *mendelev_iron().pair, f"velocity all create {2 * kelvin} 4711", "timestep 0.002",
         f"fix f all npt temp {kelvin} {kelvin} 0.1 iso 0 0 1.0", "run 3000", "variable volume equal vol/128",
         "variable enthalpy equal enthalpy/128", "fix kept all vector 10 v_volume v_enthalpy", f"run {steps}"]
    )  # fmt: skip
    kept = np.array([[lmp.extract_fix("kept", 0, 2, i, j) for j in range(2)] for i in range(steps // 10)])
    volume, enthalpy = average([kept[:, 0]]), average([kept[:, 1]])
    a = np.cbrt(2.0 * volume.value)
    return a, a * volume.error / volume.value / 3.0, enthalpy.value
