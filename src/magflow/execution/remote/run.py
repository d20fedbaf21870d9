"""Runs one job on a worker of jobflow-remote, in place of ``jf execution run``.

    magflow execute DIRECTORY

jobflow and the runner of jobflow-remote let a replacement refer to the outputs of earlier jobs; the part of
jobflow-remote (1.0.1) that runs on the worker refuses it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magflow.core.files import replace_file
from magflow.execution.payload import present
from magflow.makers.base import READS

if TYPE_CHECKING:
    from jobflow import Flow

EXECUTION_COMMAND = "python -m magflow execute {}"
"""What a project has to name as `execution_cmd` of its workers."""

COMMANDS = ("magflow execute ", "magflow.execution.remote_run ")
"""Spellings of the command; the second is that of magflow 0.1."""


WORKERS = "magflow_workers"
"""Key of a job's metadata that holds the names of the workers that take a category of jobs."""


CARRIED = "magflow_carried"
"""Keyword argument of a job while it waits: references to the outputs that it would read from the store by itself."""


def route(flow: Flow) -> None:
    """Send each job of `flow` to the worker of its category, if the project has one, with the outputs that it reads."""
    from jobflow import OutputReference

    for job in [job for job, _ in flow.iterflow()]:
        if reads := job.metadata.get(READS):
            job.function_kwargs[CARRIED] = {uuid: OutputReference(uuid) for uuid in reads}
        category = job.metadata.get("category")
        if category in job.metadata.get(WORKERS, ()):
            job.config.manager_config = {**(job.config.manager_config or {}), "worker": category}


def main(directory: str) -> None:
    """Run the job in `directory`, which jobflow-remote has filled."""
    from jobflow.core.flow import get_flow
    from jobflow_remote.jobs import run

    file = Path(directory) / run.IN_FILENAME
    given = json.loads(file.read_text(encoding="utf-8"))
    job = present(given["job"])
    outputs = job["function_kwargs"].pop(CARRIED, {})
    replace_file(file, json.dumps(given | {"job": job}).encode())
    if outputs:
        from magflow.makers.train import carry  # what works, which few jobs need here

        carry(outputs)

    def added(flow: Any) -> Flow:
        whole = get_flow(flow, allow_external_references=True)
        route(whole)
        return whole

    run.get_flow = added
    run.run_remote_job(directory)


if __name__ == "__main__":  # projects written for magflow 0.1 call this module
    main(sys.argv[1])
