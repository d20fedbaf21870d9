"""Networks compiled for this machine, kept beside what else can be made again."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.compilation import Compilation
from magflow.core.frame import Frame
from magflow.core.label import Cost
from magflow.errors import MissingToolError, StoreError
from magflow.potentials.nequip.graph import graph
from magflow.potentials.outside.process import Program, last_line
from magflow.settings import load_settings

MODEL, FRAME, REPORT = "model.npz", "frame.npz", "report.json"
"""What the backend reads and writes in a directory of its own."""
_REPEATS = 3
"""Cells of the crystal along each axis: 54 atoms."""
_DENSEST = 12.0
"""Least number of neighbours of the crystal: one whose atoms see nobody tells nothing."""
_SHAKEN = 0.03
"""Displacements in it over the edge of its cubic cell."""


def prefix_of(key: str) -> str:
    """Start of the names of the files that hold the model `key` compiled; empty if none of them is to be used."""
    settings = load_settings()
    return str(_folder() / key) if settings.nequip_compiled else ""


def _folder() -> Path:
    return load_settings().cache_dir.expanduser().absolute() / "nequip"


def compile_model(
    program: Program, key: str, arrays: Mapping[str, np.ndarray], definition: Mapping[str, Any]
) -> Compilation:
    """Compile the model `key` of these arrays and keep it.

    Raises
    ------
    MissingToolError
        No C++ compiler, no nequip, or a PyTorch that cannot compile.
    StoreError
        The folder cannot be written.
    """
    began = time.perf_counter()
    try:
        _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=_folder()) as name:
            work = Path(name)
            np.savez(work / MODEL, allow_pickle=False, **arrays)
            frame = crystal(definition)
            magnetic = frame.magmoms is not None
            given = graph([frame], definition["species"], float(definition["cutoff"]), magnetic=magnetic)
            np.savez(work / FRAME, allow_pickle=False, **given)
            _run(program, work, str(_folder() / key))
            said = json.loads((work / REPORT).read_text())
    except OSError as error:
        raise StoreError(
            f"the compiled model cannot be kept: {error.strerror}",
            where=str(_folder()),
            hint="free some space, or set cache_dir in ~/.magflow.yaml",
        ) from error
    before, after = said["microseconds"]
    cost = Cost(said["cpu_seconds"], time.perf_counter() - began)
    return Compilation(said["energy"], said["forces"], before, after, cost)


def _run(program: Program, work: Path, prefix: str) -> None:
    """Let the backend compile what is in `work`."""
    with tempfile.TemporaryFile() as noise:
        process = program.start(
            program.command("compile_model", prefix), cwd=work, stdin=subprocess.DEVNULL, stdout=noise, stderr=noise
        )
        try:
            process.wait()
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            seen = last_line(noise)
            program.versions()  # says what is wrong with the installation, if something is
            raise MissingToolError(
                f"{program.name} cannot compile the model",
                where=program.python,
                seen=seen,
                hint="it takes PyTorch 2.13 and a C++ compiler: install g++, or name another one in the environment "
                "variable CXX; models are evaluated without being compiled, too",
            )


def crystal(definition: Mapping[str, Any]) -> Frame:
    """A shaken bcc crystal of the elements a network knows, about as dense as its labels were.

    Moments, where it reads them, are all signs and sizes up to the largest it knows.
    """
    rng = np.random.default_rng(0)
    neighbours = max(float(definition["neighbours"]), _DENSEST)
    volume = 4.0 / 3.0 * np.pi * float(definition["cutoff"]) ** 3 / neighbours
    edge = np.cbrt(2.0 * volume)
    corners = np.stack(np.meshgrid(*[np.arange(_REPEATS)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.concatenate([corners, corners + 0.5])
    known = list(definition["species"])
    which = np.arange(len(places)) % len(known)
    units = definition.get("moment_units")
    moments = None if units is None else rng.uniform(-1.0, 1.0, len(places)) * np.array(units)[which]
    positions = edge * (places + rng.normal(0.0, _SHAKEN, places.shape))
    return Frame(tuple(known[k] for k in which), _REPEATS * edge * np.eye(3), positions, moments)
