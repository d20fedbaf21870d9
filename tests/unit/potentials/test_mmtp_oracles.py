"""Against potentials other codes wrote and evaluated: motep (magnetic) and MLIP (non-magnetic)."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential

from magflow.core.frame import Frame
from magflow.potentials.mmtp.basis import enumerate_basis
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.mtp_file import Dialect, read_mtp, write_mtp

LEVELS = ["02", "04", "06", "08", "10", "12"]


def read_cfg(text: str, symbols: tuple[str, ...], limit: int):
    """(frame, energy, forces) of the first `limit` configurations; moments from the x column when there are any."""
    out = []
    for block in text.split("BEGIN_CFG")[1 : limit + 1]:
        lines = block.splitlines()
        start = next(k for k, line in enumerate(lines) if "AtomData" in line)
        columns = lines[start].split(":")[1].split()
        n = int(lines[next(k for k, line in enumerate(lines) if line.strip() == "Size") + 1])
        rows = np.array([[float(x) for x in line.split()] for line in lines[start + 1 : start + 1 + n]])
        cell = [[float(x) for x in line.split()] for line in lines[start - 3 : start]]
        at = columns.index("cartes_x")
        moments = rows[:, columns.index("magmom_x")] if "magmom_x" in columns else None
        species = tuple(symbols[int(t)] for t in rows[:, 1])
        energy = float(lines[next(k for k, line in enumerate(lines) if line.strip() == "Energy") + 1])
        force = columns.index("fx")
        out.append((Frame(species, cell, rows[:, at : at + 3], moments), energy, rows[:, force : force + 3]))
    return out


@pytest.mark.parametrize("level", LEVELS)
def test_motep_reference(reference_data, level):
    """All of motep's numbers, and the energy of the reversed moments: a raw mMTP is not symmetric."""
    folder = reference_data / "mmtp_fe_vasp"
    expected = json.loads((folder / "reference_motep_0.2.0.json").read_text())[level]
    frame = read_cfg((folder / "mag.cfg").read_text(), ("Fe",), 1)[0][0]
    prediction = read_mtp(folder / f"{level}.mmtp", ["Fe"]).predict([frame, frame.time_reversed()])
    np.testing.assert_allclose(prediction.energy, [expected["energy"], expected["energy_flipped"]], atol=1e-8)
    np.testing.assert_allclose(prediction.forces[:54], expected["forces"], atol=1e-8)
    np.testing.assert_allclose(prediction.stress[0], expected["stress"], atol=1e-8)
    np.testing.assert_allclose(-prediction.magnetic_forces[:54, 2], expected["mgrad"], atol=1e-8)


@pytest.mark.parametrize(("name", "n"), [("cubic_08", 1), ("multi_10", 3)])
def test_mlip_reference(reference_data, name, n):
    """MLIP prints six decimals of the forces and more of the energy."""
    folder = reference_data / "mtp_reference" / name
    symbols = ("Fe", "Al", "Cr")[:n]
    with lzma.open(folder / "out.cfg.xz", "rt") as file:
        cases = read_cfg(file.read(400_000), symbols, 3)
    prediction = read_mtp(folder / "pot.mtp", symbols).predict([frame for frame, _, _ in cases])
    np.testing.assert_allclose(prediction.energy, [energy for _, energy, _ in cases], rtol=1e-9)
    np.testing.assert_allclose(prediction.forces, np.concatenate([f for _, _, f in cases]), atol=2e-6)


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("form", list(Form))
def test_written_potentials_give_the_same_numbers_in_motep(tmp_path, form, dialect):
    pytest.importorskip("motep")
    from ase import Atoms
    from motep.calculator import MMTP
    from motep.io.mlip.mtp import read_mtp as motep_read

    potential = random_potential(form, level=8, n_psi=3)
    model = replace(potential.model, max_moment=np.array([2.9, 2.9]), symmetrise=False, extend=False)
    potential = replace(potential, model=model)
    path = write_mtp(potential, tmp_path / "potential.mmtp", dialect=dialect)
    frame = random_frame(3)
    expected = potential.predict([frame])

    data = motep_read(path)
    data.species = [13, 26]
    atoms = Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True, magmoms=frame.magmoms[:, 2])
    atoms.calc = MMTP(data, engine="cext", relax_magmoms=False)
    assert atoms.get_potential_energy() == pytest.approx(expected.energy[0], abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-9)
    np.testing.assert_allclose(atoms.get_stress(), expected.stress[0], atol=1e-9)
    np.testing.assert_allclose(-atoms.calc.results["mgrad"], expected.magnetic_forces[:, 2], atol=1e-9)


def test_basis_spans_that_of_mlip(reference_data):
    """Same functions, possibly numbered otherwise: each of MLIP's is one of ours."""
    theirs = read_mtp(reference_data / "mmtp_fe_vasp" / "12.mmtp", ["Fe"])
    ours = replace(theirs, model=replace(theirs.model, basis=enumerate_basis(12)))
    geometry = theirs.geometry([random_frame(seed, ("Fe",)) for seed in range(5)])
    left, right = theirs.basis_values(geometry), ours.basis_values(geometry)
    matched = {int(np.argmin(np.abs(right - column[:, None]).max(axis=0) / np.abs(column).max())) for column in left.T}
    assert len(matched) == 29
    for column in left.T:
        assert (np.abs(right - column[:, None]).max(axis=0) / np.abs(column).max()).min() < 1e-10
