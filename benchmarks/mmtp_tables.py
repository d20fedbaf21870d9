"""All figures of docs/mmtp.md and docs/md.md about speed, in one run of one state of the code.

    python benchmarks/mmtp_tables.py [--quick] [--without-lammps] [--write]

Runs the sections of benchmarks/mmtp.py and benchmarks/mmtp_lammps.py one after the other and prints them as tables of
Markdown; `--write` puts them into the pages, between the marks that name this script. Figures are CPU time on one core,
the least of several rounds in turns; the number behind a peer's is its ratio to magflow's, or to the first column. A
peer that is not installed has no column. Takes about five minutes of one core: two to compile JAX, numba
and the plugin.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
BEGIN, END = "<!-- begin: benchmarks/mmtp_tables.py -->\n", "<!-- end: benchmarks/mmtp_tables.py -->\n"

Rows = list[Mapping[str, object]]
SECTIONS = {
    "evaluate": "Energy, forces, stress and dE/dm, level 12, `paper`, us/atom:",
    "ensemble": "From positions, level 12, `even`, us/atom; ratios to one call of five members:",
    "cost": "By level and size, lists given, and of the kernel by instruction set, us/atom:",
    "derivatives": "By level, `even`, us/atom; ratios to the forces:",
    "fit": "Loss and its gradient, level 12, ms:",
    "grades": "Extrapolation grades, s:",
    "memory": "100 000 atoms from positions, MB added:",
}
"""Sections of benchmarks/mmtp.py that docs/mmtp.md shows, and what stands above the table of each."""
BRIEF = {"evaluate", "fit", "grades"}
"""Sections whose peers take minutes at full size, most of it to compile JAX and numba for each."""
DYNAMICS = "Small cells and ASE's loop with the same potential, level 12, us per step; ratios to magflow:"
LAMMPS = "Level 12, nve, us per atom and step; ratios to the kernel alone:"


def section(name: str, *, quick: bool) -> tuple[Rows, dict[str, str]]:
    """Rows of a section of benchmarks/mmtp.py, and the peers it misses."""
    command = [sys.executable, str(HERE / "mmtp.py"), "--one", name, *(["--quick"] if quick or name in BRIEF else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(done.stdout)
    return answer["rows"], answer["absent"]


def lammps() -> Rows:
    """Rows of benchmarks/mmtp_lammps.py for one member of level 12."""
    command = [sys.executable, str(HERE / "mmtp_lammps.py"), "--atoms", "128", "1024", "--levels", "12"]
    done = subprocess.run([*command, "--members", "1", "--json"], stdout=subprocess.PIPE, text=True, check=True)
    found: Rows = json.loads(done.stdout.splitlines()[-1])
    return found


def markdown(title: str, rows: Rows) -> str:
    """A table of cases and contenders, whichever are fewer as its columns."""
    cases = list(dict.fromkeys(str(row["case"]) for row in rows))
    who = list(dict.fromkeys(str(row["who"]) for row in rows))
    cells = {(row["case"], row["who"]): _cell(row, first=row["who"] == who[0]) for row in rows}
    lines = [[c, *(cells.get((c, w), "") for w in who)] for c in cases]
    table = [["", *who], *lines]
    if len(who) > len(cases):
        table = [list(column) for column in zip(*table, strict=True)]
    table.insert(1, ["---"] * len(table[0]))
    return "\n".join([title, "", *("| " + " | ".join(line) + " |" for line in table), ""])


def _cell(row: Mapping[str, object], *, first: bool) -> str:
    value, ratio = float(str(row["value"])), row["ratio"]
    return _short(value, 3) if first or ratio is None else f"{_short(value, 3)} ({_short(float(str(ratio)), 2)}x)"


def _short(number: float, digits: int) -> str:
    return f"{number:.0f}" if number >= 10**digits else f"{number:.{digits}g}"


def conditions(absent: Iterable[str]) -> str:
    """Where and under which load it was measured."""
    model = next((line for line in _cpu_lines() if line.startswith("model name")), platform.machine())
    missing = f"; without {', '.join(sorted(absent))}" if absent else ""
    return (
        f"{time.strftime('%Y-%m-%d')}, {model.partition(':')[2].strip() or model}, {os.cpu_count()} cores, "
        f"load average {os.getloadavg()[0]:.1f} at the end{missing}.\n"
    )


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def written(page: Path, text: str) -> None:
    """Put `text` between the marks of a page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no marks: {BEGIN.strip()} .. {END.strip()}")
    page.write_text(before + begin + text + end + after)


def main() -> None:
    """Measure, print, and write where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller systems and fewer rounds")
    parser.add_argument("--without-lammps", action="store_true")
    parser.add_argument("--write", action="store_true", help="into docs/mmtp.md and docs/md.md")
    options = parser.parse_args()
    absent: dict[str, str] = {}
    tables = []
    for name, title in SECTIONS.items():
        rows, missing = section(name, quick=options.quick)
        absent |= missing
        tables.append(markdown(title, [row for row in rows if row["unit"] != "max/min"]))
        print(tables[-1], flush=True)
    moving = [markdown(DYNAMICS, section("md", quick=options.quick)[0])]
    if not options.without_lammps:
        moving.append(markdown(LAMMPS, lammps()))
    print(*moving, sep="\n", flush=True)
    where = conditions(absent)
    print(where)
    if options.write:
        written(DOCS / "mmtp.md", "\n".join([where, *tables]))
        written(DOCS / "md.md", "\n".join([where, *moving]))


if __name__ == "__main__":
    main()
