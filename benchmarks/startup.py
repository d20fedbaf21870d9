"""Time to the first answer: commands that only look, beside a bare interpreter and importing jobflow, in one run.

    python benchmarks/startup.py [OTHER_MAGFLOW]

CPU time of a process, the least of several rounds in which the contenders take turns; with the program of another
installation, its time and the ratio beside it. The campaign is a small one that tests/past keeps. Aim: 0.5 s each on a
machine that imports jobflow in 0.7 s.
"""

from __future__ import annotations

import gzip
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MAGFLOW = Path(sys.executable).parent / "magflow"
KEPT = Path(__file__).parents[1] / "tests" / "past" / "0.1-transfer"
ROUNDS = 7
FLOORS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import jobflow'": [sys.executable, "-c", "import jobflow"],
}
COMMANDS = (
    *("--version", "--help", "check --help", "export --help", "schema"),
    *(
        "status DIR",
        "query DIR labels --limit 5",
        "query DIR iterations",
        "query DIR jobs",
        "query DIR frames --limit 5",
    ),
    *("export DIR -o DIR/labels.extxyz", "report DIR -o DIR/report.html"),
)


def campaign(folder: Path) -> Path:
    """The campaign, its database unpacked."""
    shutil.copytree(KEPT, folder, dirs_exist_ok=True)
    with gzip.open(folder / "campaign.db.gz") as packed:
        (folder / "campaign.db").write_bytes(packed.read())
    return folder


def cpu_seconds(command: list[str]) -> float:
    """Of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    programs = [str(MAGFLOW), *sys.argv[1:2]]
    with tempfile.TemporaryDirectory() as folder:
        place = str(campaign(Path(folder)))
        words = {f"magflow {text}": text.replace("DIR", place).split() for text in COMMANDS}
        runs = {(name, ""): command for name, command in FLOORS.items()}
        runs |= {(name, program): [program, *rest] for name, rest in words.items() for program in programs}
        seconds = dict.fromkeys(runs, float("inf"))
        for _ in range(ROUNDS):
            for run, command in runs.items():
                seconds[run] = min(seconds[run], cpu_seconds(command))
    floor = seconds["python -c 'import jobflow'", ""]
    for name in (*FLOORS, *words):
        mine = seconds[name, "" if name in FLOORS else programs[0]]
        line = f"{name:40s} {mine:6.3f} s   {mine / floor:5.2f} x import jobflow"
        if name in words and len(programs) > 1:
            other = seconds[name, programs[1]]
            line += f"   the other {other:6.3f} s   {mine / other:5.2f} x"
        print(line)


if __name__ == "__main__":
    main()
