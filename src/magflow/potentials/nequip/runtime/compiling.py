"""Networks compiled by AOTInductor for this machine: the same numbers to rounding, several times faster.

``nequip-compile --mode aotinductor --target ase`` makes the same of a checkpoint. Frames come one by one, with any
number of atoms and pairs from two on; fewer would be shapes of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict as Keys
from nequip.nn.compile import DictInputOutputWrapper
from nequip.scripts._compile_utils import ASE_TARGET
from spin_network import MAGNETIC_FORCES

MODEL, FRAME, REPORT = Path("model.npz"), Path("frame.npz"), Path("report.json")
LEAST = 2
"""Atoms and pairs of a frame that a compiled network takes."""
_ROUNDS, _ROUND_S = 5, 0.2
"""Rounds in which both are timed by turns, and least CPU seconds of each."""

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Evaluator:
    """A network and, where there is one, itself compiled.

    Parameters
    ----------
    network
        Takes batches of frames and can be differentiated.
    compiled
        Takes single frames.
    """

    network: Any
    compiled: Callable[[dict[str, torch.Tensor]], Tensors] | None

    def __call__(self, frames: list[dict[str, torch.Tensor]]) -> list[Tensors]:
        """What is said of `frames`: all at once, or by the compiled network one by one where it can take them."""
        if self.compiled is None:
            return [self.network(Keys.batched_from_list(frames))]
        return [self._of_one(frame) for frame in frames]

    def _of_one(self, frame: dict[str, torch.Tensor]) -> Tensors:
        assert self.compiled is not None
        if min(len(frame[Keys.POSITIONS_KEY]), frame[Keys.EDGE_INDEX_KEY].shape[1]) < LEAST:
            found: Tensors = self.network(Keys.batched_from_list([frame]))
            return found
        return self.compiled(frame)


def file_of(prefix: str, versions: Mapping[str, str]) -> Path:
    """Where a model is kept compiled, which holds for one kind of processor and for these versions."""
    machine = [platform.machine(), dict(torch.cpu.get_capabilities()), dict(versions)]
    said = json.dumps(machine, sort_keys=True, default=str)
    return Path(f"{prefix}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.nequip.pt2")


def loaded(network: Any, file: Path) -> Evaluator:
    """`network`, with what `file` holds if it is there."""
    return Evaluator(network, _package(network, file) if file.is_file() else None)


def _package(network: Any, file: Path) -> Callable[[dict[str, torch.Tensor]], Tensors]:
    """The compiled network of `file`. What PyTorch unpacks for it is mapped into memory and removed at once."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory() as unpacked:
        os.environ["TMPDIR"] = unpacked
        try:
            package = torch._inductor.aoti_load_package(str(file))
        except RuntimeError as error:
            raise ValueError(f"{file} cannot be loaded, remove it and compile again: {error}") from error
        finally:
            os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
    found: Callable[[dict[str, torch.Tensor]], Tensors] = DictInputOutputWrapper(package, *_fields(network))
    return found


def _fields(network: Any) -> tuple[list[str], list[str]]:
    """What a compiled network takes and gives, by nequip's names."""
    moments = Keys.MAGMOM_KEY in network.model_input_fields
    return (
        [*ASE_TARGET["input"], *([Keys.MAGMOM_KEY] if moments else [])],
        [*ASE_TARGET["output"], *([MAGNETIC_FORCES] if moments else [])],
    )


def compile_to(network: Any, frame: dict[str, torch.Tensor], file: Path) -> None:
    """Compile `network`, hold it against itself on `frame`, leave it in `file` and write :data:`REPORT`."""
    from nequip.utils.aot import aot_export_model

    _need_compiler()
    inputs, outputs = _fields(network)
    part = Path.cwd() / "compiled.nequip.pt2"
    dimension = torch.export.dynamic_shapes.Dim
    shapes = {
        "graph": torch.export.Dim.STATIC,
        "node": dimension("num_nodes", min=LEAST, max=torch.inf),
        "edge": dimension("num_edges", min=LEAST, max=torch.inf),
    }
    aot_export_model(
        network, "cpu", inputs, outputs, {k: frame[k] for k in inputs}, shapes, str(part), {"cpp.dynamic_threads": True}
    )
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    report = {"cpu_seconds": sum(u.ru_utime + u.ru_stime for u in usage), **_compared(network, part, frame)}
    part.replace(file)
    REPORT.write_text(json.dumps(report))


def _need_compiler() -> None:
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler

    config.compile_threads = 1  # no pool of processes: there is one kernel
    try:
        get_cpp_compiler()
    except Exception as error:
        name = os.environ.get("CXX", "g++")
        sys.exit(f"there is no C++ compiler {name} ({type(error).__name__})")


def _compared(network: Any, file: Path, frame: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Largest differences of the two in eV/atom and eV/A, and CPU microseconds per atom of either."""
    evaluators = [Evaluator(network, None), loaded(network, file)]
    (plain,), (fast,) = (evaluate([frame]) for evaluate in evaluators)
    atoms = len(frame[Keys.POSITIONS_KEY])
    off = {key: float((plain[key] - fast[key]).abs().max()) for key in (Keys.TOTAL_ENERGY_KEY, Keys.FORCE_KEY)}
    times = [[_cpu_seconds(evaluate, frame) for evaluate in evaluators] for _ in range(_ROUNDS)]
    return {
        "energy": off[Keys.TOTAL_ENERGY_KEY] / atoms,
        "forces": off[Keys.FORCE_KEY],
        "microseconds": [1e6 * seconds / atoms for seconds in np.median(times, axis=0).tolist()],
    }


def _cpu_seconds(evaluate: Evaluator, frame: dict[str, torch.Tensor]) -> float:
    """Of one evaluation, mean over as many as take a while."""
    began, calls = time.process_time(), 0
    while (spent := time.process_time() - began) < _ROUND_S:
        evaluate([frame])
        calls += 1
    return spent / calls
