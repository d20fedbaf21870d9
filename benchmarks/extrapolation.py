"""Extrapolation: what ensembles of two-atom labels say of frames of 2 to 16 atoms at rising displacement.

An ensemble learns from two-atom cells of the quick campaign's domain and predicts bcc Fe and B2 FeAl in larger cells.
Frames with a force wrong by more than 0.3 eV/A have to be called outside, frames right to 0.06 eV/A inside. The peer in
the same run is the grade `linear`. Without files the labels come from the spin-lattice MODEL HAMILTONIAN; `--train` and
`--test` take labels of any engine (`magflow label`), the test frames of several sizes at one k-point density.

    python benchmarks/extrapolation.py
    python benchmarks/extrapolation.py --train two_atoms.extxyz --test larger.extxyz
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase.build import bulk
from label_pools import quick

from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import read_extxyz
from magflow.io.predictions import outside
from magflow.io.records import labeled_frames
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.mmtp.grade import select_active_set

WRONG, RIGHT = 0.3, 0.06
REPEATS = {2: (1, 1, 1), 4: (1, 1, 2), 8: (1, 2, 2), 16: (2, 2, 2)}
SIZES = (0.01, 0.03, 0.06, 0.1, 0.15)


def rattled(seed: int, copies: int = 2) -> list[Frame]:
    """bcc Fe and B2 FeAl of 2 to 16 atoms, displaced by SIZES A rms, moments near 2.2 muB on iron."""
    rng, frames = np.random.default_rng(seed), []
    for repeats in REPEATS.values():
        for size in SIZES:
            for kind in (bulk("Fe", "bcc", a=2.836, cubic=True), bulk("FeAl", "cesiumchloride", a=2.884)) * copies:
                atoms = kind.repeat(repeats)
                atoms.positions += size / np.sqrt(3.0) * rng.normal(size=(len(atoms), 3))
                moments = np.where(atoms.numbers == 26, rng.normal(2.2, 0.1, len(atoms)), 0.0)
                species = tuple(atoms.get_chemical_symbols())
                frames.append(Frame(species, np.array(atoms.cell), atoms.positions, moments))
    return frames


def by_model(frames: Sequence[Frame]) -> list[LabeledFrame]:
    """The frames, labelled by the model Hamiltonian."""
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    return [LabeledFrame(frame, engine.label(frame, level, Path())) for frame in frames]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Of n frames: atoms, largest error and deviation of a force (eV/A), both grades, and the verdict in use."""

    atoms: np.ndarray
    error: np.ndarray
    deviation: np.ndarray
    posterior: np.ndarray
    linear: np.ndarray
    outside: np.ndarray


def judge(train: list[LabeledFrame], test: list[LabeledFrame], family: MmtpFamily, seed: int) -> Verdicts:
    """Fit five members to `train` and ask them about `test`."""
    elements = ("Al", "Fe")
    members = [fit_member(family, Dataset(train), elements=elements, seed=seed, member=k)[0] for k in range(5)]
    known = [item.configuration for item in train]
    linear = [replace(m, active=select_active_set(m, m.geometry(known))) for m in members]
    frames = [item.configuration for item in test]
    ensemble, before = (PotentialEnsemble(tuple(m), "mmtp") for m in (members, linear))
    prediction = ensemble.predict(frames)
    begin = time.process_time()
    grades = ensemble.grades(frames)
    atoms = np.array([len(frame) for frame in frames])
    print(f"  grades: {1e6 * (time.process_time() - begin) / atoms.sum():.0f} us/atom CPU")
    truth = np.concatenate([item.label.forces for item in test])
    error = prediction.mean.atom_max(np.linalg.norm(prediction.mean.forces - truth, axis=1))
    deviation = prediction.frame_deviation("forces")
    return Verdicts(atoms, error, deviation, grades, before.grades(frames), outside(prediction, grades))


def show(v: Verdicts) -> None:
    """Medians by size and error, and the shares called outside."""
    print("  atoms  error meV/A  frames  deviation  posterior  linear  outside")
    for n in sorted(set(v.atoms.tolist())):
        for low, high in ((0.0, RIGHT), (RIGHT, WRONG), (WRONG, np.inf)):
            mine = (v.atoms == n) & (v.error >= low) & (v.error < high)
            if mine.any():
                span = f"{1e3 * low:.0f} to {1e3 * high:.0f}" if np.isfinite(high) else f"above {1e3 * low:.0f}"
                medians = [np.median(x[mine]) for x in (1e3 * v.deviation, v.posterior, v.linear)]
                numbers = "  ".join(f"{x:8.2f}" for x in medians)
                print(f"  {n:5d}  {span:>11}  {mine.sum():6d}  {numbers}  {v.outside[mine].mean():7.2f}")
    for name, mine in (("wrong by more than 0.3 eV/A", v.error > WRONG), ("right to 0.06 eV/A", v.error < RIGHT)):
        if mine.any():
            shares = {"posterior": v.posterior > 2.0, "linear": v.linear > 2.0, "grade or deviation": v.outside}
            told = ", ".join(f"{key} {x[mine].mean():.3f}" for key, x in shares.items())
            print(f"  {mine.sum()} {name}; called outside: {told}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, help="labels of two-atom cells, extended XYZ")
    parser.add_argument("--test", type=Path, help="labels of larger cells, extended XYZ")
    parser.add_argument("--levels", type=int, nargs="+", default=[8, 10, 12])
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 40, 80, 160])
    arguments = parser.parse_args()
    for level in arguments.levels:
        for k, n in enumerate(arguments.labels):
            train, test = (
                (labeled_frames(read_extxyz(arguments.train))[:n], labeled_frames(read_extxyz(arguments.test)))
                if arguments.train
                else (quick(n, seed=k).items, by_model(rattled(seed=100 + k)))
            )
            print(f"level {level}, {len(train)} two-atom labels")
            show(judge(train, test, MmtpFamily(level=level), seed=k))


if __name__ == "__main__":
    main()
