"""Time and memory of taking in labels: read, checked, each once, written; beside ASE reading and writing the same file.

    python benchmarks/import_labels.py [--frames 100000] [--atoms 16] [--skip-ase]

Each part runs in a process of its own on one core and prints CPU seconds, wall seconds and its largest memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def make(path: Path, frames: int, atoms: int) -> None:
    """A file as MACE users have it: energies, forces, stresses and moments, 17 digits each."""
    rng = np.random.default_rng(0)
    species = ["Fe"] * (atoms // 2) + ["Al"] * (atoms - atoms // 2)
    with path.open("w") as file:
        for k in range(frames):
            cell = np.eye(3) * 5.7 + rng.normal(0, 0.03, (3, 3))
            positions = rng.uniform(0, 1, (atoms, 3)) @ cell
            forces = rng.normal(0, 0.5, (atoms, 3))
            moments = rng.normal(0, 2, atoms)
            stress = rng.normal(0, 0.01, 6)[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
            texts = (" ".join(map(repr, part.ravel().tolist())) for part in (cell, stress))
            head = 'Lattice="{}" stress="{}"'.format(*texts)
            file.write(f"{atoms}\n{head} Properties=species:S:1:pos:R:3:forces:R:3:magmoms:R:1 ")
            file.write(f'REF_energy={-8.0 * atoms + rng.normal()!r} config_type=md_{k % 7} pbc="T T T"\n')
            table = np.column_stack([positions, forces, moments]).tolist()
            for symbol, row in zip(species, table, strict=True):
                file.write(f"{symbol} {' '.join(map(repr, row))}\n")


def with_magflow(source: Path, target: Path) -> int:
    """What ``magflow import SOURCE -o TARGET`` does."""
    from magflow.io.export import Target, write_records
    from magflow.io.importing.survey import survey
    from magflow.io.sources import Wish

    found = survey([source], Wish())
    write_records(Target(target, "extxyz"), found.records)
    return len(found.records)


def with_ase(source: Path, target: Path) -> int:
    """``ase.io.read`` and ``ase.io.write``: no checks, no repeats, and names it does not know stay where they are."""
    import ase.io

    images = ase.io.read(source, index=":")
    ase.io.write(target, images, format="extxyz")
    return len(images)


PARTS = {"magflow": with_magflow, "ase": with_ase}


def measure(part: str, source: Path, target: Path) -> dict[str, float]:
    """Run one part here."""
    started, cpu = time.perf_counter(), time.process_time()
    count = PARTS[part](source, target)
    return {
        "frames": count,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - started,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
        "file_gb": source.stat().st_size / 1024**3,
    }


def main() -> None:
    """Make the file, run the parts, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--atoms", type=int, default=16)
    parser.add_argument("--skip-ase", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measure(options.part, *options.paths)))
        return
    one_core = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.xyz"
        make(source, options.frames, options.atoms)
        for part in ["magflow"] if options.skip_ase else PARTS:
            command = [sys.executable, __file__, "--part", part, str(source), str(Path(folder) / f"{part}.extxyz")]
            told = subprocess.run(command, env=one_core, capture_output=True, text=True, check=True).stdout
            print(part, {name: round(value, 2) for name, value in json.loads(told).items()}, flush=True)


if __name__ == "__main__":
    main()
