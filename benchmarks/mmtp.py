"""The magnetic moment tensor potential on one core, beside motep, JAX and numba in the same run.

    python benchmarks/mmtp.py [--quick] [--sections evaluate cost derivatives fit grades ensemble md memory] [--json F]

Random bcc Fe-Al with 26 neighbours, N_phi 8, N_psi 2, paper form, double precision; all routes read the same .mtp file
and agree to 1e-9 before anything is timed. Figures are CPU time of this process, held to one core, the least of several
rounds in which the contenders take turns, so that other work on the machine matters little. `x` is the time of a
contender over that of magflow in the same case. A peer that is not installed is named.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

if hasattr(os, "sched_setaffinity"):  # before numpy and its kind count the cores
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

from mmtp_peers.timing import Row
from rich.console import Console
from rich.table import Table

SECTIONS = ("evaluate", "cost", "derivatives", "fit", "grades", "ensemble", "md", "memory")
PEERS = {"motep": "motep_route", "jax": "jax_route", "numba": "numba_route"}


def available() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """The routes that can be imported, and why the others cannot."""
    found, absent = {}, {}
    for name, module in PEERS.items():
        try:
            found[name] = importlib.import_module(f"mmtp_peers.{module}")
        except ImportError as error:
            absent[name] = str(error)
    return found, absent


def run_section(name: str, *, quick: bool) -> tuple[list[Row], dict[str, str]]:
    """Rows of one section, and the peers that are missing."""
    peers, absent = available()
    module = importlib.import_module(f"mmtp_peers.section_{name}")
    return module.rows(peers, quick=quick), absent


def table(section: str, rows: list[Row]) -> Table:
    """The rows of one section."""
    out = Table(title=section, title_justify="left", show_edge=False)
    for column, justify in (("case", "left"), ("who", "left"), ("", "right"), ("unit", "left"), ("x", "right")):
        out.add_column(column, justify=justify)
    out.add_column("note")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.1f}"
        out.add_row(row.case, row.who, f"{row.value:.4g}", row.unit, ratio, row.note)
    return out


def main() -> None:
    """Each section in a process of its own, so that none inherits the memory or the threads of another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller systems and fewer rounds")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=SECTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        rows, absent = run_section(options.one, quick=options.quick)
        print(json.dumps({"rows": [asdict(r) for r in rows], "absent": absent}))
        return
    console, results, missing = Console(width=130), [], {}
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"CPU time on one core, least of several rounds; {load}")
    for section in options.sections:
        command = [sys.executable, __file__, "--one", section, *(["--quick"] if options.quick else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"section {section} failed")
        answer = json.loads(done.stdout)
        rows = [Row(**row) for row in answer["rows"]]
        missing |= answer["absent"]
        results += answer["rows"]
        console.print(table(section, rows))
    for name, reason in missing.items():
        print(f"absent: {name} ({reason}); pip install '.[benchmarks]'")
    if options.json:
        options.json.write_text(json.dumps({"quick": options.quick, "absent": missing, "rows": results}, indent=1))


if __name__ == "__main__":
    main()
