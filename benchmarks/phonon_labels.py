"""What labels of displaced atoms buy a potential, against ordinary labels of as many atoms, on phonons and on forces.

    python benchmarks/phonon_labels.py [--level 8] [--labels 20 40 80] [--repeats 2 2 2] [--seeds 1 2 3] [--json FILE]

The labels are of the spin-lattice model Hamiltonian (a model, not DFT). Random two-atom frames of bcc Fe and B2 FeAl
are learnt from alone, with more such frames, or with crystals at rest, perfect and with one atom displaced, that hold
as many atoms and are learnt as force constants. Held out: the same crystals at another volume in cells of 16 atoms,
and frames drawn as those learnt from. Each seed draws other frames and fits one mMTP; printed are means and standard
deviations over the seeds, and CPU seconds of the fits.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.explore.geometry import repeated
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp import MmtpFamily
from magflow.properties.displaced import columns_of, complete, displaced_frames, of_displacements
from magflow.properties.vibrations import COMPARED, vibrations_of

ENGINE = SpinLatticeEngine()
ELEMENTS = ["Al", "Fe"]
LEVEL = ENGINE.level_of_theory(ELEMENTS)
FORCES = "forces"
ARMS = ("none", "ordinary", "displaced")
"""What is added to the labels."""
CRYSTALS = {"Fe FM": ("Fe", "Fe", 2.0, 2.0), "Fe AFM": ("Fe", "Fe", 2.0, -2.0), "FeAl": ("Fe", "Al", 2.0, 0.0)}
"""Two species and moments, muB, on the bcc lattice; the moments are clamped there."""


def crystal(name: str, edge: float) -> Frame:
    """Both sublattices of the bcc lattice, edge in A."""
    first, second, *moments = CRYSTALS[name]
    return Frame((first, second), edge * np.eye(3), [[0.0] * 3, [0.5 * edge] * 3], moments)


def edge_at_rest(name: str) -> float:
    """A at which the pressure vanishes, by secants."""
    low, high = 2.7, 3.0
    for _ in range(12):
        a, b = (labelled([crystal(name, edge)])[0].label.stress[:3].sum() for edge in (low, high))
        low, high = high, high - b * (high - low) / (b - a) if b != a else high
    return high


def random_frames(n: int, rng: np.random.Generator) -> list[Frame]:
    """Strained, shaken, with moments of other sizes."""
    frames = []
    for _ in range(n):
        name = list(CRYSTALS)[rng.integers(len(CRYSTALS))]
        ideal = crystal(name, 2.85 * (1.0 + rng.uniform(-0.03, 0.05)))
        cell = ideal.cell @ (np.eye(3) + rng.normal(0.0, 0.015, (3, 3)))
        positions = ideal.positions @ np.linalg.solve(ideal.cell, cell) + rng.normal(0.0, 0.08, (2, 3))
        moments = np.array(CRYSTALS[name][2:]) * rng.uniform(0.8, 1.2, 2)
        frames.append(Frame(ideal.species, cell, positions, moments))
    return frames


def labelled(frames: Sequence[Frame]) -> list[LabeledFrame]:
    """With the answers of the model."""
    return [LabeledFrame(f, ENGINE.label(f, LEVEL, Path())) for f in frames]


def of_crystals(
    edges: dict[str, float], repeats: tuple[int, int, int], scale: float
) -> tuple[list[ForceConstantLabel], int]:
    """Force constants of the crystals at a share of their edge, and how many atoms were labelled for them."""
    found, taken = [], 0
    for name, edge in edges.items():
        perfect = repeated(crystal(name, scale * edge), repeats)
        items = labelled([perfect, *displaced_frames(perfect, 0.01)])
        found += of_displacements(items, name)
        taken += len(items) * len(perfect)
    return found, taken


def errors(
    ensemble: PotentialEnsemble, held: Sequence[ForceConstantLabel], test: Sequence[LabeledFrame]
) -> dict[str, float]:
    """Mean absolute errors of the four phonon quantities over crystals; RMSE of forces, meV/A."""
    off: dict[str, list[float]] = {name: [] for name in COMPARED}
    for label in held:
        mine = columns_of(ensemble, label.frame, label.atoms)
        own = ForceConstantLabel.from_columns(label.frame, label.level_of_theory, label.atoms, mine)
        known, predicted = (vibrations_of(label.frame, complete(one)) for one in (label, own))
        for name in COMPARED:
            off[name].append(abs(getattr(predicted, name) - getattr(known, name)))
    forces = ensemble.predict([item.frame for item in test]).mean.forces
    differences = forces - np.concatenate([item.label.forces for item in test])
    return {n: float(np.mean(x)) for n, x in off.items()} | {FORCES: 1e3 * float(np.sqrt(np.mean(differences**2)))}


def measured(
    level: int, sizes: Sequence[int], repeats: tuple[int, int, int], seeds: Sequence[int]
) -> list[dict[str, object]]:
    """One row per size, arm and seed."""
    edges = {name: edge_at_rest(name) for name in CRYSTALS}
    learnt, atoms = of_crystals(edges, repeats, 1.0)
    taken = atoms // 2
    held, _ = of_crystals(edges, (2, 2, 2), 1.02)
    rows: list[dict[str, object]] = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        test, pool = labelled(random_frames(60, rng)), labelled(random_frames(max(sizes) + taken, rng))
        for size in sizes:
            for arm in ARMS:
                train = pool[: size + (taken if arm == "ordinary" else 0)]
                begin = time.process_time()
                columns = learnt if arm == "displaced" else []
                family = MmtpFamily(level=level)
                potential, _ = family.fit(train, elements=ELEMENTS, seed=seed, force_constants=columns)
                spent = time.process_time() - begin
                ensemble = PotentialEnsemble((potential,), family_name="mmtp")
                row = {
                    "labels": size,
                    "added": 0 if arm == "none" else 2 * taken,
                    "arm": arm,
                    "seed": seed,
                    "cpu": spent,
                }
                rows.append(row | errors(ensemble, held, test))
                print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: Sequence[dict[str, object]]) -> Table:
    """Means and standard deviations over the seeds."""
    out = Table(title="model Hamiltonian, held out")
    names = (*COMPARED, FORCES, "cpu")
    for head in ("labels", "atoms added", *names):
        out.add_column(head, justify="right")
    for size, arm in dict.fromkeys((r["labels"], r["arm"]) for r in rows):
        mine = [r for r in rows if (r["labels"], r["arm"]) == (size, arm)]
        columns = (np.array([r[name] for r in mine], float) for name in names)
        told = [f"{c.mean():.3g} ± {c.std(ddof=1) if len(c) > 1 else 0.0:.2g}" for c in columns]
        out.add_row(str(size), f"{mine[0]['added']} {arm}", *told)
    return out


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", type=int, default=8)
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 40, 80])
    parser.add_argument("--repeats", type=int, nargs=3, default=[2, 2, 2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = measured(given.level, given.labels, tuple(given.repeats), given.seeds)
    Console(width=150).print(table(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
