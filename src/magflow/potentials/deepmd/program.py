"""deepmd-kit as a program beside magflow."""

from __future__ import annotations

from pathlib import Path

from magflow.potentials.outside.process import Program

DEEPMD_KIT = Program(
    "deepmd-kit",
    "deepmd",
    Path(__file__).parent / "runtime" / "backend.py",
    threads=("DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS"),
    # Batches are small and in memory: processes that load them only add seconds to the start of a training.
    variables=(("NUM_WORKERS", "0"),),
)
