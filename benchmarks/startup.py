"""Time to the first answer: `magflow --help` against a bare interpreter and against importing jobflow, in one run.

Aim: under 0.5 s wall.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

MAGFLOW = Path(sys.executable).parent / "magflow"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import jobflow'": [sys.executable, "-c", "import jobflow"],
    "magflow --help": [str(MAGFLOW), "--help"],
    "magflow schema": [str(MAGFLOW), "schema"],
}


def best(command: list[str], repeats: int = 7) -> float:
    """Shortest wall time of several runs, s."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    seconds = {name: best(command) for name, command in COMMANDS.items()}
    for name, value in seconds.items():
        print(f"{name:28s} {value:6.3f} s   {value / seconds['python -c pass']:5.1f} x bare python")


if __name__ == "__main__":
    main()
