"""An ensemble of small mMTPs that knows bcc iron: fitted in a second on a model Hamiltonian."""

from __future__ import annotations

from functools import cache

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.dft.spin_lattice import FE_AL, SpinLatticeModel
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp import MmtpFamily

MODEL = LevelOfTheory("model", "1", LabelKind.CONSTRAINED, "spin-lattice Hamiltonian")
CUBE = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])


def iron(seed: int, *, repeats: int = 1, a: float = 2.86, strain: float = 0.0, displacement: float = 0.05) -> Frame:
    """A bcc supercell, strained, displaced and with moments around 2 muB."""
    rng = np.random.default_rng(seed)
    grid = np.array([[i, j, k] for i in range(repeats) for j in range(repeats) for k in range(repeats)])
    fractions = (grid[:, None] + CUBE[None]).reshape(-1, 3) / repeats
    cell = repeats * a * (np.eye(3) + rng.uniform(-strain, strain, (3, 3)))
    n = len(fractions)
    positions = fractions @ cell + rng.normal(0, displacement, (n, 3))
    return Frame(("Fe",) * n, cell, positions, rng.uniform(1.6, 2.4, n))


def labelled(frame: Frame) -> LabeledFrame:
    """Labelled by the model Hamiltonian."""
    p = SpinLatticeModel(FE_AL).predict([frame])
    label = Label(
        frame.frame_id, MODEL, frame.orientation, energy=float(p.energy[0]), forces=p.forces, stress=p.stress[0],
        magmoms=frame.magmoms, magnetic_forces=p.magnetic_forces,
    )  # fmt: skip
    return LabeledFrame(frame, label)


@cache
def iron_ensemble(members: int = 3) -> PotentialEnsemble:
    """Members that differ by what they learned from."""
    spread = np.random.default_rng(0).uniform(2.8, 2.9, 60)
    labels = [
        labelled(iron(s, repeats=1 + s % 2, a=a, strain=0.04, displacement=0.15)) for s, a in enumerate(spread.tolist())
    ]
    family = MmtpFamily(level=8, cutoff=4.5, n_radial=6, max_iterations=10)
    fits = [family.fit(labels[5 * k : 45 + 5 * k], elements=("Fe",), seed=k)[0] for k in range(members)]
    return PotentialEnsemble(tuple(fits), "mmtp")
