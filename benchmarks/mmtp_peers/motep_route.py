"""motep (https://github.com/imw-md/motep): its engines as shipped, and with a neighbour list without its skin.

motep's list reaches 0.6 A beyond the cutoff, so that its kernels loop over 50 neighbours of bcc instead of 26. `tight`
hands it the shorter list: the fairest comparison of the kernels, and about twice as fast as motep on its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from motep.calculator import make_mtp_engine
from motep.grade.grader import Grader
from motep.grade.setting import GradeMode
from motep.io.mlip.mtp import read_mtp
from motep.loss import LossFunction, LossSetting
from motep.potentials.mmtp.data import MagMTPData
from vesin import NeighborList

from magflow.core.label import LabeledFrame
from mmtp_peers.systems import SPECIES, atoms_of

NUMBERS = {"Al": 13, "Fe": 26}


def data_of(text: str) -> MagMTPData:
    """motep's potential from the text of an .mtp file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "potential.mmtp"
        path.write_text(text)
        data = read_mtp(str(path))
    data.species = [NUMBERS[s] for s in SPECIES]
    return data if isinstance(data, MagMTPData) else MagMTPData.from_base(data)


def engine_of(data: MagMTPData, name: str = "cext", mode: str = "run") -> Any:
    """One of motep's engines; `name` is "cext" or "numba"."""
    return make_mtp_engine(name, magnetic=True)(data, mode=mode)


def tighten(engine: Any, atoms: Atoms) -> None:
    """Give the engine the pairs within the cutoff, from vesin, in its own layout; the vectors are made here too."""
    cutoff = float(engine.mtp_data.radial_basis.max)
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    i, j, vector = search.compute(atoms.positions, atoms.cell.array, periodic=True, quantities="ijD")
    i, j = i.astype(np.int64), j.astype(np.int64)
    counts = np.bincount(i, minlength=len(atoms))
    slot = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    engine._neighbors = np.full((len(atoms), counts.max()), -1, dtype=np.int32)
    engine._neighbors[i, slot] = j
    vectors = np.full((*engine._neighbors.shape, 3), cutoff)
    vectors[i, slot] = vector
    engine._interatomic_vectors = vectors
    engine._get_interatomic_vectors = lambda _: vectors
    engine.neighbor_list = _Held()
    engine.initialize_basis_data(atoms)


class _Held:
    """In place of a neighbour list: never out of date."""

    @staticmethod
    def update(*_: object) -> bool:
        return False


def listed(engine: Any, atoms: Atoms, *, tight: bool) -> Any:
    """The engine with its neighbour list of `atoms`: tight, or as motep builds it."""
    if tight:
        tighten(engine, atoms)
    else:
        engine.calculate(atoms)
    return engine


def results(engine: Any, atoms: Atoms) -> dict[str, np.ndarray]:
    """Energy, forces, stress and dE/dm."""
    found = engine.calculate(atoms)
    return {key: np.array(found[name]) for key, name in NAMES.items()}


NAMES = {"energy": "energy", "forces": "forces", "stress": "stress", "moment": "mgrad"}


def loss_of(data: MagMTPData, items: list[LabeledFrame], setting: LossSetting, *, tight: bool) -> LossFunction:
    """motep's loss over `items`; with `tight`, neighbour lists without the skin."""
    images = []
    for item in items:
        atoms, label = atoms_of(item.frame), item.label
        atoms.calc = SinglePointCalculator(atoms, energy=label.energy, forces=label.forces, stress=label.stress)
        atoms.calc.results["mgrad"] = -label.magnetic_forces[:, 2]
        images.append(atoms)
    loss = LossFunction(images, data, setting, engine="cext", relax_magmoms=False)
    if tight:
        for atoms in loss.images:
            tighten(atoms.calc.engine, atoms)
    return loss


def grader_of(text: str) -> Grader:
    """motep's grader of environments, on the coefficients the energy is linear in."""
    data = data_of(text)
    data.optimized = ["species_coeffs", "moment_coeffs"]
    return Grader(data, seed=1, mode=GradeMode.NEIGHBORHOOD)
