"""Selection from large pools: time and peak memory at 10 000, 30 000 and 100 000 candidates of 2-16 atoms.

    python benchmarks/selection.py [--sizes 10000 30000 100000] [--json FILE]

Each size runs in a process of its own, so that its peak memory is its own. The peer is scikit-matter's farthest-point
sampling on all candidates at once, started from the training set: no sanity filter, no duplicates, no quotas, no score.
One in twenty candidates is a hidden duplicate (turned, shifted, relabelled, time-reversed); how many were found is
shown. Wall seconds depend on what else the machine does, so CPU seconds are shown too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from magflow.core.frame import Frame
from magflow.select.fingerprint import find_duplicates
from magflow.select.pipeline import Offered, select
from magflow.select.settings import SelectSettings, Strategy

KNOWN = 120
DESCRIPTORS = 60
TARGETS = {"energy": 0.005, "forces": 0.04, "stress": 0.003, "magnetic_forces": 0.03}
SIZES = {2: (1, 1, 1), 4: (2, 1, 1), 8: (2, 2, 1), 16: (2, 2, 2)}
SEED = 1


def make_frame(rng: np.random.Generator) -> Frame:
    """One distorted B2 FeAl or bcc Fe cell of 2, 4, 8 or 16 atoms with random collinear moments."""
    repeats = SIZES[int(rng.choice(list(SIZES)))]
    corners = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3) * 2.86
    sites = np.concatenate([corners, corners + 1.43])
    n = len(sites)
    strain = rng.uniform(-0.03, 0.03, (3, 3))
    strain = np.eye(3) * (1 + rng.uniform(-0.03, 0.03)) + (strain + strain.T) / 2
    species = ("Fe",) * (n // 2) + (("Al", "Fe")[int(rng.integers(2))],) * (n // 2)
    moments = np.where(np.array(species) == "Fe", rng.uniform(0, 2.8, n) * rng.choice([-1, 1], n), 0.0)
    return Frame(species, np.diag(repeats) * 2.86 @ strain, sites @ strain + rng.normal(0, 0.06, (n, 3)), moments)


def disguise(frame: Frame, rng: np.random.Generator) -> Frame:
    """The same crystal, turned, shifted, relabelled and time-reversed."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(frame))
    species = tuple(np.array(frame.species)[order])
    positions = (frame.positions @ turn)[order] + rng.normal(size=3)
    return Frame(species, frame.cell @ turn, positions, -frame.magmoms[order])


def make_pool(n: int) -> tuple[Offered, list[Frame], np.ndarray]:
    """n candidates, the training set and its descriptors."""
    rng = np.random.default_rng(SEED)
    fresh = [make_frame(rng) for _ in range(n - n // 20)]
    frames = fresh + [disguise(fresh[i], rng) for i in range(n // 20)]
    mixing = rng.normal(size=(6, DESCRIPTORS))
    descriptors = np.tanh(rng.normal(size=(n + KNOWN, 6)) @ mixing)
    deviations = {q: t * rng.lognormal(0, 0.8, n) for q, t in TARGETS.items()}
    offered = Offered(frames, ["benchmark"] * n, deviations, rng.lognormal(0, 0.8, n), descriptors[:n])
    return offered, [make_frame(rng) for _ in range(KNOWN)], descriptors[n:]


def peak_mb() -> float:
    """Peak resident memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(n: int) -> dict[str, float]:
    """One size: seconds of each stage, peak memory before and after."""
    offered, known, known_descriptors = make_pool(n)
    before = peak_mb()
    figures: dict[str, float] = {"candidates": n, "pool_mb": before}
    start, cpu = time.perf_counter(), time.process_time()
    found = select(
        offered,
        known=known,
        known_descriptors=known_descriptors,
        settings=SelectSettings(batch=25),
        targets=TARGETS,
        seed=SEED,
    )
    figures["select_s"], figures["cpu_s"] = time.perf_counter() - start, time.process_time() - cpu
    figures["peak_mb"] = peak_mb()
    figures["selected"] = len(found.selected)
    figures["duplicates_hidden"] = n // 20
    figures["duplicates_found"] = sum(row.get("duplicate-in-pool", 0) for row in found.counts.values())
    start = time.perf_counter()
    select(
        Offered(offered.frames, offered.sources),
        known=known,
        settings=SelectSettings(initial=25),
        targets=TARGETS,
        seed=SEED,
    )
    figures["first_batch_s"] = time.perf_counter() - start
    start = time.perf_counter()
    find_duplicates(offered.frames, known)
    figures["duplicates_s"] = time.perf_counter() - start
    start = time.perf_counter()
    random = SelectSettings(batch=25, strategy=Strategy.RANDOM)
    select(offered, known=known, settings=random, targets=TARGETS, seed=SEED)
    figures["random_s"] = time.perf_counter() - start
    return figures


def measure_peer(n: int) -> dict[str, float]:
    """scikit-matter's farthest-point sampling of 25 among all n candidates, started from the training set."""
    from skmatter.sample_selection import FPS

    offered, _, known = make_pool(n)
    points = np.concatenate([known, offered.descriptors])
    before = peak_mb()
    start, cpu = time.perf_counter(), time.process_time()
    FPS(initialize=list(range(KNOWN)), n_to_select=KNOWN + 25).fit(points)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"candidates": n, "pool_mb": before, "select_s": seconds, "cpu_s": cpu, "peak_mb": peak_mb()}


def main() -> None:
    """Run every size in its own process and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=["select", "peer"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps((measure if options.one == "select" else measure_peer)(options.sizes[0])))
        return
    results: dict[str, list[dict[str, float]]] = {"select": [], "peer": []}
    for n in options.sizes:
        for name, rows in results.items():
            command = [sys.executable, __file__, "--sizes", str(n), "--one", name]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print("candidates  select: wall s   CPU s  first batch s  duplicates s  random s  peak MB (pool)  hidden found")
    for row in results["select"]:
        print(
            f"{row['candidates']:10d}  {row['select_s']:14.1f}  {row['cpu_s']:6.1f}  {row['first_batch_s']:13.1f}"
            f"  {row['duplicates_s']:12.1f}  {row['random_s']:8.1f}  {row['peak_mb']:7.0f} ({row['pool_mb']:.0f})"
            f"  {row['duplicates_found']} of {row['duplicates_hidden']}"
        )
    print("peer: scikit-matter farthest-point sampling alone, on everything")
    for row in results["peer"]:
        print(
            f"{row['candidates']:10d}  {row['select_s']:14.1f}  {row['cpu_s']:6.1f}{'':41s}{row['peak_mb']:7.0f}"
            f" ({row['pool_mb']:.0f})"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
