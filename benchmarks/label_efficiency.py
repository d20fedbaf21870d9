"""Label efficiency: how many random labels equal n chosen ones, on one pool, with the same fits.

Three ways to choose: `random`; `deviation`, what a family gets that can tell no more than its ensemble's spread; and
`active`, what lowers the expected error over the domain most, its first batch included. All begin with the same number
of labels, and `random` runs to four times as many as the others end with, so that a factor of four can be seen. Held
against each other are the RMSE over its target, mean over the quantities: of all test frames, of the worst stratum, and
the 95th percentile of frames. Without `--pool` the labels come from the spin-lattice MODEL HAMILTONIAN; with
`--pool FILE.extxyz` (e.g. from `magflow export DIR`) from that file.

    python benchmarks/label_efficiency.py
    python benchmarks/label_efficiency.py --pool abinit_pool.extxyz --labels 60 --json out.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from magflow.core.calibration import Calibration
from magflow.core.comparison import compare
from magflow.core.dataset import Dataset
from magflow.core.label import Label, LabeledFrame, LabelKind
from magflow.core.prediction import QUANTITIES
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.explore.domain import DomainSettings, sample
from magflow.explore.prototypes import PrototypeSettings, build_prototypes
from magflow.io.extxyz import read_extxyz
from magflow.io.records import labeled_frames
from magflow.makers.design import ALIKE, alike
from magflow.makers.select import offer
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily
from magflow.select.evidence import Evidence
from magflow.select.pipeline import select
from magflow.select.quotas import stratum
from magflow.select.settings import SelectSettings, Strategy

TARGETS = {"energy": 0.005, "forces": 0.040, "magnetic_forces": 0.030}
MOMENTS = {"Fe": (0.0, 2.8), "Al": (0.0, 0.1)}
PROTOTYPES = [
    PrototypeSettings(name="B2-FeAl", builder={"structure": "b2", "species": ["Fe", "Al"], "a": 2.884}),
    PrototypeSettings(
        name="bcc-Fe", builder={"structure": "bcc", "species": ["Fe"], "a": 2.836}, orderings=["FM", "AFM"]
    ),
]
ELEMENTS = ["Al", "Fe"]
MEASURES = ("mean", "worst stratum", "95th percentile")


def model_pool(n: int, seed: int) -> list[LabeledFrame]:
    """n frames of the quick campaign's domain, labelled by the model Hamiltonian."""
    built = build_prototypes(PROTOTYPES, ELEMENTS, Path(), MOMENTS)
    domain = DomainSettings(spin_flip=0.0, disordered=0.0)
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(ELEMENTS)
    labelled = []
    for candidate in sample(built, domain, MOMENTS, n, seed):
        label: Label = engine.label(candidate.frame, level, Path())
        if label.ok:
            labelled.append(LabeledFrame(candidate.frame, label))
    return labelled


def train(items: list[LabeledFrame], family: MmtpFamily, members: int, seed: int) -> PotentialEnsemble:
    """A bagged ensemble."""
    fitted = [fit_member(family, Dataset(items), elements=ELEMENTS, seed=seed, member=k)[0] for k in range(members)]
    return PotentialEnsemble(tuple(fitted), family.name)


def errors(ensemble: PotentialEnsemble, test: list[LabeledFrame]) -> dict[str, float]:
    """RMSE of each quantity, and the measures of RMSE over target."""
    prediction, names = as_labelled(ensemble, test), np.array([stratum(i.frame) for i in test])
    squares = np.full((len(test), len(TARGETS)), np.nan)
    rmse = {}
    for k, (quantity, target) in enumerate(TARGETS.items()):
        found = compare(prediction, test, quantity)
        rmse[quantity] = float(np.sqrt(np.mean(found.error**2)))
        counts = np.bincount(found.owner, minlength=len(test))
        with np.errstate(invalid="ignore"):
            squares[:, k] = np.bincount(found.owner, (found.error / target) ** 2, len(test)) / counts
    of_strata = [np.nanmean(np.sqrt(np.nanmean(squares[names == s], axis=0))) for s in sorted(set(names))]
    return rmse | {
        "mean": float(np.mean([rmse[q] / t for q, t in TARGETS.items()])),
        "worst stratum": float(np.max(of_strata)),
        "95th percentile": float(np.percentile(np.nanmean(np.sqrt(squares), axis=1), 95)),
    }


def curve(pool: list[LabeledFrame], test: list[LabeledFrame], way: str, args: argparse.Namespace, seed: int):
    """Errors after each batch."""
    family = MmtpFamily()
    strategy = Strategy.ACTIVE if way == "active" else Strategy.RANDOM
    settings = SelectSettings(strategy=strategy, initial=args.initial, batch=args.batch, fill=True)
    taken: list[int] = []
    ensemble, evidence, rows, begin = None, Evidence.none(), [], time.process_time()
    for size in sizes(way, args):
        if size > len(pool):
            break
        known = [pool[i] for i in taken]
        left = [i for i in range(len(pool)) if i not in set(taken)]
        new = choose([pool[i] for i in left], known, ensemble, family, settings, size - len(taken), way, seed)
        if not new:  # nothing left that the ensemble is not sure of
            break
        new = [left[i] for i in new]
        if ensemble is not None:
            items = [pool[i] for i in new]
            raw = ensemble.calibrated(Calibration()).predict([i.configuration for i in items])
            evidence = evidence.followed_by(Evidence.of(raw, ensemble.calibration, items, (), len(rows)))
        taken += new
        trained = train([pool[i] for i in taken], family, args.members, seed)
        ensemble = trained.calibrated(evidence.calibration())
        rows.append({"labels": len(taken), **errors(ensemble, test), "cpu": time.process_time() - begin})
        print(f"  {way:9s} {len(taken):4d}  " + "  ".join(f"{m} {rows[-1][m]:.2f}" for m in MEASURES), flush=True)
    return rows


def sizes(way: str, args: argparse.Namespace) -> list[int]:
    """Labels after each batch; the random curve goes on in steps that grow, to four times the labels."""
    found = list(range(args.initial, args.labels + 1, args.batch))
    if way == "random":
        found += [round(args.labels * 4.0 ** (k / 4)) for k in range(1, 5)]
    return found


def choose(left, known, ensemble, family, settings, number, way, seed) -> list[int]:
    """Indices into `left` of the next batch."""
    frames = [item.frame for item in left]
    if way == "deviation" and ensemble is not None:
        settings = settings.model_copy(update={"strategy": Strategy.ACTIVE})
    settings = settings.model_copy(update={"initial": number, "batch": number})
    offered = offer(frames, ["pool"] * len(frames), ensemble if settings.strategy is Strategy.ACTIVE else None)
    if way == "active":
        undecided = (
            family.undecided_before(alike(frames[:ALIKE], LabelKind.CONSTRAINED), elements=ELEMENTS, seed=seed)
            if ensemble is None
            else family.undecided(ensemble.members[0], known, seed=seed)
        )
        offered = replace(offered, undecided=undecided)
    before = [item.frame for item in known]
    descriptors = None if offered.descriptors is None else ensemble.descriptors(before)
    found = select(
        offered,
        known=before,
        known_descriptors=descriptors,
        settings=settings,
        targets=TARGETS,
        seed=seed,
    )
    return found.selected.tolist()


def equal_labels(rows: list[dict], error: float, measure: str) -> float:
    """Random labels whose error is `error`, on the running best of the curve, log-log; its last size if it never is."""
    best = np.minimum.accumulate([r[measure] for r in rows])
    for (a, x), (b, y) in itertools.pairwise(zip((r["labels"] for r in rows), best, strict=True)):
        if y <= error < x:
            return float(a * (b / a) ** (np.log(x / error) / np.log(x / y)))
    return float(rows[0]["labels"] if best[0] <= error else rows[-1]["labels"])


def report(results: list[dict], ways: list[str]) -> None:
    """Both kinds of curve, and the factors with their range over the seeds."""
    for way in ways:
        print(f"\n{way}: labels, RMSE/target by measure (range over seeds), RMSE of {', '.join(QUANTITIES[:2])}, dE/dm")
        for k in range(min(len(r["rows"][way]) for r in results)):
            at = [r["rows"][way][k] for r in results]
            said = [f"{np.mean(x):.2f} ({min(x):.2f}-{max(x):.2f})" for x in ([a[m] for a in at] for m in MEASURES)]
            rmse = "  ".join(f"{1e3 * np.mean([a[q] for a in at]):.2f}" for q in TARGETS)
            print(f"{at[0]['labels']:5d}  {'  '.join(said)}  {rmse} m[unit]")
    for way in [w for w in ways if w != "random" and "random" in ways]:
        print(f"\n{way}: random labels that equal n chosen ones, over n; geometric mean (range over seeds)")
        for k in range(min(len(r["rows"][way]) for r in results)):
            n, said = results[0]["rows"][way][k]["labels"], []
            for measure in MEASURES:
                found = [equal_labels(r["rows"]["random"], r["rows"][way][k][measure], measure) / n for r in results]
                said.append(f"{measure} {np.exp(np.mean(np.log(found))):.2f} ({min(found):.2f}-{max(found):.2f})")
            print(f"{n:5d}  {'  '.join(said)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, help="labelled frames; default: the model Hamiltonian")
    parser.add_argument("--ways", nargs="+", default=["random", "deviation", "active"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--initial", type=int, default=20)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--members", type=int, default=3, help="at least two: one has no deviation")
    parser.add_argument("--size", type=int, default=1600, help="pool and test frames together")
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    items = labeled_frames(read_extxyz(args.pool)) if args.pool else model_pool(args.size, seed=7)
    source = str(args.pool.name) if args.pool else "spin-lattice model Hamiltonian"
    print(f"{len(items)} labelled frames from {source}; {args.test} of them for testing, another set for each seed")
    results = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        order = np.random.default_rng(seed).permutation(len(items))
        test, pool = [items[i] for i in order[: args.test]], [items[i] for i in order[args.test :]]
        print(f"seed {seed}")
        results.append({"seed": seed, "rows": {way: curve(pool, test, way, args, seed) for way in args.ways}})
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))
    report(results, args.ways)


if __name__ == "__main__":
    main()
