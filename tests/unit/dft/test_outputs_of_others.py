"""Outputs of DFT codes that exist, read as labels."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import ase
import numpy as np
import pytest

from magflow.core.label import LabelKind
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.dft.abinit.output import read_output as read_abinit
from magflow.dft.vasp.deltaspin import read_log
from magflow.dft.vasp.output import open_vasprun
from magflow.dft.vasp.settings import VaspSettings
from magflow.errors import InputError
from magflow.io.findings import Findings
from magflow.io.gather import gather
from magflow.io.sources import Wish

RECORDED = Path(__file__).parents[2] / "data" / "abinit"
VASP = Path(ase.__file__).parent / "test" / "testdata" / "vasp"


def imported(path):
    findings = Findings()
    return gather([path], Wish(), findings), findings


@pytest.fixture
def abinit_run(tmp_path):
    for packed in RECORDED.glob("*.gz"):
        (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return tmp_path


@pytest.mark.parametrize("name", ["", "run.abo", "runo_GSR.nc"])
def test_abinit_by_folder_main_output_or_netcdf(abinit_run, name):
    """The same numbers as the reader of our own runs."""
    own = read_abinit(abinit_run, "run", 2, polarised=True, constrained=True)
    (record,), _ = imported(abinit_run / name)
    label = record.label
    assert (label.energy, label.level_of_theory.kind) == (own.energy, LabelKind.CONSTRAINED)
    np.testing.assert_array_equal(label.forces, own.forces)
    np.testing.assert_array_equal(label.stress, own.stress)
    np.testing.assert_array_equal(label.magmoms[:, 2], own.magmoms)
    held = own.magnetic_forces != 0
    np.testing.assert_array_equal(label.magnetic_forces[held, 2], own.magnetic_forces[held])
    assert record.frame.species == ("Al", "Fe") and label.level_of_theory.functional == "PBE"


def test_abinit_without_its_main_output_has_unknown_moments(abinit_run):
    (abinit_run / "run.abo").unlink()
    (record,), findings = imported(abinit_run)
    assert record.label.magmoms is None and record.label.level_of_theory.parameters["moments"] == "unknown"
    assert "moments are unknown" in findings.lines()[0]


def test_abinit_main_output_alone_is_refused(abinit_run):
    (abinit_run / "runo_GSR.nc").unlink()
    with pytest.raises(InputError, match=r"GSR\.nc beside it"):
        imported(abinit_run / "run.abo")


STEP = """ VOLUME and BASIS-vectors are now :
      direct lattice vectors                 reciprocal lattice vectors
     {a}  0.000000000  0.000000000     0.35  0.0  0.0
     0.000000000  2.900000000  0.000000000     0.0  0.35  0.0
     0.000000000  0.000000000  2.900000000     0.0  0.0  0.35
  in kB     100.0     200.0     300.0     10.0     20.0     30.0
 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.100000      0.200000      0.300000
      1.45000      1.45000      1.50000        -0.100000     -0.200000     -0.300000
 -----------------------------------------------------------------------------------
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  free  energy   TOTEN  =       {energy} eV
  energy  without entropy=      -16.4  energy(sigma->0) =      -16.45
"""
MOMENTS = """ magnetization (x)

# of ion       s       p       d       tot
------------------------------------------
    1       -0.012  -0.043   2.490   {m}
    2       -0.012  -0.043  -2.490  -2.445
--------------------------------------------------
tot         -0.024  -0.086   0.000   0.000
"""
CONVERGED = "------------------------ aborting loop because EDIFF is reached ------------------------\n"


def outcar(*steps, spin=2):
    head = f""" vasp.6.4.2 20Jul23 (build) complex
   TITEL  = PAW_PBE Fe_pv 02Aug2007
   TITEL  = PAW_PBE Al 04Jan2001
   ions per type =               1   1
   ISPIN  =      {spin}    spin polarized calculation?
   LNONCOLLINEAR =      F non collinear calculations
   ENCUT  =  520.0 eV
   GGA     =    PE    GGA type
  free energy    TOTEN  =        -7.68882672 eV
"""
    return head + "".join(steps)


def step(energy=-16.5, moment="2.445", done=CONVERGED, a="2.900000000"):
    table = "" if moment is None else MOMENTS.format(m=moment)
    return done + table + STEP.format(energy=energy, a=a)


def write(tmp_path, text, name="OUTCAR"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_every_step_of_an_outcar(tmp_path):
    path = write(tmp_path, outcar(step(), step(-16.6, "2.400", a="2.950000000")))
    (first, second), findings = imported(path)
    assert first.frame.species == ("Fe", "Al") and findings.lines() == []
    assert (first.label.energy, second.label.energy) == (-16.5, -16.6)
    assert second.label.magmoms[:, 2].tolist() == [2.4, -2.445] and second.frame.cell[0, 0] == 2.95
    kb = -first.label.stress * EV_PER_A3_IN_GPA * 10
    np.testing.assert_allclose(kb, [100, 200, 300, 20, 30, 10])
    level = first.label.level_of_theory
    assert (level.code, level.version, level.functional, level.kind) == ("vasp", "6.4.2", "PBE", "spin-polarised")
    assert level == second.label.level_of_theory


def test_a_step_that_did_not_converge_is_left_out(tmp_path):
    path = write(tmp_path, outcar(step(done=""), step(-16.6)))
    (record,), findings = imported(path)
    assert record.label.energy == -16.6
    assert "left out: the electronic steps did not converge (1 frame" in findings.lines()[0]


def test_a_polarised_step_without_moments_says_so(tmp_path):
    (record,), findings = imported(write(tmp_path, outcar(step(moment=None))))
    assert record.configuration.magmoms is None and record.label.level_of_theory.kind is LabelKind.SPIN_POLARISED
    assert "moments are unknown" in findings.lines()[0]
    (plain,), findings = imported(write(tmp_path, outcar(step(moment=None), spin=1)))
    assert plain.label.level_of_theory.kind is LabelKind.NON_MAGNETIC and not findings.lines()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.100000      0.2", "0.1*****      0.2", "damaged"),
        ("2.445\n    2 ", "******\n    2 ", "damaged"),
        ("   ions per type =               1   1\n", "", "which atoms"),
        ("free  energy", "free enthalpy", "no finished step"),
    ],
)
def test_a_damaged_outcar_is_one_message(tmp_path, old, new, message):
    text = outcar(step())
    assert old in text
    with pytest.raises(InputError, match=message):
        imported(write(tmp_path, text.replace(old, new)))


def test_a_penalty_is_taken_off_or_refused(tmp_path):
    text = outcar(step()).replace("   ENCUT", "   I_CONSTRAINED_M =      2\n   ENCUT")
    with pytest.raises(InputError, match="penalty"):
        imported(write(tmp_path, text))
    write(tmp_path, "M_CONSTR = 0 0 2.5 0 0 -2.5\nI_CONSTRAINED_M = 2\n", "INCAR")
    deviation = 0.05  # of both moments: E_p = 25 x 2 x 0.05^2
    write(
        tmp_path,
        " E_p =  0.12500E+00  lambda =  0.250E+02\n ion   MW_int                 M_int\n"
        "  1  0.000  0.000  2.450    0.000  0.000  2.5\n  2  0.000  0.000 -2.450    0.000  0.000 -2.5\n",
        "OSZICAR",
    )
    (record,), _ = imported(tmp_path / "OUTCAR")
    assert record.label.energy == pytest.approx(-16.5 - 0.125)
    assert record.label.level_of_theory.kind is LabelKind.CONSTRAINED
    np.testing.assert_allclose(record.label.magnetic_forces[:, 2], [-50 * deviation, 50 * deviation])


def test_energies_of_a_vasprun_hold_no_pv():
    """ASE's own test file, PSTRESS 1 kB: the energy its reader gives without PV."""
    (record,), _ = imported(VASP / "vasprun_pstress.xml")
    assert record.label.energy == pytest.approx(-20.246959, abs=1e-6)


def test_stars_in_the_echo_of_the_input_say_nothing_about_the_results(tmp_path):
    text = (VASP / "vasprun_pstress.xml").read_text()
    stars = text.replace(
        '<i type="int" name="NELM">', '<i type="int" name="KINTER">******</i><i type="int" name="NELM">', 1
    )
    assert stars != text
    run = open_vasprun(write(tmp_path, stars, "vasprun.xml"))
    assert run.ionic_steps[-1]["e_fr_energy"] == pytest.approx(-20.23985977)
    forces = re.sub(r'(<varray name="forces" >\s*<v>)[^<]*', r"\1 ****** 0.0 0.0 ", text)
    with pytest.raises(InputError, match="step 1: forces has a value that is not finite"):
        imported(write(tmp_path, forces, "vasprun.xml"))


DELTASPIN_6 = """ DeltaSpin final status
 Moment constraint      : {reached}
 Maximum moment error   :   8.0856E-08 uB

 DeltaSpin final constrained observables
   ion elem cx cy cz                Mx                My                Mz               |M|
--------------------------------------------------------------------------------------------
     1   Fe  1  1  1      0.3500000809     -0.0000000002      2.6769999639      2.6997831143
     2   Al  1  1  1     -0.3500000800     -0.0000000002      2.6769999642      2.6997831143

 Magnetic force (eV/uB)
   ion elem cx cy cz               MFx               MFy               MFz
--------------------------------------------------------------------------
     1   Fe  1  1  1      0.0072313466      0.0000003270      0.0494295373
     2   Al  1  1  1     -0.0072396120      0.0000004429      0.0494380481
 magnetic force = spin_lambda for L=E+lambda.(M-M_target)
"""


def test_the_tables_of_deltaspin_in_vasp_6_have_the_other_sign_of_lambda(tmp_path):
    log = read_log(DELTASPIN_6.format(reached="reached"), 2)
    assert log.magnetic_forces[0, 2] == 0.0494295373 and log.magmoms[1, 0] == -0.35000008
    assert log.met and log.rms == 8.0856e-8 and log.targets is None
    assert not read_log(DELTASPIN_6.format(reached="missed"), 2).met
    write(tmp_path, DELTASPIN_6.format(reached="reached"), "run.log")
    (record,), _ = imported(write(tmp_path, outcar(step())))
    assert record.label.magnetic_forces[1, 2] == 0.0494380481
    assert record.label.level_of_theory.kind is LabelKind.CONSTRAINED


@pytest.mark.parametrize("tag", ["PSTRESS", "pstress", "SCALEE", "ML_LMLFF", "IMAGES", "EFIELD"])
def test_tags_with_which_energies_mean_something_else_are_refused(tag):
    for place in ("incar", "incar_running"):
        with pytest.raises(ValueError, match="would not be those of the frame"):
            VaspSettings(version="6.4.2", kind="non-magnetic", **{place: {tag: 1}})


@pytest.mark.parametrize("tag", ["LREAL", "ADDGRID", "IVDW", "NELECT", "LASPH"])
def test_tags_that_may_change_the_answer_belong_to_the_level_of_theory(tag):
    with pytest.raises(ValueError, match="belongs under incar"):
        VaspSettings(version="6.4.2", kind="non-magnetic", incar_running={tag: 1})
    assert VaspSettings(version="6.4.2", kind="non-magnetic", incar={tag: 1}).incar == {tag: 1}
