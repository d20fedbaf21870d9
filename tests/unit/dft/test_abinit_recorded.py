"""The reader on files that ABINIT wrote, against the numbers ABINIT prints in its main output and log.

The printed numbers are found by expressions of this file alone and in their own units: hartree, bohr, muB.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from magflow.dft.abinit.output import read_output

RECORDED = Path(__file__).parents[2] / "data" / "abinit"
HARTREE_EV = 27.211386245988
BOHR_A = 0.529177210903


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    for packed in RECORDED.glob("*.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


@pytest.fixture(scope="module")
def output(folder):
    return read_output(folder, "run", 2, polarised=True, constrained=True)


@pytest.fixture(scope="module")
def printed(folder) -> str:
    return (folder / "run.abo").read_text()


def numbers(pattern: str, text: str) -> np.ndarray:
    """All groups of the last match."""
    found = re.findall(pattern, text)
    return np.array(found[-1] if isinstance(found[-1], tuple) else found[-1:], dtype=float)


def test_energy_is_the_free_energy(output, printed):
    energy, smearing = (
        numbers(rf"{name}\s*:\s*(-?\d\.\d+E[+-]\d+)", printed)[0] for name in ("total_energy", r"'-kT\*entropy'")
    )
    assert smearing < -0.01
    assert output.energy / HARTREE_EV == pytest.approx(energy, abs=1e-6)
    last = re.findall(r"^ ETOT\s+18\s+(\S+)", printed, re.M)[-1]
    assert output.energy / HARTREE_EV == pytest.approx(float(last), abs=1e-11)


def test_forces(output, printed):
    table = printed.split("cartesian forces (eV/Angstrom) at end:\n")[1].splitlines()[:2]
    rows = [[float(x) for x in line.split()[1:]] for line in table]
    np.testing.assert_allclose(output.forces, rows, atol=1e-6)
    assert np.abs(output.forces).min() > 0.1


def test_stress_in_its_order_and_sign(output, printed):
    """ABINIT prints the order xx yy zz yz xz xy too, and its pressure is minus the mean of the diagonal."""
    voigt = [numbers(rf"sigma\({ij}\)=\s*(\S+)", printed.split("GPa")[0])[0] for ij in ("1 1", "2 2", "3 3")]
    voigt += [numbers(rf"sigma\({ij}\)=\s*(\S+)", printed.split("GPa")[0])[0] for ij in ("3 2", "3 1", "2 1")]
    np.testing.assert_allclose(output.stress * BOHR_A**3 / HARTREE_EV, voigt, rtol=1e-6)
    pressure = numbers(r"pressure_GPa:\s*(\S+)", printed)[0]
    assert -output.stress[:3].mean() * 160.2176634 == pytest.approx(pressure, rel=1e-4)
    assert len({f"{x:.5f}" for x in output.stress}) == 6  # an exchanged pair would show


def test_moments(output, printed):
    up_minus_down = [numbers(rf"\n +{i}   2\.20000 +(\d\.\d+) +(\d\.\d+) ", printed) @ [1, -1] for i in (1, 2)]
    np.testing.assert_allclose(output.magmoms, up_minus_down, atol=2e-6)
    assert output.magmoms[1] == pytest.approx(1.6, abs=1e-4)


def test_magnetic_forces_are_minus_the_gradient_that_is_printed(output, printed):
    """Below "Gradient with respect to target"; below its free moment (1.6 muB here) iron wants more."""
    table = printed.split("Gradient with respect to target")[1]
    gradient = [numbers(rf"\n +{i}   2\.20000 +-?0\.000000 +(-?\d\.\d+)", table)[0] for i in (1, 2)]
    np.testing.assert_allclose(output.magnetic_forces / HARTREE_EV, -np.array(gradient), atol=1e-6)
    assert output.magnetic_forces[1] > 0.1
    assert output.magnetic_forces[0] == 0.0  # free: the label says NaN


def test_lowest_state(output, folder):
    log = (folder / "run.log").read_text()
    fermi = numbers(r"Fermi \(or HOMO\) energy \(hartree\) =\s*(\S+)", log)[0]
    eigenvalues = log.split("Eigenvalues (hartree)", 1)[1]
    rows = re.findall(r"^ {2,}(-?\d\.\d{5}(?: +-?\d\.\d{5})+)\s*$", eigenvalues, re.M)
    lowest = min(float(x) for row in rows for x in row.split())
    assert output.lowest_state / HARTREE_EV == pytest.approx(lowest - fermi, abs=2e-5)


def test_how_it_ended(output, printed):
    assert output.converged
    assert output.iterations == len(re.findall(r"^ ETOT +\d+ ", printed, re.M)) == 18
    assert output.residual == pytest.approx(6.59e-9)
    assert output.version == "9.6.2"
    assert output.dataset_md5 == {"Al": "0292cae29f5d6237e50f6abdd43a7bdd", "Fe": "37abbd8d6c3c35915a9b583b742da910"}
    assert output.scf_tail.splitlines()[-1].startswith(" ETOT 18  -24.0377535")
