"""Runs one job on a worker of jobflow-remote, in place of ``jf execution run``.

    magflow execute DIRECTORY

jobflow and the runner of jobflow-remote let a replacement refer to the outputs of earlier jobs; the part of
jobflow-remote (1.0.1) that runs on the worker refuses it.
"""

from __future__ import annotations

import sys
from functools import partial

EXECUTION_COMMAND = "python -m magflow execute {}"
"""What a project has to name as `execution_cmd` of its workers."""

COMMANDS = ("magflow execute ", "magflow.execution.remote_run ")
"""Spellings of the command; the second is that of magflow 0.1."""


def main(directory: str) -> None:
    """Run the job in `directory`, which jobflow-remote has filled."""
    from jobflow.core.flow import get_flow
    from jobflow_remote.jobs import run

    run.get_flow = partial(get_flow, allow_external_references=True)
    run.run_remote_job(directory)


if __name__ == "__main__":  # projects written for magflow 0.1 call this module
    main(sys.argv[1])
