"""What the mean of an ensemble gains where its members see all labels: bagged fits, full fits, and mixtures of both.

A bagged member sees 80 % of the labels, so that members differ; a full one sees all and differs by its random start
alone. Of the same labels five of each are fitted. Compared are the RMSE of a mean over test frames, and the deviation:
how it ranks the errors, and what it covers and is off by once it was calibrated with ten random labels. Labels come
from the spin-lattice MODEL HAMILTONIAN (the domain of the quick campaign) or from `--pool FILE.extxyz`; fit settings
are those of the family.

    python benchmarks/ensemble_mean.py
    python benchmarks/ensemble_mean.py --pool labels.extxyz --sizes 60 --test 20 --settings '{"level": 12}'
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from label_pools import of_file, quick, split
from threadpoolctl import threadpool_limits

from magflow.core.calibration import Calibration
from magflow.core.comparison import rmse
from magflow.core.dataset import Dataset
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction
from magflow.core.uncertainty import Uncertainty
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily
from magflow.presentation.quantities import quantity
from magflow.select.evidence import Evidence

MEMBERS, DRAWN, DRAWS = 5, 10, 10
"""Fits of each kind; random labels to calibrate with, and how often they are drawn anew."""


def fits(items: list[LabeledFrame], family: MmtpFamily, bagging: bool, seed: int):
    """Five members and the CPU seconds of each."""
    elements = sorted({s for item in items for s in item.frame.species})
    found = [
        fit_member(family, Dataset(items), elements=elements, seed=seed, member=k, bagging=bagging)
        for k in range(MEMBERS)
    ]
    return [potential for potential, _ in found], [report.cost.cpu_seconds for _, report in found]


def ways(
    bags: list, full: list, family: str, test: list[LabeledFrame]
) -> dict[str, tuple[EnsemblePrediction, int, int]]:
    """Name to the raw prediction for the test frames, and how many bagged and full fits it takes."""

    def of(members: list, uncertainty: Uncertainty = Uncertainty.ENSEMBLE) -> EnsemblePrediction:
        return as_labelled(PotentialEnsemble(tuple(members), family, uncertainty=uncertainty), test)

    def mixed(mean: int, deviation: int) -> EnsemblePrediction:
        return EnsemblePrediction(of(full[:mean]).mean, of(bags[:deviation]).deviation)

    return {
        "5 bagged": (of(bags), 5, 0),
        "4 full": (of(full[:4]), 0, 4),
        "5 full": (of(full), 0, 5),
        "5 full, both": (of(full, Uncertainty.BOTH), 0, 5),
        "1 full, laplace": (of(full[:1], Uncertainty.LAPLACE), 0, 1),
        "mean of 1 full, deviation of 5 bagged": (mixed(1, 5), 5, 1),
        "mean of 3 full, deviation of 3 bagged": (mixed(3, 3), 3, 3),
        "mean of 5 full, deviation of 5 bagged": (mixed(5, 5), 5, 5),
    }


def judged(
    prediction: EnsemblePrediction, test: list[LabeledFrame], seed: int
) -> dict[str, tuple[float, float, float]]:
    """By quantity: |ln| of RMS error over RMS deviation, share within one deviation, rank correlation."""
    ids = [item.frame.frame_id for item in test]
    whole = Evidence.of(prediction, Calibration(), test, set(ids), 0)
    rng, found = np.random.default_rng(seed), {}
    for _ in range(DRAWS):
        known = np.isin(whole.rows[:, 1], rng.permutation(len(test))[:DRAWN])
        calibrated = Evidence(whole.rows[known]).calibration()
        rest = Evidence.of(prediction, calibrated, test, set(ids), 0).rows[~known]
        for name, r in Evidence(rest).claims()["typical"].items():
            off = abs(np.log(r.error_rms / r.deviation_rms))
            found.setdefault(name, []).append((off, r.coverage[0], r.spearman or 0.0))
    return {name: tuple(np.mean(values, axis=0).tolist()) for name, values in found.items()}


def report(rows: list[dict]) -> None:
    """Means over the seeds; RMSE of every way over that of five bagged members, compared seed by seed."""
    for size in sorted({r["labels"] for r in rows}):
        print(f"\n{size} labels: RMSE, over that of 5 bagged (range over seeds); CPU s; deviation off, covers, ranks")
        for way in dict.fromkeys(r["way"] for r in rows):
            mine = [r for r in rows if r["labels"] == size and r["way"] == way]
            base = [r for r in rows if r["labels"] == size and r["way"] == "5 bagged"]
            said = []
            for q in [q for q in QUANTITIES if q in mine[0]["rmse"]]:
                shown = quantity(q)
                ratio = [a["rmse"][q] / b["rmse"][q] for a, b in zip(mine, base, strict=True)]
                mean = np.mean([r["rmse"][q] for r in mine]) * shown.factor
                low_high = f"({min(ratio):.2f}-{max(ratio):.2f})"
                said.append(f"{mean:.3g} {shown.unit} {np.exp(np.mean(np.log(ratio))):.2f} {low_high}")
            truth = np.mean([list(r["judged"].values()) for r in mine], axis=(0, 1))
            print(f"{way:38s} {'  '.join(said)}  {np.mean([r['cpu_s'] for r in mine]):.1f} s  {np.exp(truth[0]):.2f}"
                  f"  {truth[1]:.2f}  {truth[2]:.2f}")  # fmt: skip


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, help="labelled frames; default: the model Hamiltonian")
    parser.add_argument("--sizes", default="40,80,120")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--settings", type=json.loads, default={}, help="of the family, such as '{\"level\": 12}'")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = [int(n) for n in args.sizes.split(",")]
    pool = of_file(args.pool) if args.pool else quick(args.test + max(sizes) * 2, seed=11)
    family, rows = MmtpFamily(**args.settings), []
    with threadpool_limits(limits=1):
        for seed in range(1, args.seeds + 1):
            rest, test = split(pool, args.test, seed)
            for size in sizes:
                items = rest.items[:size]
                (bags, of_bags), (full, of_full) = (fits(items, family, bagging, seed) for bagging in (True, False))
                for way, (prediction, b, f) in ways(bags, full, family.name, test.items).items():
                    found = {"rmse": rmse(prediction, test.items), "judged": judged(prediction, test.items, seed)}
                    cpu = sum(of_bags[:b]) + sum(of_full[:f])
                    rows.append({"seed": seed, "labels": size, "way": way, "cpu_s": cpu, **found})
                print(f"seed {seed}: {size} labels", flush=True)
            if args.json:
                args.json.write_text(json.dumps(rows, indent=1))
    report(rows)


if __name__ == "__main__":
    main()
