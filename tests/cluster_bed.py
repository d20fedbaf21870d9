"""A cluster for tests: the one-machine Slurm, a LaunchPad on the wire double, a daemon that looks often."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from fireworks import LaunchPad
from pymongo.uri_parser import parse_uri
from ruamel.yaml import YAML

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.execution.cluster.directory import CLUSTER, PILOTS, ClusterDirectory
from magflow.execution.cluster.files import ClusterOptions, write_cluster
from magflow.execution.daemon import process as daemon_process
from magflow.execution.fireworks.backend import FireworksBackend
from magflow.execution.fireworks.launchpad import connect
from magflow.execution.submit import submit
from one_machine_slurm import OneMachineSlurm

NAME = "bed"
BOUNDS: dict[str, Any] = {"max_pilots": 2, "max_queued": 2, "longest_job": "00:01:00"}
DAEMON: dict[str, Any] = {"interval_s": 0.5, "silence_s": 20.0, "reservation_s": 5.0, "idle_s": 8.0, "max_crashes": 3}


class ClusterBed:
    """A cluster's folder and its daemon.

    Parameters
    ----------
    slurm
        Running.
    path
        Of the folder.
    uri
        Of the database for LaunchPad and store.
    walltime
        Of pilot jobs.
    python
        What pilot jobs run with.
    modules
        Where they find modules besides what is installed; None for where this process does.
    """

    def __init__(
        self,
        slurm: OneMachineSlurm,
        path: Path,
        uri: str,
        walltime: str = "00:10:00",
        python: str = sys.executable,
        modules: list[str] | None = None,
        **daemon: Any,
    ) -> None:
        self.slurm, self.uri = slurm, uri
        options = ClusterOptions(
            directory=str(path),
            python=python,
            name=NAME,
            partition="main",
            walltime=walltime,
            longest_label="00:00:10",
            cpus=1,
            database=parse_uri(uri)["database"],
            uri=uri,
            setup=(f"export PYTHONPATH={os.pathsep.join(modules or filter(None, sys.path))}",),
        )
        write_cluster(path, options)
        longest = "00:01:00" if walltime == "00:10:00" else "00:00:10"
        content = {
            "magflow_cluster": 1,
            "name": NAME,
            "categories": {c: {**BOUNDS, "longest_job": longest} for c in ("dft", "train", "md", "light")},
            "daemon": {**DAEMON, **daemon},
        }
        with (path / CLUSTER).open("w") as file:
            YAML(typ="safe").dump(content, file)
        self.cluster = ClusterDirectory.existing(path)

    def submit(self, file: Path, directory: Path) -> CampaignDirectory:
        """Put a campaign on the LaunchPad."""
        here = CampaignDirectory.prepare(directory, file, load_campaign(file))
        submit(here, FireworksBackend(str(self.cluster.launchpad)))
        return here

    @cached_property
    def launchpad(self) -> LaunchPad:
        """Connected."""
        return connect(self.cluster.launchpad)

    def states(self) -> dict[str, int]:
        """Number of jobs in each state of FireWorks."""
        found: dict[str, int] = {}
        for firework in self.launchpad.fireworks.find({}, {"state": 1}):
            found[firework["state"]] = found.get(firework["state"], 0) + 1
        return found

    def start(self) -> int:
        """Start the daemon; returns its process."""
        return daemon_process.start(self.cluster).pid

    def log(self) -> str:
        """What the daemon has written so far."""
        with suppress(OSError):
            return (self.cluster.path / daemon_process.LOG).read_text()
        return ""

    def pilots(self) -> list[psutil.Process]:
        """Processes of this cluster's pilots."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if {"pilot", str(self.cluster.path)} <= set(words) and "python" in words[0]:
                    found.append(process)
        return found

    def pilot_logs(self) -> str:
        """What the pilots have written so far."""
        return "\n".join(p.read_text() for p in sorted((self.cluster.path / PILOTS).glob("*.out")))

    def wait(self, condition: Callable[[], Any], seconds: float = 120.0) -> Any:
        """What `condition` returns once it is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited in vain\n{self.log()}\n{self.pilot_logs()[-4000:]}"
            time.sleep(0.2)
        return found

    def wait_until_done(self, seconds: float = 240.0) -> None:
        """Until every job is settled."""
        self.wait(lambda: not set(self.states()) & {"WAITING", "READY", "RESERVED", "RUNNING"}, seconds)

    def close(self) -> None:
        """End the daemon and its pilots."""
        with suppress(OSError):
            daemon_process.stop(self.cluster)
        jobs = self.slurm.jobs()
        if jobs:
            self.slurm.command("scancel", "--signal=KILL", "--full", *map(str, jobs), check=False)
            self.slurm.command("scancel", *map(str, jobs), check=False)
