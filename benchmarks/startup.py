"""Time to the first answer: commands that only look, beside a bare interpreter and importing jobflow, in one run.

CPU time of a process, the least of several rounds in which the contenders take turns. The campaign is a small one that
tests/past keeps. Aim: 0.5 s each; whoever reads a store needs jobflow, which takes more than that alone.
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
    with tempfile.TemporaryDirectory() as folder:
        place = str(campaign(Path(folder)))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import jobflow'": [sys.executable, "-c", "import jobflow"],
            "magflow --help": [str(MAGFLOW), "--help"],
            "magflow schema": [str(MAGFLOW), "schema"],
            "magflow status DIR": [str(MAGFLOW), "status", place],
            "magflow query DIR labels": [str(MAGFLOW), "query", place, "labels", "--limit", "5"],
        }
        seconds = dict.fromkeys(commands, float("inf"))
        for _ in range(ROUNDS):
            for name, command in commands.items():
                seconds[name] = min(seconds[name], cpu_seconds(command))
    floor = seconds["python -c 'import jobflow'"]
    for name, value in seconds.items():
        print(f"{name:28s} {value:6.3f} s   {value / floor:5.2f} x import jobflow")


if __name__ == "__main__":
    main()
