"""Label efficiency: how many random labels equal n chosen ones, on one pool, with the same fits.

Three ways to choose: `random`; `deviation`, what a family gets that can tell no more than its ensemble's spread; and
`active`, what lowers the expected error over the domain most, its first batch included. All begin with the same number
of labels, and `random` runs to four times as many as the others end with, so that a factor of four can be seen. Held
against each other are the RMSE over its target, mean over the quantities: of all test frames, of the worst stratum, and
the 95th percentile of frames. The domains are those of `benchmarks/label_pools.py`, labelled by the spin-lattice MODEL
HAMILTONIAN; with `--pool FILE.extxyz` (e.g. from `magflow export DIR`) labels come from that file.

Then how true the calibrated deviations were, on the test frames (typical ones, of which each batch has a random tenth)
and on the chosen ones, which are hard: RMS error over RMS deviation, share of errors within one deviation, and rank
correlation of error and deviation.

With `--points FILE` each finished point is kept as a line of JSON, and a run that was killed goes on behind the last.

    python benchmarks/label_efficiency.py --points quick.jsonl
    python benchmarks/label_efficiency.py --domain heterogeneous --initial 10 --batch 10 --labels 40 --members 2
    python benchmarks/label_efficiency.py --pool abinit_pool.extxyz --labels 60
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from label_pools import ELEMENTS, Pool, heterogeneous, of_file, quick, split

from magflow.core.calibration import Calibration
from magflow.core.comparison import compare
from magflow.core.dataset import Dataset
from magflow.core.label import LabeledFrame, LabelKind
from magflow.core.prediction import QUANTITIES
from magflow.makers.design import ALIKE, alike
from magflow.makers.select import offer
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily
from magflow.select.evidence import COLUMNS, Evidence
from magflow.select.pipeline import select
from magflow.select.reasons import Reason
from magflow.select.reliability import Reliability
from magflow.select.settings import SelectSettings, Strategy

TARGETS = {"energy": 0.005, "forces": 0.040, "magnetic_forces": 0.030}
MEASURES = ("mean", "worst stratum", "95th percentile")


def train(items: list[LabeledFrame], family: MmtpFamily, members: int, seed: int) -> PotentialEnsemble:
    """A bagged ensemble."""
    fitted = [fit_member(family, Dataset(items), elements=ELEMENTS, seed=seed, member=k)[0] for k in range(members)]
    return PotentialEnsemble(tuple(fitted), family.name)


def errors(ensemble: PotentialEnsemble, test: Pool) -> dict[str, float]:
    """RMSE of each quantity, and the measures of RMSE over target."""
    prediction, names = as_labelled(ensemble, test.items), np.array(test.names)
    squares = np.full((len(test), len(TARGETS)), np.nan)
    rmse = {}
    for k, (quantity, target) in enumerate(TARGETS.items()):
        found = compare(prediction, test.items, quantity)
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


def evidence_of(ensemble: PotentialEnsemble, items: list[LabeledFrame], drawn: set[str], iteration: int) -> Evidence:
    """What a calibrated ensemble was worth on labels it has not learnt from; ids of the random frames among them."""
    raw = as_labelled(ensemble.calibrated(Calibration()), items)
    return Evidence.of(raw, ensemble.calibration, items, drawn, iteration)


def truth(claims: dict[str, Reliability]) -> dict[str, tuple[float, float, float]]:
    """By quantity: RMS error over RMS deviation, share of errors within one deviation, rank correlation."""
    return {q: (r.error_rms / r.deviation_rms, r.coverage[0], r.spearman or 0.0) for q, r in claims.items()}


@dataclass(frozen=True)
class Points:
    """Finished points of the curves, in a file of JSON lines, or in none.

    A line belongs to a run of the same `setting`: a line of another one is left alone.
    """

    path: Path | None
    setting: dict[str, object]

    def of(self, seed: int, way: str) -> list[dict]:
        """What is there of one curve, in the order it was found."""
        lines = self.path.read_text().splitlines() if self.path and self.path.is_file() else []
        found = [row for line in lines if (row := whole(line))]
        return [row for row in found if (row["setting"], row["seed"], row["way"]) == (self.setting, seed, way)]

    def add(self, seed: int, way: str, row: dict) -> None:
        """Keep one more."""
        if self.path is not None:
            with self.path.open("a") as file:
                file.write("\n" + json.dumps({"setting": self.setting, "seed": seed, "way": way, **row}) + "\n")


def whole(line: str) -> dict | None:
    """The row of a line; None if a kill cut it off."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def curve(pool: Pool, test: Pool, way: str, args: argparse.Namespace, seed: int, points: Points) -> list[dict]:
    """Errors, and what deviations were worth, after each batch."""
    family = MmtpFamily()
    strategy = Strategy.ACTIVE if way == "active" else Strategy.RANDOM
    settings = SelectSettings(strategy=strategy, initial=args.initial, batch=args.batch, fill=True)
    at_random = {item.frame.frame_id for item in test.items}
    rows = points.of(seed, way)
    ahead = [size for size in sizes(way, args) if size <= len(pool)][len(rows) :]
    taken: list[int] = rows[-1]["taken"] if rows else []
    evidence = Evidence(np.reshape(rows[-1]["evidence"], (-1, len(COLUMNS)))) if rows else Evidence.none()
    ensemble = train(pool.take(taken).items, family, args.members, seed) if rows and ahead else None
    for size in ahead:
        begin = time.process_time()
        left = [i for i in range(len(pool)) if i not in set(taken)]
        offered, known = pool.take(left).items, pool.take(taken).items
        before = None if ensemble is None else ensemble.calibrated(evidence.calibration())
        new, drawn = choose(offered, known, before, family, settings, size - len(taken), way, seed)
        if not new:  # nothing left that the ensemble is not sure of
            break
        row: dict = {"labels": len(taken) + len(new)}
        if before is not None:
            found = evidence_of(before, [offered[i] for i in new], drawn, len(rows))
            row["chosen"] = truth(found.claims().get("chosen", {}))
            evidence = evidence.followed_by(found)
        taken = taken + [left[i] for i in new]
        ensemble = train(pool.take(taken).items, family, args.members, seed)
        calibrated = ensemble.calibrated(evidence.calibration())
        row |= errors(calibrated, test)
        row["typical"] = truth(evidence_of(calibrated, test.items, at_random, 0).claims()["typical"])
        row |= {"cpu": time.process_time() - begin, "taken": taken, "evidence": evidence.rows.tolist()}
        points.add(seed, way, row)
        rows.append(row)
        print(f"  {way:9s} {len(taken):4d}  " + "  ".join(f"{m} {row[m]:.2f}" for m in MEASURES), flush=True)
    return rows


def sizes(way: str, args: argparse.Namespace) -> list[int]:
    """Labels after each batch; the random curve goes on in steps that grow, to four times the labels."""
    found = list(range(args.initial, args.labels + 1, args.batch))
    if way == "random":
        found += [round(args.labels * 4.0 ** (k / 4)) for k in range(1, 5)]
    return found


def choose(left, known, ensemble, family, settings, number, way, seed) -> tuple[list[int], set[str]]:
    """Indices into `left` of the next batch, and the ids of its random frames."""
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
    drawn = {frames[i].frame_id for i in found.selected if found.reasons[i] is Reason.DRAWN}
    return found.selected.tolist(), drawn


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


def report_truth(results: list[dict], way: str) -> None:
    """Of all calibrated ensembles of a way: how far off deviations were, what they covered, whether they ranked."""
    for which in ("typical", "chosen"):
        found: dict[str, list] = {}
        for row in [row for r in results for row in r["rows"][way][1:]]:
            for quantity, values in row.get(which, {}).items():
                found.setdefault(quantity, []).append(values)
        print(f"\n{way}, {which} frames: factor off on average (worst), share within one deviation, rank correlation")
        for quantity, values in found.items():
            ratio, covered, rank = np.array(values).T
            off = np.exp(np.abs(np.log(ratio)))
            said = f"{np.exp(np.mean(np.log(off))):.2f} ({off.max():.2f}), error/deviation "
            said += f"{np.exp(np.mean(np.log(ratio))):.2f}  {np.mean(covered):.2f} ({covered.min():.2f}-"
            said += f"{covered.max():.2f})  {np.mean(rank):.2f} ({rank.min():.2f}-{rank.max():.2f})"
            print(f"{quantity:20s}  {said}  of {len(ratio)} ensembles")


def pools(args: argparse.Namespace, seed: int) -> tuple[Pool, Pool]:
    """What is chosen from, and the frames to test on."""
    if args.pool is None and args.domain == "heterogeneous":
        return heterogeneous(args.size, args.test, seed)
    return split(of_file(args.pool) if args.pool else quick(args.size, seed=7), args.test, seed)


def setting(args: argparse.Namespace) -> dict[str, object]:
    """What a point depends on beside its seed and way."""
    where = args.domain if args.pool is None else str(args.pool)
    return {"pool": where} | {k: getattr(args, k) for k in ("initial", "batch", "labels", "members", "size", "test")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", choices=["quick", "heterogeneous"], default="quick")
    parser.add_argument("--pool", type=Path, help="labelled frames in place of those of the model Hamiltonian")
    parser.add_argument("--ways", nargs="+", default=["random", "deviation", "active"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--initial", type=int, default=20)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--members", type=int, default=3, help="at least two: one has no deviation")
    parser.add_argument("--size", type=int, default=1600, help="pool and test frames together; heterogeneous: the pool")
    parser.add_argument("--test", type=int, help="test frames, 300; heterogeneous: of each of 12 strata, 12")
    parser.add_argument("--points", type=Path, help="JSON lines, to which finished points go and from which it goes on")
    args = parser.parse_args()
    if args.test is None:
        args.test = 12 if args.domain == "heterogeneous" else 300
    points = Points(args.points, setting(args))
    results = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        pool, test = pools(args, seed)
        print(f"seed {seed}: {len(pool)} frames to choose from, {len(test)} to test on", flush=True)
        results.append({"seed": seed, "rows": {way: curve(pool, test, way, args, seed, points) for way in args.ways}})
    report(results, args.ways)
    for way in [way for way in args.ways if way != "random"]:
        report_truth(results, way)


if __name__ == "__main__":
    main()
