from __future__ import annotations

import json

import ase.build
import ase.io
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.core.calibration import Calibration
from magflow.core.comparison import rmse
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import InputError
from magflow.io.deepmd import read_deepmd
from magflow.io.export import write_dataset
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.io.mlip_cfg import read_cfg
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily

runner = CliRunner()
CALIBRATION = Calibration.from_dict({"energy": 2.0, "forces": 3.0, "stress": 4.0, "magnetic_forces": 5.0})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    rng = np.random.default_rng(1)
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    frames = [
        Frame(
            ("Fe", "Al") if k % 2 else ("Fe", "Fe"),
            2.86 * (np.eye(3) + rng.normal(0, 0.01, (3, 3))),
            np.array([[0, 0, 0], [1.43, 1.43, 1.43]]) + rng.normal(0, 0.05, (2, 3)),
            np.array([rng.uniform(1, 2.5), 0.02 if k % 2 else rng.uniform(-2.5, 2.5)]),
        )
        for k in range(24)
    ]
    return Dataset(LabeledFrame(f, engine.label(f, level, tmp_path_factory.mktemp("w"))) for f in frames)


@pytest.fixture(scope="module")
def models(dataset, tmp_path_factory):
    family = MmtpFamily(level=4, max_iterations=5)
    members = [fit_member(family, dataset, elements=["Al", "Fe"], seed=1, member=k)[0] for k in range(3)]
    ensemble = PotentialEnsemble(tuple(members), "mmtp", CALIBRATION)
    return ensemble.save(tmp_path_factory.mktemp("models") / "ensemble")


def predict(models, frames, out, *options):
    return runner.invoke(app, ["predict", str(models), str(frames), "-o", str(out), *options])


def test_predictions_are_the_ensembles(models, dataset, tmp_path):
    write_extxyz(tmp_path / "in.xyz", dataset)
    result = predict(models, tmp_path / "in.xyz", tmp_path / "out.xyz")
    assert result.exit_code == 0, result.output
    ensemble = PotentialEnsemble.load(models)
    frames = [item.configuration for item in dataset]
    expected = ensemble.predict(frames)
    grades = ensemble.grades(frames)
    out = ase.io.read(tmp_path / "out.xyz", ":")
    for i, (atoms, item) in enumerate(zip(out, dataset, strict=True)):
        mean, deviation = expected.mean.frame(i), expected.deviation.frame(i)
        assert atoms.get_potential_energy() == pytest.approx(mean.energy[0], rel=1e-12)
        assert np.allclose(atoms.get_forces(), mean.forces, atol=1e-12)
        assert np.allclose(atoms.get_stress(), mean.stress[0], atol=1e-12)
        assert np.allclose(atoms.arrays["magnetic_forces"], mean.magnetic_forces[:, 2], atol=1e-12)
        assert atoms.info["energy_deviation"] == pytest.approx(deviation.energy[0])
        assert np.allclose(atoms.info["stress_deviation"], deviation.stress[0])
        assert np.allclose(atoms.arrays["forces_deviation"], deviation.forces)
        assert np.allclose(atoms.arrays["magnetic_forces_deviation"], deviation.magnetic_forces[:, 2])
        assert atoms.info["extrapolation_grade"] == pytest.approx(grades[i])
        assert atoms.info["reference_energy"] == item.label.energy
        assert np.allclose(atoms.arrays["reference_forces"], item.label.forces)
        assert "magflow_label" not in str(atoms.info)


def test_errors_on_the_labels_that_are_there_are_told(models, dataset, tmp_path):
    write_extxyz(tmp_path / "in.xyz", [*dataset[:20], *(item.configuration for item in dataset[20:])])
    result = predict(models, tmp_path / "in.xyz", tmp_path / "out.xyz", "--json")
    labels = [LabeledFrame(item.configuration, item.label) for item in dataset[:20]]
    expected = rmse(PotentialEnsemble.load(models).predict([item.frame for item in labels]), labels)
    told = json.loads(result.stdout)["rmse"]
    assert set(told) == set(expected) == {"energy", "forces", "stress", "magnetic_forces"}
    assert told == pytest.approx(expected)
    said = predict(models, tmp_path / "in.xyz", tmp_path / "out.xyz").stdout
    assert f"RMSE on their labels: energy {1e3 * told['energy']:.3g} meV/atom, forces" in said
    write_extxyz(tmp_path / "bare.xyz", [item.configuration for item in dataset])
    assert "RMSE" not in predict(models, tmp_path / "bare.xyz", tmp_path / "out.xyz").stdout


def test_labels_that_cannot_be_used_are_left_out_of_the_errors(models, tmp_path):
    cell = 'Lattice="2.86 0 0 0 2.86 0 0 0 2.86" pbc="T T T" Properties=species:S:1:pos:R:3:magmoms:R:1'
    atoms = "Fe 0 0 0 2\nFe 1.4 1.4 1.4 2\n"
    said = ('energy=-9 stress="1 2 3 4 5 6"', 'energy=nan stress="1 2 3 4 5 6"', 'energy=-9 stress="1 2"')
    (tmp_path / "in.xyz").write_text("".join(f"2\n{cell} {label}\n{atoms}" for label in said))
    result = predict(models, tmp_path / "in.xyz", tmp_path / "out.xyz", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["frames"], told["labels"]) == (3, 1) and set(told["rmse"]) == {"energy", "stress"}


def test_raw_deviations_are_not_calibrated(models, dataset, tmp_path):
    write_extxyz(tmp_path / "in.xyz", dataset)
    assert predict(models, tmp_path / "in.xyz", tmp_path / "a.xyz").exit_code == 0
    assert predict(models, tmp_path / "in.xyz", tmp_path / "b.xyz", "--raw").exit_code == 0
    pairs = zip(
        read_extxyz(tmp_path / "a.xyz", labels=False), read_extxyz(tmp_path / "b.xyz", labels=False), strict=True
    )
    for a, b in pairs:
        assert a.info["energy_deviation"] == pytest.approx(2 * b.info["energy_deviation"])
        assert np.allclose(a.info["stress_deviation"], 4 * b.info["stress_deviation"])
        assert np.allclose(a.columns["forces_deviation"], 3 * b.columns["forces_deviation"])
        assert np.allclose(a.columns["magnetic_forces_deviation"], 5 * b.columns["magnetic_forces_deviation"])


def test_predicting_again_changes_nothing(models, dataset, tmp_path):
    write_extxyz(tmp_path / "in.xyz", dataset)
    assert predict(models, tmp_path / "in.xyz", tmp_path / "a.xyz").exit_code == 0
    assert predict(models, tmp_path / "a.xyz", tmp_path / "b.xyz").exit_code == 0
    assert (tmp_path / "a.xyz").read_text() == (tmp_path / "b.xyz").read_text()


@pytest.mark.parametrize("vector", [False, True])
def test_frames_written_by_ase(models, tmp_path, vector):
    """(N,) moments give (N,) magnetic forces, (N, 3) moments give (N, 3)."""
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [1.43, 1.43, 1.43]], cell=[2.86] * 3, pbc=True)
    atoms.new_array("magmoms", np.array([[0, 0, 2.0], [0, 0, -2.0]]) if vector else np.array([2.0, -2.0]))
    atoms.info["tag"] = "mine"
    ase.io.write(tmp_path / "in.xyz", atoms, format="extxyz")
    result = predict(models, tmp_path / "in.xyz", tmp_path / "out.xyz", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["frames"] == 1
    out = ase.io.read(tmp_path / "out.xyz")
    assert out.arrays["magnetic_forces"].shape == ((2, 3) if vector else (2,))
    assert out.info["tag"] == "mine"


FE = (
    '2\nLattice="2.86 0 0 0 2.86 0 0 0 2.86" Properties=species:S:1:pos:R:3:magmoms:R:1\nFe 0 0 0 2\nFe 1.4 1.4 1.4 2\n'
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":magmoms:R:1\nFe 0 0 0 2\nFe 1.4 1.4 1.4 2", "\nFe 0 0 0\nFe 1.4 1.4 1.4", "the moments are missing"),
        ("Fe 1.4", "Ni 1.4", "does not know"),
        ("Fe 1.4", "Xq 1.4", "unknown element"),
        ("1.4 2", "nan 2", "not finite"),
        ("1.4 2", "1.4 nan", "not finite"),
        ("1.4 2", "1.4", "wrong number of columns"),
        ('0 0 2.86"', '0 0 0"', "no volume"),
        (
            "magmoms:R:1\nFe 0 0 0 2\nFe 1.4 1.4 1.4 2",
            "magmoms:R:3\nFe 0 0 0 1 0 2\nFe 1.4 1.4 1.4 0 0 2",
            "non-collinear",
        ),
    ],
)
def test_the_frame_that_cannot_be_predicted_is_named(models, tmp_path, old, new, message):
    assert old in FE
    path = tmp_path / "in.xyz"
    path.write_text(FE + FE.replace(old, new))
    result = predict(models, path, tmp_path / "out.xyz")
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert f"{path}: frame 2" in result.stderr
    assert not (tmp_path / "out.xyz").exists()


def test_a_poscar_is_predicted_at_the_moments_it_is_given(models, tmp_path):
    atoms = ase.build.bulk("Fe", a=2.8, cubic=True)
    ase.io.write(tmp_path / "POSCAR", atoms, format="vasp")
    bare = predict(models, tmp_path / "POSCAR", tmp_path / "out.xyz")
    assert bare.exit_code == 2 and bare.stderr.count("\n") == 1
    assert "the moments are missing" in bare.stderr and "--magmoms EL=MUB" in bare.stderr
    given = predict(models, tmp_path / "POSCAR", tmp_path / "out.xyz", "--magmoms", "Fe=1.9,Al=0")
    assert given.exit_code == 0, given.output
    frame = Frame(("Fe", "Fe"), atoms.cell[:], atoms.positions, [1.9, 1.9])
    (energy,) = PotentialEnsemble.load(models).predict([frame]).mean.energy
    out = ase.io.read(tmp_path / "out.xyz")
    assert out.get_potential_energy() == pytest.approx(energy, rel=1e-12)
    assert out.get_magnetic_moments().tolist() == [1.9, 1.9]


def test_one_frame_of_several_is_predicted(models, dataset, tmp_path):
    write_extxyz(tmp_path / "in.xyz", dataset)
    assert predict(models, f"{tmp_path / 'in.xyz'}@-1", tmp_path / "out.xyz").exit_code == 0
    (out,) = ase.io.read(tmp_path / "out.xyz", ":")
    assert np.allclose(out.positions, list(dataset)[-1].frame.positions)


def test_what_is_no_ensemble(dataset, models, tmp_path):
    path = tmp_path / "in.xyz"
    write_extxyz(path, dataset)
    assert "neither an ensemble nor a campaign" in predict(tmp_path, path, tmp_path / "o").stderr
    assert predict(models, tmp_path / "absent", tmp_path / "o").exit_code == 2
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "ensemble.json").write_text("{")
    result = predict(damaged, path, tmp_path / "o")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1


def test_the_folder_of_the_output_is_made(dataset, models, tmp_path):
    write_extxyz(tmp_path / "in.xyz", dataset)
    assert predict(models, tmp_path / "in.xyz", tmp_path / "new" / "out.xyz").exit_code == 0
    assert (tmp_path / "new" / "out.xyz").is_file()


def test_formats_of_export(dataset, tmp_path):
    assert "24 labelled frames" in write_dataset(tmp_path / "a.xyz", dataset, "extxyz")
    assert "type 0 = Al, type 1 = Fe" in write_dataset(tmp_path / "a.cfg", dataset, "mlip-cfg")
    assert "2 systems" in write_dataset(tmp_path / "dp", dataset, "deepmd")
    back = {
        "extxyz": [r.label for r in read_extxyz(tmp_path / "a.xyz")],
        "mlip-cfg": [r.label for r in read_cfg(tmp_path / "a.cfg", ["Al", "Fe"], en_der_sign=1)],
        "deepmd": [r.label for r in read_deepmd(tmp_path / "dp")],
    }
    for labels in back.values():
        assert sorted(label.energy for label in labels) == sorted(item.label.energy for item in dataset)
    for label, other, item in zip(back["extxyz"], back["mlip-cfg"], dataset, strict=True):
        assert label.label_id == item.label_id
        assert np.array_equal(label.magnetic_forces, item.label.magnetic_forces)
        assert np.array_equal(other.magnetic_forces, item.label.magnetic_forces)
        assert np.allclose(other.stress, item.label.stress, rtol=1e-13)


def test_nothing_to_export(tmp_path):
    with pytest.raises(InputError, match="no usable labels"):
        write_dataset(tmp_path / "a", Dataset(), "extxyz")
    with pytest.raises(InputError, match="unknown format"):
        write_dataset(tmp_path / "a", Dataset(), "vasp")
    result = runner.invoke(app, ["export", str(tmp_path), "-o", str(tmp_path / "o")])
    assert result.exit_code == 2 and "no campaign here" in result.stderr
    result = runner.invoke(app, ["export", str(tmp_path), "-o", "o", "--models", "--format", "extxyz"])
    assert result.exit_code == 2 and "exclude each other" in result.stderr
