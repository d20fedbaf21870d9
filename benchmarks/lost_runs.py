"""Time from the death of a worker to the moment its job is offered again, with the daemon's default settings.

    python benchmarks/lost_runs.py [killed] [hanging]

On a real Slurm of this machine, with the wire double of MongoDB in place of a server (both from tests/). Two deaths:
a pilot that is killed, which Slurm notices; and a pilot that hangs (SIGSTOP), which nobody notices but by its silence.
The peer is FireWorks as it comes: it counts a run as lost after RUN_EXPIRATION_SECS without a sign of life, and only if
somebody runs `lpad detect_lostruns`; that time is its setting, not a measurement.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "flows")]

from cluster_jobs import BEGUN, label, noted  # noqa: E402
from jobflow import Flow  # noqa: E402
from ruamel.yaml import YAML  # noqa: E402

from cluster_bed import ClusterBed  # noqa: E402
from clusters import store_section  # noqa: E402
from doubles.mongo_wire import WireMongo  # noqa: E402
from magflow.campaign.templates import template_text  # noqa: E402
from magflow.execution.cluster.directory import DaemonSpec  # noqa: E402
from magflow.execution.fireworks.queue import LaunchPadQueue  # noqa: E402
from one_machine_slurm import OneMachineSlurm, SlurmUnavailableError  # noqa: E402

DEATHS = {"killed": signal.SIGKILL, "hanging": signal.SIGSTOP}


def submit_sleep(bed: ClusterBed, folder: Path) -> int:
    """A job that sleeps longer than the measurement; returns its Firework."""
    content = YAML(typ="safe").load(template_text("model_hamiltonian")) | {"store": store_section(bed.uri)}
    file = folder / "campaign.yaml"
    with file.open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    here = bed.submit(file, folder / "run")
    bed.launchpad.defuse_wf(1)
    made = label("Fe", str(folder), 3600.0)
    made.metadata["category"] = "dft"
    LaunchPadQueue(bed.launchpad, here).submit(Flow([made]))
    return int(bed.launchpad.fireworks.find_one({"name": "label"})["fw_id"])


def measure(slurm: OneMachineSlurm, name: str, number: signal.Signals) -> float:
    """Seconds from `number` sent to the pilot until its job is ready again."""
    folder = Path(tempfile.mkdtemp(prefix=f"lost-{name}-"))
    with WireMongo() as mongo:
        # the walltime of the bed leaves room for the measurement
        bed = ClusterBed(
            slurm, folder / "cluster", f"{mongo.uri}lost", walltime="00:30:00", **DaemonSpec().model_dump()
        )
        try:
            fw_id = submit_sleep(bed, folder)
            bed.start()
            bed.wait(lambda: noted(folder, BEGUN), 120)
            time.sleep(90)  # at least one sign of life
            for process in bed.pilots():
                os.kill(process.pid, number)
            began = time.perf_counter()
            bed.wait(lambda: bed.launchpad.fireworks.find_one({"fw_id": fw_id})["spec"]["magflow"].get("losses"), 900)
            return time.perf_counter() - began
        finally:
            bed.close()


def main() -> None:
    """Measure the deaths named on the command line; both if none is."""
    deaths = sys.argv[1:] or list(DEATHS)
    slurm = OneMachineSlurm()
    try:
        slurm.start()
    except SlurmUnavailableError as error:
        print(f"not measured: {error}")
        return
    os.environ.update(slurm.environment)
    try:
        for name in deaths:
            seconds = measure(slurm, name, DEATHS[name])
            print(f"pilot {name}: offered again after {seconds:.1f} s", flush=True)
    finally:
        slurm.stop()
    print(f"FireWorks as it comes, if asked: after {4 * 3600} s")


if __name__ == "__main__":
    main()
