"""What a label costs beside ABINIT itself: per-label wall time beyond the CPU time of the ABINIT process.

Run on an idle machine: ``python benchmarks/label_overhead.py``. Columns, in seconds:

    label   wall time of AbinitEngine.label
    cpu     CPU time of the ABINIT process (user and system, from wait4)
    beyond  label - cpu: what the aim of 0.3 s is about
    magflow label minus the wall time of the process: input, reading, files
    waiting the rest: the process waiting for disk and for its share of a core

The last lines compare ways to write the input. With abipy and atomate2 installed, their ABINIT static set is
measured in the same run; abipy is not a dependency of magflow.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

IMPORT_ENGINE = "from magflow.dft.abinit import AbinitEngine; import netCDF4"
IMPORT_ABIPY = "from atomate2.abinit.sets.core import StaticSetGenerator"


def frames(count: int, seed: int = 0):
    """B2 FeAl cells, rattled, with the moments of the quick campaign."""
    from magflow.core.frame import Frame

    rng = np.random.default_rng(seed)
    sites = np.array([[0, 0, 0], [1.442, 1.442, 1.442]])
    for _ in range(count):
        moments = [rng.uniform(0.5, 2.8), rng.uniform(-0.1, 0.1)]
        yield Frame(("Fe", "Al"), 2.884 * np.eye(3), sites + rng.normal(0, 0.05, (2, 3)), moments)


def measure_labels(count: int, kpoints: tuple[int, int, int]) -> list[tuple[float, ...]]:
    """Label `count` frames; (label, cpu, beyond, magflow, waiting) of each, s."""
    from magflow.dft.abinit import AbinitEngine

    engine = AbinitEngine(kpoints=kpoints)
    level = engine.level_of_theory(["Fe", "Al"])
    rows = []
    for frame in frames(count):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            label = engine.label(frame, level, Path(folder))
            wall = time.perf_counter() - started
        process = sum(run["wall_seconds"] for run in label.details["runs"])
        cpu = label.cost.cpu_seconds
        rows.append((wall, cpu, wall - cpu, wall - process, process - cpu))
        print(f"{'ok' if label.ok else label.failure.kind:20s}" + "".join(f"{x:9.3f}" for x in rows[-1]), flush=True)
    return rows


def import_seconds(statement: str) -> float:
    """Median wall time of a fresh interpreter that runs `statement`, less that of one that runs nothing."""

    def run(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, capture_output=True)
        return time.perf_counter() - started

    return statistics.median(run(statement) for _ in range(3)) - statistics.median(run("") for _ in range(3))


def light_writer_seconds(repeats: int = 200) -> float:
    """Wall time to write one input with the engine's own writer."""
    from magflow.dft.abinit.datasets import datasets_of
    from magflow.dft.abinit.inputs import input_text
    from magflow.dft.abinit.settings import AbinitSettings
    from magflow.settings import load_settings

    own = AbinitSettings()
    (frame,) = frames(1)
    datasets = datasets_of(own, frame.species, load_settings())
    started = time.perf_counter()
    for _ in range(repeats):
        input_text(own, frame, datasets, {})
    return (time.perf_counter() - started) / repeats


def abipy_writer_seconds(repeats: int = 10) -> float:
    """Wall time to make and write one input with atomate2's ABINIT static set, after a first one."""
    from atomate2.abinit.sets.core import StaticSetGenerator

    from magflow.dft.abinit.datasets import datasets_of, unpacked
    from magflow.dft.abinit.settings import AbinitSettings
    from magflow.io.structure import to_structure
    from magflow.settings import load_settings

    settings = load_settings()
    (frame,) = frames(1)
    found = datasets_of(AbinitSettings(), frame.species, settings).values()
    pseudos = [str(unpacked(d, settings.cache_dir.expanduser())) for d in found]
    options = {"ecut": 10, "pawecutdg": 20, "spin_mode": "polarized", "smearing": "fermi_dirac:0.27 eV", "nband": 12}
    generator = StaticSetGenerator(pseudos=pseudos, factory_kwargs=options)
    with tempfile.TemporaryDirectory() as folder:
        generator.get_input_set(to_structure(frame)).write_input(f"{folder}/first", make_dir=True)
        started = time.perf_counter()
        for i in range(repeats):
            generator.get_input_set(to_structure(frame)).write_input(f"{folder}/{i}", make_dir=True)
        return (time.perf_counter() - started) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=6, help="labels to compute (default 6)")
    parser.add_argument("--kpoints", type=int, nargs=3, default=(4, 4, 4), help="k-point mesh (default 4 4 4)")
    options = parser.parse_args()

    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(" " * 20 + "".join(f"{name:>9s}" for name in ("label", "cpu", "beyond", "magflow", "waiting")))
    rows = measure_labels(options.labels, tuple(options.kpoints))
    median = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{'median':20s}" + "".join(f"{x:9.3f}" for x in median))
    print(f"per-label overhead beyond ABINIT's CPU time: {median[2]:.3f} s (aim: under 0.3 s)")
    print(f"input writer of the engine: import {import_seconds(IMPORT_ENGINE):.2f} s once per worker, ", end="")
    print(f"{1000 * light_writer_seconds():.2f} ms per input")
    if find_spec("abipy") is None or find_spec("atomate2") is None:
        print("atomate2's ABINIT static set: not measured, abipy or atomate2 is not installed")
        return
    print(f"atomate2's ABINIT static set: import {import_seconds(IMPORT_ABIPY):.2f} s once per worker, ", end="")
    print(f"{1000 * abipy_writer_seconds():.2f} ms per input")


if __name__ == "__main__":
    main()
