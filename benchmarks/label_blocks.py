"""What labels of blocks teach about the large cells they were cut from, beside labels of the whole.

An ensemble that knows cells of two atoms (60 labels at random in the quick campaign's domain) runs dynamics in cells of
128. It learns from eight more labels: of whole snapshots; of their most uncertain blocks of 16 atoms
(`explore.md.label_cell`); of blocks at random; of snapshots of dynamics in cells of 16 atoms; or of 60 + 32 labels of
two atoms. Held against are the forces of cells of 128 atoms in dynamics on the spin-lattice MODEL HAMILTONIAN, which
gives all labels.

    python benchmarks/label_blocks.py --seeds 3
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from label_pools import ELEMENTS, MOMENTS, PROTOTYPES, labelled, quick
from threadpoolctl import threadpool_limits

from magflow.core.comparison import rmse
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.prediction import EnsemblePrediction
from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.explore import blocks
from magflow.explore.candidate import Candidate
from magflow.explore.md import MdSettings, run_md
from magflow.explore.prototypes import build_prototypes
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily
from magflow.presentation.quantities import quantity

BASE, MORE, MEMBERS = 60, 8, 3
HOW = MdSettings(temperatures_k=(900.0,), steps=200, snapshot_interval=20, max_snapshots=10, energy_window=10.0,
                 grade_break=1e9, forces_deviation_break=1e9)  # fmt: skip
LARGE, SMALL = (4, 4, 4), (2, 2, 2)


class Truth:
    """The model Hamiltonian as an ensemble without doubts."""

    members = (SpinLatticeModel(),)

    def predict(self, frames: list[Frame]) -> EnsemblePrediction:
        """Exact."""
        return EnsemblePrediction.from_members([self.members[0].predict(frames)])


def train(items: list[LabeledFrame], seed: int) -> PotentialEnsemble:
    """Three members."""
    family = MmtpFamily()
    fitted = [fit_member(family, Dataset(items), elements=ELEMENTS, seed=seed, member=k)[0] for k in range(MEMBERS)]
    return PotentialEnsemble(tuple(fitted), family.name)


def snapshots(ensemble, supercell: blocks.Repeats, seed: int) -> list[tuple[Frame, Frame]]:
    """Of dynamics of each prototype, mixed; each with its unit cell."""
    found = []
    for p in build_prototypes(PROTOTYPES, ELEMENTS, Path(), MOMENTS):
        how = HOW.model_copy(update={"supercell": supercell})
        found += [
            (c.frame, p.frame) for c in run_md([Candidate(p.frame, p.label)], ensemble, how, MOMENTS, seed).candidates
        ]
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


def additions(ensemble: PotentialEnsemble, seed: int) -> dict[str, list[Frame]]:
    """Frames that each way adds."""
    rng = np.random.default_rng(seed)
    large = snapshots(ensemble, LARGE, seed)[:MORE]

    def at_random(frame: Frame, unit: Frame) -> Frame:
        away, begin = blocks.displacements(frame, unit, LARGE), tuple(rng.integers(LARGE).tolist())
        return blocks.closed(frame, away, unit, LARGE, SMALL, begin)

    def uncertain(frame: Frame, unit: Frame) -> list[Frame]:
        return blocks.cut([frame], unit, LARGE, SMALL, ensemble, HOW.min_distance_factor)[0]

    return {
        "nothing": [],
        "whole cells of 128 atoms": [frame for frame, _ in large],
        "their most uncertain blocks": [block for pair in large for block in uncertain(*pair)],
        "blocks of them at random": [at_random(*pair) for pair in large],
        "dynamics in cells of 16 atoms": [frame for frame, _ in snapshots(ensemble, SMALL, seed)[:MORE]],
        "32 of two atoms": [i.frame for i in quick(4 * MORE, seed=900 + seed).items],
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with threadpool_limits(limits=1):
        test = labelled([frame for frame, _ in snapshots(Truth(), LARGE, 5000)[:24]])
        for seed in range(1, args.seeds + 1):
            base = quick(BASE, seed=seed).items
            ensemble = train(base, seed)
            for way, frames in additions(ensemble, seed).items():
                taught = train(base + labelled(frames), seed) if frames else ensemble
                found.setdefault(way, []).append(rmse(as_labelled(taught, test), test))
            print(f"seed {seed}", flush=True)
    print(f"RMSE on {len(test)} cells of 128 atoms, mean (range over {args.seeds} seeds)")
    for way, errors in found.items():
        said = []
        for q in errors[0]:
            values = np.array([e[q] for e in errors]) * quantity(q).factor
            said.append(f"{values.mean():.3g} ({values.min():.3g}-{values.max():.3g}) {quantity(q).unit}")
        print(f"{way:32s} {'  '.join(said)}")


if __name__ == "__main__":
    main()
