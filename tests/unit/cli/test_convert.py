from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.io.records import labeled_frames
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily, MmtpPotential

runner = CliRunner()
QUANTITIES = ("energy", "forces", "stress", "magnetic_forces")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    rng, engine = np.random.default_rng(3), SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    frames = [
        Frame(
            ("Fe", "Al", "Fe"),
            3.5 * (np.eye(3) + rng.normal(0, 0.01, (3, 3))),
            np.array([[0, 0, 0], [1.7, 1.7, 1.7], [1.7, 0.1, 1.7]]) + rng.normal(0, 0.05, (3, 3)),
            np.array([rng.uniform(1, 2.5), 0.05, rng.uniform(-2.5, 2.5)]),
        )
        for _ in range(12)
    ]
    return Dataset(LabeledFrame(f, engine.label(f, level, tmp_path_factory.mktemp("w"))) for f in frames)


def convert(*arguments) -> str:
    result = runner.invoke(app, ["convert", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("name", "back"), [("labels.cfg", ["--elements", "Al,Fe", "--en-der-sign", "1"]), ("npy", []), ("again.xyz", [])]
)
def test_labels_come_back(dataset, tmp_path, name, back):
    write_extxyz(tmp_path / "labels.extxyz", dataset)
    convert(tmp_path / "labels.extxyz", "-o", tmp_path / name)
    convert(tmp_path / name, *back, "-o", tmp_path / "back.extxyz")
    returned = labeled_frames(read_extxyz(tmp_path / "back.extxyz"))
    for item in dataset:
        matches = [r for r in returned if abs(r.label.energy - item.label.energy) < 1e-9]
        assert len(matches) == 1
        order = np.argsort(matches[0].frame.positions @ [1.0, 0.3, 0.1])
        expected = np.argsort(item.frame.positions @ [1.0, 0.3, 0.1])
        for quantity in ("forces", "magnetic_forces"):
            np.testing.assert_allclose(
                getattr(matches[0].label, quantity)[order], getattr(item.label, quantity)[expected], atol=1e-9
            )
        np.testing.assert_allclose(matches[0].label.stress, item.label.stress, atol=1e-9)


@pytest.mark.parametrize("form", ["even", "paper"])
def test_an_ensemble_becomes_mtp_files_and_an_ensemble_again(dataset, tmp_path, form):
    family = MmtpFamily(level=4, form=form, max_iterations=3)
    members = tuple(fit_member(family, dataset, elements=["Al", "Fe"], seed=1, member=k)[0] for k in range(2))
    ensemble = PotentialEnsemble(members, "mmtp")
    ensemble.save(tmp_path / "potential")
    told = convert(tmp_path / "potential", "-o", tmp_path / "files" / "m.mtp", "--dialect", "basis")
    assert ("(E(M) + E(-M))/2" in told) == (form == "paper")
    files = sorted((tmp_path / "files").iterdir())
    assert [f.name for f in files] == ["m_0.mtp", "m_1.mtp"]
    flags = ["--symmetrise"] if form == "paper" else []
    convert(*files, "--elements", "Al,Fe", *flags, "-o", tmp_path / "again")
    frames = [item.frame for item in dataset]
    expected, again = ensemble.predict(frames), PotentialEnsemble.load(tmp_path / "again").predict(frames)
    for quantity in QUANTITIES:
        np.testing.assert_allclose(getattr(again.mean, quantity), getattr(expected.mean, quantity), atol=1e-9)


def test_without_symmetrise_a_file_means_the_bare_energy(dataset, tmp_path):
    potential, _ = MmtpFamily(level=4, form="paper", max_iterations=3).fit(list(dataset), elements=["Al", "Fe"], seed=1)
    PotentialEnsemble((potential,), "mmtp").save(tmp_path / "potential")
    convert(tmp_path / "potential", "-o", tmp_path / "m.mmtp")
    convert(tmp_path / "m.mmtp", "--elements", "Al Fe", "-o", tmp_path / "again")
    frames = [item.frame for item in dataset]
    bare = MmtpPotential(replace(potential.model, symmetrise=False)).predict(frames)
    np.testing.assert_allclose(PotentialEnsemble.load(tmp_path / "again").predict(frames).mean.energy, bare.energy)
    assert np.abs(bare.energy - potential.predict(frames).energy).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.cfg", "-o", "x.extxyz"], "no such file"),
        (["labels.cfg", "-o", "x.extxyz"], "--elements"),
        (["labels.extxyz", "labels.cfg", "-o", "x.extxyz"], "only potentials"),
        (["labels.extxyz", "-o", "x.mtp"], "neither an ensemble nor a campaign"),
        (["labels.cfg", "--elements", "Al,Fe", "--en-der-sign", "3", "-o", "x.extxyz"], "1 or -1"),
        (["labels.cfg", "--elements", "Al,Fe", "-o", "x.extxyz"], "en_der"),
    ],
)
def test_bad_input_is_one_message(dataset, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_extxyz("labels.extxyz", dataset)
    convert("labels.extxyz", "-o", "labels.cfg")
    result = runner.invoke(app, ["convert", *arguments])
    assert result.exit_code == 2
    assert message in result.output
