"""``magflow phonons``: what phonopy makes of its files, which mode they name, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from exact_potentials import AsePotential, ModelPotential, alone, bcc, fcc
from magflow.api.vibrations import phonons
from magflow.cli.app import app
from magflow.core.frame import Frame
from magflow.io.extxyz import write_extxyz
from magflow.io.phonopy_files import read_phonopy
from magflow.properties.displaced import columns_of
from magflow.studies.base import read_result
from magflow.studies.validate.result import RESULTS, Validation
from mmtp_iron import iron_ensemble

runner = CliRunner()
SMALL = ["--repeat", "3", "3", "3", "--mesh", "20"]


@pytest.fixture(scope="module")
def iron(tmp_path_factory) -> Path:
    """Two small mMTPs, and bcc iron."""
    folder = tmp_path_factory.mktemp("iron")
    iron_ensemble(2).save(folder / "potential")
    write_extxyz(folder / "fe.extxyz", [bcc(2.84, moment=2.2)])
    return folder


def asked(folder: Path, out: Path, *options: str):
    command = ["phonons", str(folder / "potential"), str(folder / "fe.extxyz"), "-o", str(out), *options]
    return runner.invoke(app, command, env={"COLUMNS": "200"})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_phonopy_finds_the_bands_in_its_files_and_all_name_the_mode(iron, tmp_path):
    import phonopy

    out = tmp_path / "out"
    result = asked(iron, out, *SMALL, "--mode", "adiabatic")
    assert result.exit_code == 0, result.output
    assert "highest frequency (THz)" in result.stdout and "Spin stiffness and spin-lattice coupling" in result.stdout
    assert "moments adiabatic" in result.stdout
    opening = (out / "phonopy_params.yaml").read_text().splitlines()[0]
    assert opening.startswith("# ") and "moments adiabatic: they follow the atoms" in opening
    assert "moments adiabatic" in (out / "bands.svg").read_text()
    bands = rows(out / "bands.csv")
    assert {row["mode"] for name in ("bands", "moments", "states") for row in rows(out / f"{name}.csv")} == {
        "moments adiabatic"
    }
    q = np.array([[float(row[f"q{k}"]) for k in (1, 2, 3)] for row in bands])
    seen = np.array([[float(row[f"branch {k} (THz)"]) for k in (1, 2, 3)] for row in bands])
    constants = {"params": None, "alone": out / "FORCE_CONSTANTS"}
    for name in constants.values():
        loaded = phonopy.load(
            out / "phonopy_params.yaml", force_constants_filename=name, symmetrize_fc=False, log_level=0
        )
        # 1 THz is far above what rounding leaves of the acoustic modes at Gamma
        np.testing.assert_allclose(np.asarray(loaded.run_qpoints(q).frequencies), seen, atol=1e-4)


def test_clamped_force_constants_are_second_derivatives_of_the_mean_energy(iron, tmp_path):
    result = asked(iron, tmp_path / "out", *SMALL, "--mode", "clamped", "--distance", "0.005", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["output"] == str(tmp_path / "out")
    again = read_result(tmp_path / "out" / RESULTS, Validation)
    assert json.loads(json.dumps(again.as_dict())) == {k: v for k, v in told.items() if k != "output"}
    label = read_phonopy(tmp_path / "out", clamped=True)
    exact = columns_of(iron_ensemble(2), label.frame, label.atoms)
    np.testing.assert_allclose(label.columns, exact, atol=2e-3 * np.abs(exact).max())


def test_imaginary_modes_are_told_with_their_q(tmp_path):
    simple = Frame(("Fe",), 2.4 * np.eye(3), np.zeros((1, 3)), [2.2])
    found = phonons(alone(ModelPotential()), simple, tmp_path, repeat=(3, 3, 3), mesh=20.0)
    assert "imaginary modes, down to" in found.found[0][1].remarks[0] and "THz at q = (" in found.found[0][1].remarks[0]
    assert (tmp_path / "FORCE_CONSTANTS").is_file() and not (tmp_path / "thermodynamics.csv").exists()
    assert "imaginary modes" in (tmp_path / "phonopy_params.yaml").read_text().splitlines()[0]


def test_quasi_harmonic_expansion_comes_with_it(tmp_path):
    copper = alone(AsePotential(EMT, ["Cu"], 5.0))
    settings = {"repeat": (2, 2, 2), "mesh": 20.0, "temperatures": (200.0,), "quasi_harmonic": True}
    found = phonons(copper, fcc(3.6, "Cu"), tmp_path, **settings)
    harmonic, expanded = (m for _, m in found.found)
    assert not found.failures and expanded.property == "quasi-harmonic"
    table = rows(tmp_path / "quasi_harmonic.csv")
    assert "mode" not in table[0], "copper on EMT has no moments"
    assert float(table[20]["temperature (K)"]) == 200.0
    assert float(table[20]["volume (A^3/atom)"]) == pytest.approx(expanded.value("volume", 200.0).value)
    assert harmonic.value("mean square thermal displacement", 200.0, "Cu").value > 0.0
    assert "Quasi-harmonic" in (tmp_path / "phonons.html").read_text()


def test_what_it_refuses(iron, tmp_path):
    write_extxyz(iron / "cr.extxyz", [Frame(("Cr",), 2.9 * np.eye(3), np.zeros((1, 3)), [1.0])])
    write_extxyz(iron / "bare.extxyz", [bcc(2.84, moment=2.2).non_magnetic()])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / RESULTS).write_text("{}")
    cases = [
        ("fe.extxyz", ["--repeat", "1", "1", "1"], "a displaced atom would see its own image"),
        ("fe.extxyz", ["--distance", "0.5"], "phonons.displacement"),
        ("fe.extxyz", ["--mesh", "3"], "phonons.mesh"),
        ("fe.extxyz", ["--mode", "adiabatic", "--quasi-harmonic"], "takes phonons by displacements"),
        ("fe.extxyz", ["-T", "0", "--quasi-harmonic"], "temperatures are above 0 K"),
        ("cr.extxyz", [], "does not know"),
        ("bare.extxyz", [], "moments"),
    ]
    for k, (file, options, said) in enumerate(cases):
        command = ["phonons", str(iron / "potential"), str(iron / file), "-o", str(tmp_path / str(k)), *SMALL, *options]
        result = runner.invoke(app, command)
        assert result.exit_code == 2 and said in result.stderr, (options, result.output)
        assert result.stderr.count("\n") == 1 and not (tmp_path / str(k) / RESULTS).exists()
    full = asked(iron, tmp_path / "full", *SMALL)
    assert full.exit_code == 2 and "holds results already" in full.stderr
    options = ["--properties", "phonons", "--set", "phonons.nac=true", "-o", str(tmp_path / "nac")]
    command = ["validate", str(iron / "potential"), "-s", f"Fe={iron / 'fe.extxyz'}", *options]
    nac = runner.invoke(app, command)
    assert nac.exit_code == 2 and nac.stderr.count("\n") == 1
    assert "phonons.nac" in nac.stderr and "settings of phonons: supercell" in nac.stderr
