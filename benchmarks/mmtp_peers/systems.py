"""What is evaluated: random bcc Fe-Al with displaced atoms, potentials with random parameters, labels to fit."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.potentials.mmtp.basis import enumerate_basis
from magflow.potentials.mmtp.model import Form, MmtpModel, moment_pairs
from magflow.potentials.mmtp.mtp_file import read_mtp, write_mtp
from magflow.potentials.mmtp.potential import MmtpPotential

SPECIES = ("Al", "Fe")
LATTICE = 2.87
CUTOFF = 4.4
"""A; between the third and the fourth shell of bcc: 8 + 6 + 12 = 26 neighbours."""
LARGEST = {"Al": 0.2, "Fe": 2.8}
N_PHI, N_PSI, MAX_MOMENT, R_MIN = 8, 2, 3.0, 2.1
REPEATS = {16: (2, 2, 2), 128: (4, 4, 4), 1024: (8, 8, 8), 8192: (16, 16, 16), 100_000: (25, 40, 50)}


def bcc(repeats: tuple[int, int, int], seed: int) -> Frame:
    """Bcc of 2 atoms per cell, Fe and Al at random, displaced by 0.05 A, strained by 0.5 %, random moments."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3) * LATTICE
    sites = np.concatenate([corners, corners + LATTICE / 2])
    n = len(sites)
    strain = np.eye(3) + rng.uniform(-0.005, 0.005, (3, 3))
    species = tuple(rng.permutation(["Fe"] * (n // 2) + ["Al"] * (n - n // 2)).tolist())
    moments = rng.uniform(-1, 1, n) * np.array([LARGEST[s] for s in species])
    positions = sites @ strain + rng.normal(0, 0.05, (n, 3))
    return Frame(species, np.diag(repeats) * LATTICE @ strain, positions, moments)


def potential(level: int, *, form: Form = Form.PAPER, seed: int = 0) -> MmtpPotential:
    """Random parameters, energies of a few eV; one moment range and bare polynomials, as in an .mtp file."""
    rng = np.random.default_rng(seed)
    basis = enumerate_basis(level)
    n, n_psi = len(SPECIES), N_PSI if form is Form.PAPER else 3
    radial = rng.normal(size=n * n * basis.n_mu * N_PHI * len(moment_pairs(form, n_psi))) * 0.01
    parameters = np.concatenate([radial, rng.normal(size=basis.n_scalar) * 0.1, rng.normal(size=n)])
    return MmtpPotential(
        MmtpModel(
            species=SPECIES,
            form=form,
            level=level,
            cutoff=CUTOFF,
            r_min=R_MIN,
            n_phi=N_PHI,
            n_psi=n_psi,
            symmetrise=False,
            extend=False,
            max_moment=np.full(n, MAX_MOMENT),
            basis=basis,
            parameters=parameters,
            pulay=np.zeros(n),
        )
    )


def shared_file(level: int) -> tuple[MmtpPotential, str]:
    """A paper-form potential as read back from an .mtp file, and the text of that file for the peers."""
    with tempfile.TemporaryDirectory() as directory:
        path = write_mtp(potential(level), Path(directory) / "potential.mmtp")
        return read_mtp(path, SPECIES), path.read_text()


def atoms_of(frame: Frame) -> Atoms:
    """ASE atoms with collinear initial moments."""
    return Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True, magmoms=frame.magmoms[:, 2])


def labels_of(frames: Sequence[Frame], truth: Any) -> list[LabeledFrame]:
    """`frames` labelled by what `truth` predicts."""
    level = LevelOfTheory("a model", "1", LabelKind.CONSTRAINED, "benchmark")
    prediction, out, at = truth.predict(frames), [], 0
    for k, frame in enumerate(frames):
        own = slice(at, at + len(frame))
        at += len(frame)
        out.append(
            LabeledFrame(
                frame,
                Label(
                    frame.frame_id,
                    level,
                    frame.orientation,
                    energy=float(prediction.energy[k]),
                    forces=prediction.forces[own],
                    stress=prediction.stress[k],
                    magmoms=frame.magmoms,
                    magnetic_forces=prediction.magnetic_forces[own],
                ),
            )
        )
    return out


def disturbed(one: MmtpPotential, seed: int = 7) -> MmtpPotential:
    """The same form with every parameter off by a tenth: where a fit might start."""
    rng = np.random.default_rng(seed)
    parameters = one.model.parameters * (1 + 0.1 * rng.normal(size=one.model.parameters.size))
    return replace(one, model=replace(one.model, parameters=parameters))
