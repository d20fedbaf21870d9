"""Run what the README says of the first minutes with the magflow of this Python, in a directory away from the checkout.

For a wheel in an environment that holds it alone: the blocks marked to be run, in order, and what only shows there.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "docs"))

from pages import README, Block, blocks  # noqa: E402


def main() -> None:
    """Stop at the first block that fails."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        installed = Path(_said(directory, "import magflow; print(magflow.__file__)")).resolve()
        if ROOT in installed.parents:
            raise SystemExit(f"this Python takes magflow from the checkout: {installed}")
        version = importlib.metadata.version("magflow")
        if (said := _run(["magflow", "--version"], directory).strip()) != f"magflow {version}":
            raise SystemExit(f"magflow --version says {said!r}; expected: magflow {version}")
        kernel = "from magflow.potentials.mmtp.native import kernel; print(*kernel().instruction_sets())"
        print(f"magflow {version}, kernels: {_said(directory, kernel)}")
        for block in blocks(README):
            if block.mark == "run":
                print(f"== {block}", flush=True)
                _run(_command(block), directory)


def _command(block: Block) -> list[str]:
    if block.language == "bash":
        return ["bash", "-euo", "pipefail", "-c", block.text]
    return [sys.executable, "-c", block.text]


def _said(directory: Path, code: str) -> str:
    return _run([sys.executable, "-c", code], directory).strip()


def _run(command: list[str], directory: Path) -> str:
    """What it prints; the programs of this Python come first, nothing of the user's home is read."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAGFLOW_", "PYTHON"))}
    env = kept | {"PATH": path, "HOME": str(directory)}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode} of {command[-1]}\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
