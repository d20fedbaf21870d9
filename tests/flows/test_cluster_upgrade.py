"""magflow is upgraded while pilots are at work: the daemon is restarted, pilots leave with the job in hand done."""

from __future__ import annotations

import shutil
import subprocess
import venv
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

import cluster_jobs
import pytest
from cluster_jobs import BEGUN, ENDED, labels_flow, noted

pytest.importorskip("fireworks", reason="FireWorks is not installed")
import fireworks

from cluster_bed import ClusterBed
from clusters import store_section
from doubles.mongo_wire import WireMongo
from magflow.execution.fireworks.queue import LaunchPadQueue
from magflow.potentials.mmtp import _kernel

SOURCES = Path(__file__).parents[2] / "src" / "magflow"
NAMES = [f"Fe{n}Al" for n in range(30)]


class Installation:
    """A Python with a magflow of its own, as a copy of files, and whatever else this Python has."""

    def __init__(self, path: Path) -> None:
        venv.create(path, with_pip=False, symlinks=True)
        self.python = path / "bin" / "python"
        (self.packages,) = path.glob("lib/python*/site-packages")
        (self.packages / "others.pth").write_text(f"{Path(fireworks.__file__).parents[1]}\n")

    def install(self, version: str) -> None:
        """Put the magflow under test in the place of what is there, saying that it is `version`."""
        new, old = self.packages / "new", self.packages / "old"
        shutil.copytree(SOURCES, new, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        shutil.copy(_kernel.__file__, new / "potentials" / "mmtp")
        about = Path(str(distribution("magflow").locate_file(f"magflow-{distribution('magflow').version}.dist-info")))
        for former in self.packages.glob("magflow*"):
            old.mkdir(exist_ok=True)
            former.rename(old / former.name)
        new.rename(self.packages / "magflow")
        mine = shutil.copytree(about, self.packages / f"magflow-{version}.dist-info")
        text = (mine / "METADATA").read_text()
        (mine / "METADATA").write_text(
            text.replace(f"Version: {distribution('magflow').version}", f"Version: {version}")
        )
        shutil.rmtree(old, ignore_errors=True)

    def magflow(self, *words: str) -> str:
        """Run a command of it; returns what it says."""
        command = [str(self.python), "-m", "magflow", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.timeout(600)
def test_an_upgrade_while_pilots_run(slurm, tmp_path, write_campaign):
    there = Installation(tmp_path / "environment")
    there.install("1.0")
    assert there.magflow("--version").split()[-1] == "1.0"
    modules = [str(Path(cluster_jobs.__file__).parent)]
    with WireMongo() as mongo:
        bed = ClusterBed(slurm, tmp_path / "cluster", f"{mongo.uri}up", python=str(there.python), modules=modules)
        folder = str(bed.cluster.path)
        try:
            here = bed.submit(write_campaign(tmp_path / "c.yaml", store=store_section(bed.uri)), tmp_path / "campaign")
            bed.launchpad.defuse_wf(1)
            flow, whole = labels_flow(tmp_path, NAMES, 1.0)
            LaunchPadQueue(bed.launchpad, here).submit(flow)
            there.magflow("daemon", "start", folder)
            bed.wait(lambda: len(noted(tmp_path, ENDED)) >= 2)
            there.install("2.0")
            bed.wait(lambda: "restart it" in there.magflow("daemon", "status", folder))
            there.magflow("daemon", "stop", folder)
            assert len(noted(tmp_path, ENDED)) < len(NAMES), "there is work left for the new one"
            there.magflow("daemon", "start", folder)
            bed.wait_until_done()
            assert "restart it" not in there.magflow("daemon", "status", folder)
            assert here.store.query_one({"uuid": whole})["output"] == sorted(NAMES)
            assert Counter(noted(tmp_path, BEGUN)) == Counter(noted(tmp_path, ENDED)) == Counter(NAMES)
            assert "magflow was upgraded" in bed.pilot_logs()
        finally:
            bed.close()
