"""What non-magnetic labels save a potential that reads no moments: 32-atom disordered Fe-Al cells, several sets.

Each set is molecular dynamics of its own on the spin-lattice MODEL HAMILTONIAN: solid and liquid solutions with 0 to
50 % Al. Some frames are labelled without moments, others spin-polarised, with moments relaxed from ferromagnetic ones;
frames of other trajectories are the test. From scratch, fine-tuned with hold, and the difference to the non-magnetic
potential are fitted to the same labels; fits from scratch go on to ten times as many. A label costs what it costs in
ABINIT on cells of 8 iron atoms, relative to a non-magnetic one.

    python benchmarks/transfer_moment_free.py OUT
    python benchmarks/transfer_moment_free.py OUT --sets 2 --sizes 4,8 --scratch-to 40 --non-magnetic 32
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from magflow.api.opening import labels_of_file
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import Cost, LabeledFrame, LabelKind
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.dft.spin_lattice.calculator import calculator
from magflow.io.extxyz import write_extxyz
from magflow.io.importing.magnetic_states import magnetic_states
from magflow.potentials.difference import DifferenceFamily
from magflow.potentials.mmtp import MmtpFamily
from magflow.studies.transfer.factors import savings
from magflow.studies.transfer.files import write_transfer
from magflow.studies.transfer.result import TransferCurve
from magflow.studies.transfer.saving import Price
from magflow.studies.transfer.task import TransferTask
from magflow.studies.transfer.ways import Arm, doubled

COST = {LabelKind.NON_MAGNETIC: 1.0, LabelKind.SPIN_POLARISED: 5.1}
"""Relative cost of a label."""
SHARES, STATES = (0.0, 0.125, 0.25, 0.5), ((1000.0, 1.0), (3000.0, 1.03))
"""Al; temperature in K and lattice constant over 3.6 A."""
START = {"Fe": 2.2, "Al": 0.0}
"""muB, from which free moments are relaxed."""
EQUILIBRATION, EVERY = 90, 8
"""Steps of 2.5 fs: before the first frame, and between frames."""


def trajectory(
    share: float, temperature: float, scale: float, frames: int, rng: np.random.Generator
) -> Iterator[Frame]:
    """Frames of one alloy at ferromagnetic moments."""
    atoms: Atoms = bulk("Fe", "fcc", a=3.6 * scale * rng.uniform(0.98, 1.02), cubic=True).repeat((2, 2, 2))
    symbols = np.full(len(atoms), "Fe")
    symbols[rng.permutation(len(atoms))[: round(share * len(atoms))]] = "Al"
    atoms.set_chemical_symbols(symbols.tolist())
    atoms.set_initial_magnetic_moments([START[s] for s in symbols])
    atoms.calc = calculator()
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    md = Langevin(atoms, 2.5 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng, fixcm=False)
    md.run(EQUILIBRATION)
    for _ in range(frames):
        md.run(EVERY)
        yield Frame(tuple(symbols.tolist()), np.array(atoms.cell), atoms.get_positions(wrap=True))


def disordered(number: int, seed: int) -> list[Frame]:
    """So many frames of 16 trajectories, mixed."""
    rng = np.random.default_rng(seed)
    kinds = [(share, *state) for share in SHARES for state in STATES for _ in range(2)]
    each = -(-number // len(kinds))
    frames = [frame for kind in kinds for frame in trajectory(*kind, each, rng)]
    return [frames[k] for k in rng.permutation(len(frames))[:number]]


def labelled(frames: list[Frame], kind: LabelKind) -> Dataset:
    """Labels of one kind, of frames without moments; the moments that were found are kept with them."""
    engine = SpinLatticeEngine(kind=kind)
    level = engine.level_of_theory(["Al", "Fe"])
    items = []
    for frame in frames:
        start = np.array([START[s] for s in frame.species])
        asked = frame if kind is LabelKind.NON_MAGNETIC else frame.replace(magmoms=start)
        label = engine.label(asked, level, Path())
        if label.ok:  # a label whose moments did not settle is none
            cost = Cost(cpu_seconds=3600.0 * COST[kind], wall_seconds=3600.0 * COST[kind])
            items.append(LabeledFrame(asked, replace(label, cost=cost)))
    return Dataset(items)


def kept(path: Path, make: Callable[[], Dataset]) -> Dataset:
    """The labels of a file, made if it is not there."""
    if not path.is_file():
        write_extxyz(path, list(make()))
    return labels_of_file(path)


def one_set(options: argparse.Namespace, seed: int, sizes: tuple[int, ...]) -> TransferTask:
    """Labels of one set, and what is fitted to them."""
    most = max(sizes[-1], options.scratch_to)
    frames = cache(partial(disordered, most + options.non_magnetic, 1000 + seed))
    folder = options.out / f"set_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    plain, free = LabelKind.NON_MAGNETIC, LabelKind.SPIN_POLARISED
    common = {"n_psi": 1, "level": options.level}
    family = MmtpFamily(**common)
    pool = kept(folder / "magnetic.extxyz", lambda: labelled(frames()[:most], free))
    return TransferTask(
        pretraining=family,
        family=family,
        non_magnetic=kept(folder / "non_magnetic.extxyz", lambda: labelled(frames()[most:], plain)),
        pool=pool,
        test=kept(folder / "test.extxyz", lambda: labelled(disordered(options.test, 2000 + seed), free)),
        sizes=sizes,
        scratch_sizes=doubled(sizes, min(options.scratch_to, len(pool))),
        seeds=(seed,),
        workdir=folder / "points",
        arms=(Arm.SCRATCH, Arm.TUNED, Arm.DIFFERENCE),
        correction=DifferenceFamily(settings={**common, "level": options.correction}),
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--sizes", default="2,4,8,16")
    parser.add_argument("--scratch-to", type=int, default=160)
    parser.add_argument("--non-magnetic", type=int, default=128)
    parser.add_argument("--test", type=int, default=32)
    parser.add_argument("--level", type=int, default=10)
    parser.add_argument("--correction", type=int, default=6)
    options = parser.parse_args()
    sizes = tuple(int(n) for n in options.sizes.split(","))
    curves = []
    for seed in range(1, options.sets + 1):
        begin = time.process_time()
        task = one_set(options, seed, sizes)
        spent = time.process_time() - begin
        curves.append(task.run())
        states = magnetic_states([*task.pool, *task.test])
        meaning = "too few labels to tell" if states is None else states.meaning
        print(f"set {seed}: labels {spent:.0f} s, all {time.process_time() - begin:.0f} s; {meaning}", flush=True)
    points = tuple(p for curve in curves for p in curve.points)
    whole = TransferCurve(points, curves[0].about)
    write_transfer(whole, options.out, Price.CPU_HOURS)
    for arm, quantities in savings(whole, Price.CPU_HOURS).items():
        for quantity, rows in quantities.items():
            for row in rows:
                factors = [row[f"{name}_factor"] for name in ("labels", "cpu_hours")]
                told = ", ".join(f"{f['bound']}{f['value']:.2f} ({f['low']:.2f}-{f['high']:.2f})" for f in factors)
                print(f"{arm:11s} {quantity:7s} {row['labels_from_scratch']:4d} from scratch: labels, cost {told}")


if __name__ == "__main__":
    main()
