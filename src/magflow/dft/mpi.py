"""How a DFT program is started, with one core or several."""

from __future__ import annotations

import os
import shlex

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Without them, BLAS threads burn as much CPU again."""

_OPENMPI_AS_ROOT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}
"""What ``mpirun --allow-run-as-root --oversubscribe`` sets; other launchers do not look at it. In a container
the user is root and the cores that MPI counts are not the cores that there are."""


def mpi_command(program: str, mpirun: str, cores: int) -> list[str]:
    """`program`, behind `mpirun` if there are several cores; both may hold options."""
    prefix = [*shlex.split(mpirun), "-n", str(cores)] if cores > 1 else []
    return [*prefix, *shlex.split(program)]


def mpi_environment(cores: int) -> dict[str, str]:
    """Variables a run needs: one thread per rank."""
    as_root = cores > 1 and hasattr(os, "geteuid") and os.geteuid() == 0
    return {**_ONE_THREAD, **(_OPENMPI_AS_ROOT if as_root else {})}
