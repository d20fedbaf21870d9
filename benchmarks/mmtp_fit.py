"""Fitting mMTPs: the optimiser, an ensemble of five on 400 frames of 16 atoms, an update with 20 new frames.

Labels come from the spin-lattice MODEL HAMILTONIAN (it is not DFT): bcc cells of 16 atoms, Fe with 0 to 50 % Al,
strained, displaced, with parallel, antiparallel and random moments. Test frames are of the same kind and never fitted.
The peer is the published form of the mMTP, fitted in the same run with the same labels, weights and optimiser. CPU
seconds are those of the fits alone; other load on the machine makes them longer.

    python benchmarks/mmtp_fit.py                    # everything, about 15 CPU minutes
    python benchmarks/mmtp_fit.py --parts ensemble   # one part
    python benchmarks/mmtp_fit.py --labels 100 --members 2 --json out.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from magflow.core.comparison import compare
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.optimise import Plan, minimise
from magflow.potentials.mmtp.residuals import Problem
from magflow.potentials.mmtp.state import State
from magflow.potentials.mmtp.task import FitTask, prepare
from magflow.presentation.quantities import quantity

ELEMENTS = ("Al", "Fe")
TEST = 200
SEED = 1


def frame(rng: np.random.Generator, repeats: int, ordering: int) -> Frame:
    """A bcc supercell: strain to 2 %, volume to 12 %, displacements of 0.06 A, Fe moments to 2.6 muB."""
    corners = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), -1).reshape(-1, 3)
    sites = np.concatenate([corners, corners + 0.5])
    n = len(sites)
    species = np.where(rng.random(n) < rng.uniform(0.0, 0.5), "Al", "Fe")
    strain = rng.uniform(-0.02, 0.02, (3, 3))
    lattice = 2.86 * (1 + rng.uniform(-0.04, 0.04)) * (np.eye(3) + 0.5 * (strain + strain.T))
    moments = rng.uniform(1.0, 2.6, n)
    if ordering == 1:
        moments *= np.where(np.arange(n) < n // 2, 1, -1)
    elif ordering == 2:
        moments = rng.uniform(-2.6, 2.6, n)
    moments = np.where(species == "Fe", moments, rng.uniform(-0.1, 0.1, n))
    return Frame(tuple(species), repeats * lattice, sites @ lattice + rng.normal(0, 0.06, (n, 3)), moments)


def labelled(n: int, repeats: int, seed: int = SEED) -> list[LabeledFrame]:
    """n frames of 2 repeats^3 atoms with labels of the model Hamiltonian."""
    rng, engine = np.random.default_rng(seed), SpinLatticeEngine()
    level = engine.level_of_theory(ELEMENTS)
    frames = [frame(rng, repeats, k % 3) for k in range(n)]
    return [LabeledFrame(f, engine.label(f, level, Path())) for f in frames]


def shown(rmse: dict[str, float]) -> str:
    """RMSE per quantity as a person reads it."""
    return "  ".join(f"{rmse[q] * quantity(q).factor:6.3g} {quantity(q).unit:9s}" for q in QUANTITIES if q in rmse)


def optimiser(labels: int, repeats: int, iterations: int) -> list[dict[str, Any]]:
    """Objective and test loss against CPU seconds: Levenberg-Marquardt alone, and followed by BFGS after 8 of them."""
    items = labelled(labels + TEST, repeats)
    family = MmtpFamily(level=12, max_iterations=iterations)
    rows: list[dict[str, Any]] = []
    for name, sampled in (("LM", False), ("LM+BFGS", True)):
        begin = time.process_time()
        ready = prepare(family, FitTask(items[:labels], [], ELEMENTS, seed=0))
        test = Problem.of(ready.problem.model, items[labels:], np.ones(TEST, dtype=np.int64), family.weights)
        clock = {"own": 0.0}

        def observe(state: State, name: str = name, begin: float = begin, test: Problem = test, clock=clock) -> None:
            now = time.process_time()
            if state.iteration in (4, 8) or state.iteration % 8 == 0:
                residuals = test.residuals(state.parameters)
                rows.append(
                    {
                        "labels": labels,
                        "atoms": 2 * repeats**3,
                        "method": name,
                        "iteration": state.iteration,
                        "cpu_s": now - begin - clock["own"],
                        "objective": state.objective,
                        "test_loss": test.loss(residuals),
                        "test_rmse": test.rmse(residuals),
                    }
                )
            clock["own"] += time.process_time() - now

        minimise(
            Objective(ready.problem, ready.prior),
            Plan(iterations, 8, family.tolerance, family.patience),
            State.at(ready.starts[0]),
            rough=Objective(ready.rough or ready.problem, ready.prior) if sampled else None,
            observe=observe,
        )
    return rows


def judge(ensemble: PotentialEnsemble, items: Sequence[LabeledFrame]) -> dict[str, dict[str, float]]:
    """Per quantity: RMSE of the mean and of the members, deviation / error, and their rank correlation over frames."""
    prediction = as_labelled(ensemble, items)
    out: dict[str, dict[str, float]] = {"rmse": {}, "member_rmse": {}, "ratio": {}, "rank_correlation": {}}
    singles = [as_labelled(PotentialEnsemble((m,), ensemble.family_name), items) for m in ensemble.members]
    for q in QUANTITIES:
        c = compare(prediction, items, q)
        rmse = float(np.sqrt(np.mean(c.error**2)))
        out["rmse"][q] = rmse
        out["member_rmse"][q] = float(np.mean([np.sqrt(np.mean(compare(s, items, q).error ** 2)) for s in singles]))
        out["ratio"][q] = float(np.sqrt(np.mean(c.deviation**2))) / rmse
        n = np.bincount(c.owner)
        error, spread = (np.sqrt(np.bincount(c.owner, weights=x**2) / n) for x in (c.error, c.deviation))
        out["rank_correlation"][q] = float(spearmanr(error, spread).statistic)
    return out


def ensembles(labels: int, members: int) -> list[dict[str, Any]]:
    """Ensembles of the even and of the paper's form, and one whose members differ by seed alone."""
    items = labelled(labels + TEST, 2)
    train, test = Dataset(items[:labels]), items[labels:]
    rows = []
    for name, settings, bagging in (
        ("even", {}, True),
        ("even, seeds only", {}, False),
        ("paper", {"form": "paper"}, True),
    ):
        family = MmtpFamily(level=12, **settings)
        options = {"elements": ELEMENTS, "seed": SEED, "bagging": bagging}
        fits = [fit_member(family, train, member=k, **options) for k in range(members)]
        ensemble = PotentialEnsemble(tuple(p for p, _ in fits), family.name)
        rows.append(
            {
                "form": name,
                "parameters": len(ensemble.members[0].model.parameters),
                "members": members,
                "cpu_s": sum(r.cost.cpu_seconds for _, r in fits),
                **judge(ensemble, test),
            }
        )
        print(f"\n{name}: {rows[-1]['parameters']} parameters, {members} members, {rows[-1]['cpu_s']:.1f} CPU s")
        print(f"  RMSE of the mean    {shown(rows[-1]['rmse'])}")
        print(f"  RMSE of one member  {shown(rows[-1]['member_rmse'])}")
        for key in ("ratio", "rank_correlation"):
            print(f"  spread and error: {key:16s}  " + "  ".join(f"{q} {v:.2f}" for q, v in rows[-1][key].items()))
    return rows


def update(labels: int) -> list[dict[str, Any]]:
    """A model fitted on `labels` frames takes up 20 with larger moments and volumes: warm against fresh."""
    items = labelled(labels, 2)
    bold = [f.frame.replace(magmoms=1.1 * f.frame.magmoms, cell=1.02 * f.frame.cell, positions=1.02 * f.frame.positions)
            for f in labelled(20 + TEST, 2, seed=9)]  # fmt: skip
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(ELEMENTS)
    bold_items = [LabeledFrame(f, engine.label(f, level, Path())) for f in bold]
    new, test = bold_items[:20], bold_items[20:]
    family = MmtpFamily(level=12)
    start, first = family.fit(items, elements=ELEMENTS, seed=SEED)
    rows = []

    def note(name: str, potential: Any, cpu: float) -> None:
        prediction = as_labelled(PotentialEnsemble((potential,), family.name), test)
        rmse = {q: float(np.sqrt(np.mean(compare(prediction, test, q).error ** 2))) for q in QUANTITIES}
        rows.append({"fit": name, "cpu_s": cpu, "rmse": rmse})
        print(f"{name:34s} {cpu:6.1f} CPU s  {shown(rmse)}")

    note(f"first, {labels} frames", start, first.cost.cpu_seconds)
    for iterations in (3, 6, 12):
        short = family.model_copy(update={"max_iterations": iterations})
        potential, report = short.fit([*items, *new], elements=ELEMENTS, seed=SEED, start=start)
        note(f"warm, 20 more, {iterations} iterations", potential, report.cost.cpu_seconds)
    potential, report = family.fit([*items, *new], elements=ELEMENTS, seed=SEED)
    note("fresh, 20 more", potential, report.cost.cpu_seconds)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("optimiser", "ensemble", "update")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--labels", type=int, default=400)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, Any] = {}
    with threadpool_limits(limits=1):
        if "optimiser" in args.parts:
            results["optimiser"] = optimiser(120, 1, 40) + optimiser(args.labels, 2, 40)
            print("labels x atoms  method   iteration   CPU s   objective   test loss   test RMSE")
            for r in results["optimiser"]:
                print(f"{r['labels']:6d} x {r['atoms']:2d}     {r['method']:8s} {r['iteration']:8d} {r['cpu_s']:8.2f}"
                      f" {r['objective']:11.1f} {r['test_loss']:11.1f}   {shown(r['test_rmse'])}")  # fmt: skip
        if "ensemble" in args.parts:
            results["ensemble"] = ensembles(args.labels, args.members)
        if "update" in args.parts:
            print("\ntest frames with moments 10 % and volumes 6 % beyond the first 400")
            results["update"] = update(args.labels)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
