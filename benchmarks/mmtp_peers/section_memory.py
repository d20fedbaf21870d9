"""Peak memory and CPU time of one evaluation of 100 000 atoms, level 12; each route in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import psutil

from mmtp_peers.systems import REPEATS, atoms_of, bcc, shared_file
from mmtp_peers.timing import Row

LEVEL = 12


def rows(peers: Mapping[str, ModuleType], *, quick: bool) -> list[Row]:
    """MB at the peak, above what the process held with the atoms made. Linux only."""
    del quick
    n = 100_000
    out: list[Row] = []
    for who in ("magflow", *(name for name in ("motep",) if name in peers)):
        command = [sys.executable, "-m", "mmtp_peers.section_memory", who, str(n)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        before, peak, seconds = map(float, answer.stdout.split())
        ratio = (peak - before) / out[0].value if out else 1.0
        note = f"process {peak:.0f} MB; {1e6 * seconds / n:.1f} us/atom, once"
        out.append(Row("memory", f"{n} atoms, from atoms", who, peak - before, "MB", ratio, note))
    return out


def peak_mb() -> float:
    """Peak resident memory of this program, MB; ``ru_maxrss`` would count the process it was started from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(who: str, n: int) -> None:
    """Print MB before and after, and CPU seconds."""
    one, text = shared_file(LEVEL)
    frame = bcc(REPEATS[n], seed=n)
    if who == "motep":
        from mmtp_peers import motep_route

        atoms, engine = atoms_of(frame), motep_route.engine_of(motep_route.data_of(text))
    before, begin = psutil.Process().memory_info().rss / 2**20, time.process_time()
    if who == "motep":
        motep_route.listed(engine, atoms, tight=True).calculate(atoms)
    else:
        one.predict([frame])
    print(before, peak_mb(), time.process_time() - begin)


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]))
