"""``magflow relax`` on a small fitted ensemble."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

import magflow
from magflow.cli.app import app
from magflow.core.calibration import Calibration
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily

runner = CliRunner()
CUBE = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])


def distorted(rng, largest):
    cell = rng.uniform(2.75, 2.98) * (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3)))
    return Frame(("Fe", "Fe"), cell, CUBE @ cell + rng.normal(0, 0.08, (2, 3)), rng.uniform(-largest, largest, 2))


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> PotentialEnsemble:
    engine, rng = SpinLatticeEngine(), np.random.default_rng(2)
    level = engine.level_of_theory(["Fe"])
    frames = [distorted(rng, 2.8) for _ in range(60)]
    dataset = Dataset(LabeledFrame(f, engine.label(f, level, tmp_path_factory.mktemp("w"))) for f in frames)
    family = MmtpFamily(level=6, max_iterations=10)
    members = [fit_member(family, dataset, elements=["Fe"], seed=1, member=k)[0] for k in range(2)]
    return PotentialEnsemble(tuple(members), "mmtp")


@pytest.fixture(scope="module")
def models(ensemble, tmp_path_factory):
    return ensemble.save(tmp_path_factory.mktemp("models") / "ensemble")


@pytest.fixture
def structure(tmp_path):
    path = tmp_path / "start.extxyz"
    cell = 2.80 * np.eye(3)
    write_extxyz(path, [Frame(("Fe", "Fe"), cell, CUBE @ cell + [[0, 0, 0], [0.05, 0, 0]], [2.0, 1.8])])
    return path


def relax(models, structure, *options):
    return runner.invoke(app, ["relax", str(models), str(structure), *map(str, options)])


def test_the_end_is_written_printed_and_converged(models, ensemble, structure, tmp_path):
    out, path = tmp_path / "out.extxyz", tmp_path / "path.extxyz"
    result = relax(models, structure, "-o", out, "--trajectory", path, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["converged"]
    assert told["unmet"] == []
    (end,) = read_extxyz(out, labels=False)
    mean = ensemble.predict([end.frame]).mean
    assert np.linalg.norm(mean.forces, axis=1).max() <= 1e-3
    assert np.abs(mean.magnetic_forces).max() <= 1e-3
    assert np.abs(mean.stress).max() <= 0.01 / 160.2
    assert told["after"]["energy"] == {"value": pytest.approx(mean.energy[0] / 2), "unit": "eV/atom"}
    assert told["after"]["extrapolation grade"]["value"] == pytest.approx(float(ensemble.grades([end.frame])[0]))
    assert told["after"]["energy"]["value"] < told["before"]["energy"]["value"]
    states = ase.io.read(path, ":")
    assert len(states) > 3
    assert [s.get_potential_energy() for s in states] == sorted(
        (s.get_potential_energy() for s in states), reverse=True
    )
    assert states[-1].get_potential_energy() == pytest.approx(2 * told["after"]["energy"]["value"])


def test_the_table_names_what_a_user_must_see(models, structure):
    result = relax(models, structure)
    assert result.exit_code == 0, result.output
    for words in ("energy", "volume", "pressure", "Fe moment", "largest magnetic force", "extrapolation grade"):
        assert words in result.stdout
    assert "converged after" in result.stdout
    assert "outside the training set" not in result.stdout


def test_not_converged_is_said_and_is_an_exit_code(models, structure):
    result = relax(models, structure, "--max-evaluations", 3)
    assert result.exit_code == 1
    assert "not converged after 3 predictions" in result.stdout
    assert "eV/A, allowed 0.001" in result.stdout


def test_a_state_the_model_does_not_know_is_called_so(models, structure):
    result = relax(models, structure, "--fix", "cell", "--fix", "atoms", "--moments", "keep")
    assert result.exit_code == 0
    assert "outside" not in result.stdout
    squeezed = read_extxyz(structure, labels=False)[0].frame
    write_extxyz(structure, [squeezed.replace(cell=0.8 * squeezed.cell, positions=0.8 * squeezed.positions)])
    result = relax(models, structure, "--fix", "cell", "--fix", "atoms", "--moments", "keep")
    assert result.exit_code == 0
    assert "outside the training set: extrapolation grade" in result.stdout
    assert "A apart, fitted down to" in result.stdout
    assert json.loads(relax(models, structure, "--fix", "cell", "--fix", "atoms", "--json").stdout)[
        "outside_training_set"
    ]


def test_what_is_fixed_stays(models, structure, tmp_path):
    start = read_extxyz(structure, labels=False)[0].frame
    assert relax(models, structure, "--fix", "cell", "--moments", "keep", "-o", tmp_path / "o.extxyz").exit_code == 0
    end = read_extxyz(tmp_path / "o.extxyz", labels=False)[0].frame
    assert np.array_equal(end.cell, start.cell)
    assert np.array_equal(end.magmoms, start.magmoms)
    assert not np.allclose(end.positions, start.positions, atol=1e-3)


def test_a_pressure_is_reached(models, structure):
    told = json.loads(relax(models, structure, "--pressure", 5, "--json").stdout)
    assert told["converged"]
    assert told["after"]["pressure"]["value"] == pytest.approx(5.0, abs=0.01)


def test_the_lowest_of_several_starts(models, tmp_path):
    """From a POSCAR, which has no moments."""
    ase.io.write(tmp_path / "POSCAR", bulk("Fe", "bcc", a=2.8, cubic=True), format="vasp")
    result = relax(models, tmp_path / "POSCAR")
    assert result.exit_code == 2
    assert "nothing is guessed" in result.stderr
    told = json.loads(relax(models, tmp_path / "POSCAR", "--moments", "multi-start", "--json").stdout)
    assert told["converged"]
    assert told["start"] in told["starts"]
    assert told["starts"][told["start"]]["enthalpy_ev"] == pytest.approx(
        min(s["enthalpy_ev"] for s in told["starts"].values()), abs=1e-5
    )
    assert told["after"]["Fe moment, mean of |m|"]["value"] > 1.5


def test_a_bound_of_the_moments_is_kept_and_reported(models, structure):
    told = json.loads(relax(models, structure, "--max-moment", "Fe=1.5", "--json").stdout)
    assert told["converged"]
    assert told["after"]["Fe moment, mean"]["value"] == pytest.approx(1.5)
    assert "moment-at-bound" in told["health"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-moment", "Fe"), "not the moment of an element"),
        (("--max-moment", "Fe=-1"), "not a range"),
        (("--moments", "multi-start", "--fix", "moments"), "moments that are free"),
        (("--max-force", 0), "out of range"),
    ],
)
def test_options_that_make_no_sense(models, structure, options, message):
    result = relax(models, structure, *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_element_the_model_does_not_know(models, tmp_path):
    write_extxyz(tmp_path / "ni.extxyz", [Frame(("Ni",), 2.5 * np.eye(3), np.zeros((1, 3)), [0.6])])
    result = relax(models, tmp_path / "ni.extxyz")
    assert result.exit_code == 2
    assert "does not know" in result.stderr


def test_the_function_gives_what_the_command_prints(ensemble, models, structure):
    told = json.loads(relax(models, structure, "--fix", "volume", "--json").stdout)
    result = magflow.relax(ensemble, structure, fix=["volume"])
    assert {**result.as_dict(), "output": None} == told
    assert result.frame.volume == pytest.approx(2.80**3)
    assert repr(result).startswith("<RelaxResult converged after ")
    page = result._repr_html_()
    assert "largest magnetic force" in page and "<html" not in page


def test_an_ensemble_tells_what_it_is(ensemble):
    assert repr(ensemble) == f"<PotentialEnsemble of 2 mmtp: Fe; cutoff {ensemble.cutoff:g} A>"
    page = ensemble.calibrated(Calibration.from_dict({"forces": 1.25}))._repr_html_()
    assert "forces 1.25" in page and "Fe 2." in page and "reads moments</th>" in page
