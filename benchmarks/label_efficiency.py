"""Label efficiency: labels that active selection needs to reach the error that random selection reaches with N.

Both strategies use the campaign's own selection, family and bagging on the same pool, with the same rules for the first
batch and the same held-out test frames; the peer is `strategy: random` in the same run. Without `--pool` the labels
come from the spin-lattice MODEL HAMILTONIAN; with `--pool FILE.extxyz` (e.g. from `magflow export DIR`) from that file.

    python benchmarks/label_efficiency.py
    python benchmarks/label_efficiency.py --pool abinit_pool.extxyz --json out.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np

from magflow.core.dataset import Dataset
from magflow.core.label import Label, LabeledFrame
from magflow.core.prediction import QUANTITIES
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.explore.domain import DomainSettings, sample
from magflow.explore.prototypes import PrototypeSettings, build_prototypes
from magflow.io.extxyz import read_extxyz
from magflow.io.records import labeled_frames
from magflow.potentials.ensemble import PotentialEnsemble, fit_member
from magflow.potentials.mmtp import MmtpFamily
from magflow.select.calibration import assess
from magflow.select.offered import Offered
from magflow.select.pipeline import select
from magflow.select.settings import SelectSettings, Strategy

TARGETS = {"energy": 0.005, "forces": 0.040, "magnetic_forces": 0.030}
MOMENTS = {"Fe": (0.0, 2.8), "Al": (0.0, 0.1)}
PROTOTYPES = [
    PrototypeSettings(name="B2-FeAl", builder={"structure": "b2", "species": ["Fe", "Al"], "a": 2.884}),
    PrototypeSettings(
        name="bcc-Fe", builder={"structure": "bcc", "species": ["Fe"], "a": 2.836}, orderings=["FM", "AFM"]
    ),
]


def model_pool(n: int, seed: int) -> list[LabeledFrame]:
    """n frames of the quick campaign's domain, labelled by the model Hamiltonian."""
    built = build_prototypes(PROTOTYPES, ["Al", "Fe"], Path(), MOMENTS)
    domain = DomainSettings(spin_flip=0.0, disordered=0.0)
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    labelled = []
    for candidate in sample(built, domain, MOMENTS, n, seed):
        label: Label = engine.label(candidate.frame, level, Path())
        if label.ok:
            labelled.append(LabeledFrame(candidate.frame, label))
    return labelled


def train(items: list[LabeledFrame], family: MmtpFamily, members: int, seed: int) -> PotentialEnsemble:
    """A bagged ensemble."""
    fitted = [fit_member(family, Dataset(items), elements=["Al", "Fe"], seed=seed, member=k)[0] for k in range(members)]
    return PotentialEnsemble(tuple(fitted), family.name)


def curve(pool: list[LabeledFrame], test: list[LabeledFrame], strategy: Strategy, args: argparse.Namespace, seed: int):
    """Test RMSE per quantity after each batch."""
    family = MmtpFamily()
    settings = SelectSettings(strategy=strategy, initial=args.initial, batch=args.batch, fill=True)
    frames = [item.frame for item in pool]
    position = {f.frame_id: i for i, f in enumerate(frames)}
    taken: list[int] = []
    ensemble, calibration, rows = None, {}, []
    while len(taken) < args.labels:
        left = [i for i in range(len(pool)) if i not in set(taken)]
        offered = offer([frames[i] for i in left], ensemble)
        known = [frames[i] for i in taken]
        chosen = select(
            offered,
            known=known,
            known_descriptors=ensemble.descriptors(known) if ensemble is not None else None,
            settings=settings,
            targets=TARGETS,
            calibration=calibration,
            budget=args.labels - len(taken),
            seed=seed,
        )
        new = [position[offered.frames[int(i)].frame_id] for i in chosen.selected]
        if not new:
            break
        if ensemble is not None:
            items = [pool[i] for i in new]
            judged = assess(ensemble.predict([i.configuration for i in items]), items, previous=calibration)
            calibration = judged.factors
        taken += new
        ensemble = train([pool[i] for i in taken], family, args.members, seed)
        found = assess(ensemble.predict([i.configuration for i in test]), test, previous=calibration)
        spread = {q: e.deviation_rms * calibration.get(q, 1.0) / e.rmse for q, e in found.errors.items()}
        rows.append({"labels": len(taken), **found.rmse, "spread": spread})
    return rows


def offer(frames, ensemble: PotentialEnsemble | None) -> Offered:
    """What selection sees."""
    sources = ["pool"] * len(frames)
    if ensemble is None:
        return Offered(frames, sources)
    prediction = ensemble.predict(frames)
    deviations = {q: prediction.frame_deviation(q) for q in QUANTITIES}
    return Offered(frames, sources, deviations, ensemble.grades(frames), ensemble.descriptors(frames))


def score(row: dict) -> float:
    """Mean over the quantities of RMSE / target."""
    return float(np.mean([row[q] / t for q, t in TARGETS.items() if q in row]))


def labels_to_reach(rows: list[dict], error: float) -> float:
    """Labels at which the curve first falls to `error`, interpolated in log error; inf if it does not."""
    for a, b in itertools.pairwise(rows):
        if score(b) <= error < score(a):
            share = (np.log(score(a)) - np.log(error)) / (np.log(score(a)) - np.log(score(b)))
            return a["labels"] + share * (b["labels"] - a["labels"])
    return float(rows[0]["labels"]) if score(rows[0]) <= error else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, help="labelled frames; default: the model Hamiltonian")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--initial", type=int, default=40)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--labels", type=int, default=120)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--size", type=int, default=800, help="pool and test frames together")
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    items = labeled_frames(read_extxyz(args.pool)) if args.pool else model_pool(args.size, seed=7)
    source = str(args.pool.name) if args.pool else "spin-lattice model Hamiltonian"
    print(f"{len(items)} labelled frames from {source}; {args.test} of them for testing, another set for each seed")
    results = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        order = np.random.default_rng(seed).permutation(len(items))
        test, pool = [items[i] for i in order[: args.test]], [items[i] for i in order[args.test :]]
        begin = time.perf_counter()
        rows = {str(s): curve(pool, test, s, args, seed) for s in (Strategy.RANDOM, Strategy.ACTIVE)}
        needed = labels_to_reach(rows["active"], score(rows["random"][-1]))
        results.append({"seed": seed, "rows": rows, "needed": needed})
        print(f"seed {seed} ({time.perf_counter() - begin:.0f} s): active needs {needed:.0f} labels for what random "
              f"reaches with {rows['random'][-1]['labels']}")  # fmt: skip
    for strategy in ("random", "active"):
        print(f"\n{strategy}: labels, mean RMSE/target (range), RMSE per quantity, calibrated deviation / RMSE")
        for k in range(min(len(r["rows"][strategy]) for r in results)):
            at = [r["rows"][strategy][k] for r in results]
            scores = [score(a) for a in at]
            rmse = "  ".join(f"{q} {1e3 * np.mean([a[q] for a in at]):7.2f}" for q in QUANTITIES)
            spread = " ".join(f"{np.mean([a['spread'][q] for a in at]):.2f}" for q in QUANTITIES)
            span = f"({min(scores):.2f}-{max(scores):.2f})"
            print(f"{at[0]['labels']:5d}  {np.mean(scores):6.2f} {span}  {rmse} m[unit]  {spread}")
    ratios = [r["rows"]["random"][-1]["labels"] / r["needed"] for r in results]
    print(f"\nlabels saved: factor {np.mean(ratios):.2f} (seeds: {', '.join(f'{x:.2f}' for x in ratios)})")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
