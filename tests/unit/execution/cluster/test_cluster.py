"""The folder that describes a cluster: what init writes, what is refused, what check says."""

from __future__ import annotations

import json
import logging
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magflow.campaign.load import load_campaign
from magflow.campaign.templates import template_text
from magflow.cli.app import app
from magflow.errors import InputError, StoreError
from magflow.execution.cluster import slurm
from magflow.execution.cluster.check import together_findings
from magflow.execution.cluster.directory import CLUSTER, JOBFLOW, LAUNCHPAD, ClusterDirectory
from magflow.execution.cluster.files import ClusterOptions, cluster_files, write_cluster
from magflow.execution.cluster.slurm import Partition, SlurmError
from magflow.execution.daemon import process as daemon_process
from magflow.makers.roles import Category

pytest.importorskip("fireworks", reason="FireWorks is not installed")

CONFIG = Path(__file__).parents[4] / "config"
EXAMPLE = ClusterOptions(
    directory="/shared/cluster",
    python="/shared/magflow/.venv/bin/python",
    name="example",
    partition="cpu",
    gpu_partition="gpu",
    account="project",
    setup=("module load abinit",),
)
SECRET = "opensesame"
URI = f"mongodb://me:{SECRET}@127.0.0.1:9/"


@pytest.fixture
def options(tmp_path):
    return ClusterOptions(directory=str(tmp_path / "cluster"), python=sys.executable, partition="main")


@pytest.fixture
def cluster(tmp_path, options):
    write_cluster(tmp_path / "cluster", options)
    return ClusterDirectory.existing(tmp_path / "cluster")


def invoke(*words, code=0):
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exit_code == code, result.output
    return result.output


def test_the_examples_are_what_init_writes():
    """After a change: `magflow cluster init config --force` with the values of EXAMPLE."""
    found = {str(p.relative_to(CONFIG)): p.read_text() for p in CONFIG.rglob("*.yaml") if p.parent.name != "conda"}
    assert found == cluster_files(EXAMPLE)


def test_what_init_writes_can_be_read_back(cluster):
    assert set(cluster.spec.categories) == set(Category)
    for category in Category:
        assert cluster.fworker(category).category == category
        assert cluster.walltime(category) == 86400
        script = cluster.adapter(category).get_script_str("/somewhere")
        assert "#SBATCH --partition=main" in script
        assert f"-m magflow cluster pilot {cluster.path} {category}" in script
        assert "$$" not in script


def test_a_pilot_of_no_category_says_so(cluster):
    """It ends without farewell, as pilots do, so it is a process of its own."""
    words = [sys.executable, "-m", "magflow", "cluster", "pilot", str(cluster.path), "heavy"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such category of work; seen: heavy; expected: dft" in done.stdout


def test_gpus_are_asked_for_where_there_are_some(tmp_path):
    write_cluster(tmp_path / "c", EXAMPLE)
    made = ClusterDirectory.existing(tmp_path / "c")
    gpus = {c: "--gpus-per-node=1" in made.adapter(c).get_script_str("/somewhere") for c in Category}
    assert gpus == {Category.DFT: False, Category.TRAIN: True, Category.MD: True, Category.LIGHT: False}


def test_names_lead_to_the_slurm_job_and_back(cluster):
    name = cluster.worker_name(Category.DFT, 1234)
    assert cluster.slurm_job(name) == 1234
    assert cluster.slurm_job("other-dft-1234") is None
    assert cluster.slurm_job("cluster-dft") is None


def test_the_secret_is_in_one_file_that_others_cannot_read(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_URI", URI)
    words = ["cluster", "init", tmp_path / "c", "--mongo-uri-env", "MY_URI"]
    assert SECRET not in invoke(*words)
    texts = {p.name: p.read_text() for p in (tmp_path / "c").rglob("*.yaml")}
    assert not [name for name, text in texts.items() if SECRET in text]
    assert "${MY_URI}" in texts[LAUNCHPAD]
    assert SECRET not in invoke(*words, "--write-secret", "--force")
    holders = [p for p in (tmp_path / "c").rglob("*.yaml") if SECRET in p.read_text()]
    assert [p.name for p in holders] == [LAUNCHPAD]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600


def test_the_name_comes_from_the_folder(tmp_path):
    invoke("cluster", "init", tmp_path / "My-Cluster")
    assert ClusterDirectory.existing(tmp_path / "My-Cluster").spec.name == "mycluster"
    assert "no name for a cluster" in invoke("cluster", "init", tmp_path / "c", "--name", "a-b", code=2)
    assert "no time limit" in invoke("cluster", "init", tmp_path / "c", "--walltime", "long", code=2)
    assert not (tmp_path / "c").exists()


def test_the_log_holds_no_password(cluster, capsys):
    daemon_process._log_to(cluster, foreground=True)
    log = logging.getLogger("magflow")
    try:
        log.getChild("daemon").warning("cannot reach %s", URI)
    finally:
        for handler in list(log.handlers):
            log.removeHandler(handler)
            handler.close()
        log.propagate = True
    for text in (capsys.readouterr().err, (cluster.path / daemon_process.LOG).read_text()):
        assert "cannot reach mongodb://***@127.0.0.1" in text
        assert SECRET not in text


def test_files_are_not_written_over(tmp_path, options):
    write_cluster(tmp_path / "c", options)
    with pytest.raises(InputError, match="already"):
        write_cluster(tmp_path / "c", options)


def test_the_uri_comes_from_the_environment(cluster, monkeypatch):
    from magflow.execution.fireworks.launchpad import connect

    monkeypatch.setattr("magflow.settings.SETTINGS_FILE", Path("/nowhere/magflow.yaml"))
    monkeypatch.delenv("MAGFLOW_MONGO_URI", raising=False)
    with pytest.raises(InputError, match="variable that is not set"):
        connect(cluster.launchpad)
    monkeypatch.setenv("MAGFLOW_MONGO_URI", URI + "?serverSelectionTimeoutMS=100")
    with pytest.raises(StoreError, match="does not answer") as caught:
        connect(cluster.launchpad)
    assert SECRET not in str(caught.value)


def test_jobflow_reads_its_file(cluster, wire_mongo):
    code = "from jobflow import SETTINGS; s = SETTINGS.JOB_STORE; s.connect(); print(s.count(), s.docs_store.name)"
    environment = {
        "JOBFLOW_CONFIG_FILE": str(cluster.path / JOBFLOW),
        "MAGFLOW_MONGO_URI": wire_mongo.uri,
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["0", f"{wire_mongo.uri}magflow.jobflow"], done.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: cluster", "name: My Cluster", "name"),
        ("max_pilots: 8", "max_pilots: 0", "categories.dft.max_pilots"),
        ('longest_job: "02:00:00"', "longest_job: soon", "categories.dft.longest_job"),
        ("max_queued: 2", "max_queud: 2", "max_queud"),
        ("interval_s: 20", "interval_s: 0", "daemon.interval_s"),
        ("  light:", "  heavy:", "light"),
    ],
)
def test_a_wrong_description_is_one_clear_error(cluster, old, new, said):
    file = cluster.path / CLUSTER
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        ClusterDirectory.existing(cluster.path)
    assert said in str(caught.value)
    assert f"{file}:" in str(caught.value)


def edit(cluster, name, old, new):
    file = cluster.path / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("queue/dft.yaml", 'walltime: "24:00:00"', 'walltime: "01:00:00"', "before it could begin a job"),
        ("queue/dft.yaml", 'walltime: "24:00:00"', "walltime: 24", "no walltime"),
        ("queue/dft.yaml", "_fw_q_type: SLURM", "_fw_q_type: PBS", "no queue adapter for Slurm"),
        ("fworkers/md.yaml", "category: md", "category: dft", "does not take its category"),
        ("fworkers/md.yaml", "category: md", "category: [", "cannot be read"),
    ],
)
def test_files_that_do_not_hold_together(cluster, name, old, new, said):
    edit(cluster, name, old, new)
    failed = {p["name"]: p["detail"] for p in findings(cluster) if not p["ok"]}
    assert any(said in detail for detail in failed.values()), failed


def findings(cluster):
    result = CliRunner().invoke(app, ["check", "--cluster", str(cluster.path), "--json"])
    return json.loads(result.output)["findings"]


@pytest.fixture
def quiet_slurm(monkeypatch):
    """A Slurm that has one partition and takes everything."""
    monkeypatch.setattr(slurm, "partitions", lambda: {"main": Partition("main", True, None)})
    monkeypatch.setattr(slurm, "test", lambda script: None)
    monkeypatch.setattr(slurm, "version", lambda: "slurm 0")
    return monkeypatch


def test_a_cluster_that_is_ready(cluster, quiet_slurm, wire_mongo):
    quiet_slurm.setenv("MAGFLOW_MONGO_URI", wire_mongo.uri)
    out = invoke("check", "--cluster", cluster.path)
    assert "PROBLEM" not in out
    assert f"ready: magflow daemon start {cluster.path}" in out


def test_a_job_that_no_pilot_would_take(cluster, quiet_slurm, wire_uri, tmp_path):
    from fireworks import Firework, ScriptTask

    from magflow.execution.fireworks.launchpad import connect, initialise

    text = cluster.launchpad.read_text().replace("name: magflow", f"name: {wire_uri.rpartition('/')[2]}")
    cluster.launchpad.write_text(text)
    quiet_slurm.setenv("MAGFLOW_MONGO_URI", wire_uri)
    launchpad = connect(cluster.launchpad)
    initialise(launchpad)
    for category, about in (("heavy", {"campaign": "mine"}), ("strange", {}), ("dft", {"campaign": "mine"})):
        spec = {"_category": category, **({"magflow": about} if about else {})}
        launchpad.add_wf(Firework([ScriptTask.from_str("true")], spec=spec))
    said = {p["name"]: p for p in findings(cluster)}
    assert not said["categories"]["ok"]
    assert said["categories"]["detail"] == "nothing takes jobs of category heavy"


def test_a_password_that_is_wrong(cluster, quiet_slurm, wire_mongo):
    uri = wire_mongo.uri.replace("//", f"//me:{SECRET}@")
    quiet_slurm.setenv("MAGFLOW_MONGO_URI", uri)
    out = invoke("check", "--cluster", cluster.path, code=4)
    assert "refuses us" in out
    assert SECRET not in out
    assert "refuses us" in invoke("daemon", "start", cluster.path, code=4)


def test_a_server_that_is_not_there(cluster, quiet_slurm):
    quiet_slurm.setenv("MAGFLOW_MONGO_URI", URI + "?serverSelectionTimeoutMS=100")
    out = invoke("check", "--cluster", cluster.path, code=4)
    assert "does not answer" in out
    assert SECRET not in out


@pytest.mark.parametrize(
    ("partition", "said"),
    [
        (Partition("cpu", True, None), "no partition main"),
        (Partition("main", False, None), "takes no jobs"),
        (Partition("main", True, 3600), "more than the 01:00:00"),
    ],
)
def test_a_partition_that_will_not_do(cluster, quiet_slurm, wire_mongo, partition, said):
    quiet_slurm.setenv("MAGFLOW_MONGO_URI", wire_mongo.uri)
    quiet_slurm.setattr(slurm, "partitions", lambda: {partition.name: partition})
    assert said in invoke("check", "--cluster", cluster.path, code=5)


def test_a_machine_without_slurm(cluster, wire_mongo, monkeypatch):
    monkeypatch.setenv("MAGFLOW_MONGO_URI", wire_mongo.uri)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "run this on a login node" in invoke("check", "--cluster", cluster.path, code=3)
    assert "there is no sbatch here" in invoke("daemon", "start", cluster.path, code=3)


def test_what_slurm_refuses_is_said_in_its_words(cluster, quiet_slurm, wire_mongo):
    def refuse(script):
        raise SlurmError("sbatch failed", seen="Invalid account")

    quiet_slurm.setenv("MAGFLOW_MONGO_URI", wire_mongo.uri)
    quiet_slurm.setattr(slurm, "test", refuse)
    assert "Invalid account" in invoke("check", "--cluster", cluster.path, code=5)


def test_a_campaign_and_a_cluster_that_do_not_fit(cluster, tmp_path):
    def said(text):
        file = tmp_path / "campaign.yaml"
        file.write_text(text)
        (found,) = together_findings(load_campaign(file), cluster)
        return {probe.name: (probe.ok, probe.detail) for probe in found.probes}

    text = template_text("feal_quick")
    assert said(text)["store"] == (False, "the embedded store cannot be written from other machines")
    fitting = said(f"{text}\nstore: {{mongodb: {{uri: 'mongodb://127.0.0.1/x'}}}}\n")
    assert all(ok for ok, _ in fitting.values())
    assert fitting["cores of a label"][1].endswith("of 8")
    edit(cluster, "queue/dft.yaml", "ntasks: 8", "ntasks: 1")
    assert said(text.replace("cores: 4", "cores: 1"))["cores of a label"] == (True, "1 of 1")
    many = said(text.replace("cores: 1", "cores: 4"))
    assert "the campaign asks for 4" in many["cores of a label"][1]


def test_a_launchpad_file_that_others_can_read(cluster, quiet_slurm, wire_mongo):
    quiet_slurm.setenv("MAGFLOW_MONGO_URI", wire_mongo.uri)
    cluster.launchpad.chmod(0o644)
    assert "chmod 600" in invoke("check", "--cluster", cluster.path, code=2)
    assert "chmod 600" in invoke("daemon", "start", cluster.path, code=2)


def test_a_folder_without_a_cluster(tmp_path):
    for words in (["check", "--cluster"], ["daemon", "start"], ["daemon", "status"], ["daemon", "stop"]):
        result = CliRunner().invoke(app, [*words, str(tmp_path)])
        assert result.exit_code == 2
        assert "magflow cluster init" in result.output


def test_a_daemon_that_is_not_there(cluster):
    assert "no daemon at work" in invoke("daemon", "status", cluster.path, code=1)
    assert json.loads(invoke("daemon", "status", cluster.path, "--json", code=1))["running"] is False
    assert "there was no daemon" in invoke("daemon", "stop", cluster.path)
    assert "no log yet" in invoke("daemon", "logs", cluster.path, code=2)
