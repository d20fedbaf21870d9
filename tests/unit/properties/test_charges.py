"""Born charges: long waves as phonopy has them, in tables and files, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import phonopy
import pytest
from ase.calculators.lj import LennardJones
from typer.testing import CliRunner

from exact_potentials import AsePotential, alone, bcc
from magflow.api.vibrations import phonons
from magflow.cli.app import app
from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.io.extxyz import write_extxyz
from magflow.properties.charges import NOTE, why_not_charged
from magflow.properties.harmonic import BRANCH, phonopy_of
from magflow.properties.phonons import Phonons
from magflow.properties.subject import Subject
from mmtp_iron import iron_ensemble

EXAMPLE = Path(os.environ.get("MAGFLOW_REFERENCE_DATA", "../shared/data")) / "phonopy" / "NaCl"
SIDES = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
SALT = Frame(("Na", "Cl", "Cl", "Cl"), 5.3 * np.eye(3), 5.3 * SIDES)
BORN = "14.4\n2.5 0 0 0 2.5 0 0 0 2.5\n1.2 0 0 0 1.2 0 0 0 1.2\n-0.6 0 0 0 -0.3 0 0 0 -0.3\n"
"""Of SALT: charges of sodium, and of the chlorine that lies at (0, 1/2, 1/2)."""


def atoms_of_a_pair_potential() -> AsePotential:
    """Argon atoms by the names of sodium and chlorine: a pair potential knows no charges."""
    return AsePotential(lambda: LennardJones(epsilon=0.0104, sigma=3.4, rc=6.0, smooth=True), ["Cl", "Na"], 6.0)


def highest(curves: dict, stretch: str) -> float:
    """Highest frequency at the end of a stretch of the bands that lies at Gamma, THz."""
    name = next(n for n in curves if n.endswith(stretch))
    at = 0 if stretch.startswith("G") else -1
    return max(float(c[at]) for head, c in curves[name].items() if head.startswith(BRANCH))


def test_long_waves_are_split_and_phonopy_finds_the_same_in_the_file(tmp_path):
    (tmp_path / "BORN").write_text(BORN)
    settings = {"repeat": (2, 2, 2), "mesh": 20.0}
    bare, split = (
        phonons(alone(atoms_of_a_pair_potential()), SALT, tmp_path / name, born=born, **settings).found[0][1]
        for name, born in (("bare", None), ("split", tmp_path / "BORN"))
    )
    assert NOTE in split.remarks and NOTE not in bare.remarks
    before, after = (highest(m.curves, "G-X") for m in (bare, split))
    assert after > before + 0.1
    loaded = phonopy.load(tmp_path / "split" / "phonopy_params.yaml", log_level=0)
    np.testing.assert_allclose(loaded.nac_params["dielectric"], 2.5 * np.eye(3))
    along = loaded.run_qpoints([[0.0, 0.0, 0.0]], nac_q_direction=[0.0, 0.5, 0.0])
    assert after == pytest.approx(float(np.max(along.frequencies)), abs=2e-3)
    assert phonopy.load(tmp_path / "bare" / "phonopy_params.yaml", log_level=0).nac_params is None
    assert phonopy_of(SALT).nac_params is None, "what is kept of the search for symmetry has no charges"


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason=f"no reference data in {EXAMPLE}")
def test_example_of_phonopy_with_its_charges():
    files = {"force_sets_filename": EXAMPLE / "FORCE_SETS", "born_filename": EXAMPLE / "BORN"}
    loaded = phonopy.load(EXAMPLE / "phonopy_disp.yaml", **files, log_level=0)
    cell, n = loaded.supercell, len(loaded.supercell)
    perfect = Frame(tuple(cell.symbols), cell.cell, cell.positions)
    frames, forces = [perfect], [np.zeros((n, 3))]
    for first in loaded.dataset["first_atoms"]:
        positions = cell.positions.copy()
        positions[first["number"]] += first["displacement"]
        frames.append(perfect.replace(positions=positions))
        forces.append(first["forces"])
    k = len(frames)
    points = Prediction(np.full(k, n), np.zeros(k), np.concatenate(forces), np.zeros((k, 6)))
    subject = Subject(alone(AsePotential(lambda: None, ["Cl", "Na"], 5.0)), "NaCl", perfect)
    read = Phonons(mesh=20.0, born=(EXAMPLE / "BORN").read_text()).read(subject, frames, points)
    loaded.symmetrize_force_constants(show_drift=False)
    along = loaded.run_qpoints([[0.0, 0.0, 0.0]], nac_q_direction=[0.5, 0.0, 0.5])
    assert highest(read.curves, "G-X") == pytest.approx(float(np.max(along.frequencies)), rel=1e-3)


def test_charges_of_a_metal_and_of_another_crystal_are_refused(tmp_path):
    assert "its elements are metals (Fe)" in why_not_charged(bcc(2.84), BORN)
    assert why_not_charged(SALT, BORN) == ""
    for text in (BORN[: BORN.rindex("-0.6")], BORN + BORN.splitlines()[-1] + "\n", "14.4\nnine numbers\n", "\n"):
        assert "each of the 2 independent atoms" in why_not_charged(SALT, text), text
    (tmp_path / "BORN").write_text(BORN)
    iron_ensemble(2).save(tmp_path / "potential")
    write_extxyz(tmp_path / "fe.extxyz", [bcc(2.84, moment=2.2)])
    command = ["phonons", str(tmp_path / "potential"), str(tmp_path / "fe.extxyz"), "-o", str(tmp_path / "out")]
    for born, said in (("BORN", "metals (Fe)"), ("nowhere", "nowhere")):
        result = CliRunner().invoke(app, [*command, "--born", str(tmp_path / born)])
        assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1, result.output
