"""What `magflow check --cluster` looks at before anything is submitted."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError

from magflow.campaign.check import Finding
from magflow.core.masking import mask
from magflow.core.protocols import Probe
from magflow.errors import CampaignError, InputError, MagflowError, MissingToolError, StoreError
from magflow.execution.cluster import slurm
from magflow.execution.cluster.directory import LAUNCHPAD, QUEUE, ClusterDirectory
from magflow.execution.cluster.files import readable_by_others
from magflow.execution.cluster.slurm import Partition, format_time
from magflow.execution.fireworks.launchpad import ABOUT, NO_ANSWER, connect, described
from magflow.makers.roles import Category

if TYPE_CHECKING:
    from fireworks import LaunchPad

    from magflow.campaign.schema import CampaignSpec


def cluster_findings(cluster: ClusterDirectory) -> list[Finding]:
    """Probes of the files, Slurm and the database; nothing is submitted and nothing is written to the database."""
    files = Finding("files", tuple(_files(cluster)), InputError)
    return [
        Finding("programs", tuple(_programs()), MissingToolError),
        files,
        *([Finding("Slurm", tuple(_slurm(cluster)), CampaignError)] if files.ok else []),
        Finding("database", tuple(_database(cluster)), StoreError),
    ]


def together_findings(spec: CampaignSpec, cluster: ClusterDirectory) -> list[Finding]:
    """Probes of what a campaign and a cluster have to agree on."""
    if spec.store is None:
        detail = "the embedded store cannot be written from other machines"
        store = Probe("store", False, detail, "add `store: {mongodb: {}}` to the campaign file")
    else:
        store = Probe("store", True, "one that other machines reach")
    cores = _probed("cores of a label", partial(_cores, spec, cluster))
    return [Finding("campaign on the cluster", (store, cores), InputError)]


def _cores(spec: CampaignSpec, cluster: ClusterDirectory) -> str:
    wanted = spec.label_cores
    adapter = cluster.adapter(Category.DFT)
    given = int(adapter.get("nodes") or 1) * int(adapter.get("ntasks_per_node") or adapter.get("ntasks") or 1)
    if wanted > given:
        raise InputError(
            "a label uses more cores than its pilot job has",
            where=str(cluster.path / QUEUE / f"{Category.DFT}.yaml"),
            seen=f"ntasks for {given}, the campaign asks for {wanted}",
            hint="raise ntasks, or lower the cores of a label in the campaign file",
        )
    return f"{wanted} of {given}"


def require_cluster(cluster: ClusterDirectory) -> None:
    """Raise the first thing that stands in the way of a daemon; that the database is away does not, it waits."""
    for finding in cluster_findings(cluster):
        for probe in finding.probes:
            if not probe.ok and not probe.detail.startswith(NO_ANSWER):
                raise finding.error(f"{probe.name}: {probe.detail}", where=str(cluster.path), hint=probe.hint or None)


def _programs() -> Iterator[Probe]:
    yield _probed("FireWorks", lambda: f"FireWorks {version('FireWorks')}, pymongo {version('pymongo')}")
    yield _probed("sbatch, squeue, sinfo, scancel", slurm.version)


def _files(cluster: ClusterDirectory) -> Iterator[Probe]:
    yield _mode(cluster)
    for category in cluster.spec.categories:
        yield _probed(f"worker of category {category}", partial(_taken, cluster, category))
        yield _probed(f"pilots of category {category}", partial(_walltime, cluster, category))
    folder = cluster.pilots if cluster.pilots.exists() else cluster.path
    writable = os.access(folder, os.W_OK)
    yield Probe("folder of the pilots", writable, str(cluster.pilots) if writable else f"{folder} cannot be written")


def _mode(cluster: ClusterDirectory) -> Probe:
    file = cluster.launchpad
    if not file.is_file():
        return Probe(LAUNCHPAD, False, f"{file} is missing", "`magflow cluster init DIR` writes it")
    mode = f"mode {file.stat().st_mode & 0o777:04o}"
    if readable_by_others(file):
        return Probe(LAUNCHPAD, False, f"others may read it: {mode}", f"chmod 600 {file}")
    return Probe(LAUNCHPAD, True, mode)


def _taken(cluster: ClusterDirectory, category: Category) -> str:
    return f"takes {cluster.fworker(category).category}"


def _walltime(cluster: ClusterDirectory, category: Category) -> str:
    adapter = cluster.adapter(category)
    python = Path(shlex.split(adapter["rocket_launch"])[0])
    if python.is_absolute() and not python.exists():
        raise InputError(
            "the program that pilots run is not here",
            where=str(cluster.path / QUEUE / f"{category}.yaml"),
            seen=str(python),
            expected="a Python that compute nodes see under this path, with magflow",
        )
    return f"{format_time(cluster.walltime(category))} in partition {adapter.get('queue') or '(default)'}"


def _slurm(cluster: ClusterDirectory) -> Iterator[Probe]:
    try:
        partitions = slurm.partitions()
    except MagflowError as error:
        yield Probe("Slurm", False, str(error), "does the controller answer? try `sinfo`")
        return
    for category in cluster.spec.categories:
        yield _accepted(cluster, category, partitions)


def _accepted(cluster: ClusterDirectory, category: Category, partitions: dict[str, Partition]) -> Probe:
    """Whether Slurm would take a pilot of `category`."""
    adapter, name = cluster.adapter(category), f"pilots of category {category}"
    wanted, walltime = adapter.get("queue"), cluster.walltime(category)
    file = cluster.path / QUEUE / f"{category}.yaml"
    if wanted:
        found = partitions.get(wanted)
        if found is None:
            there = ", ".join(sorted(partitions)) or "none"
            return Probe(name, False, f"there is no partition {wanted}", f"set queue in {file}; there are: {there}")
        if not found.up:
            return Probe(name, False, f"partition {wanted} takes no jobs", "wait, or choose another one")
        if found.max_seconds is not None and walltime > found.max_seconds:
            longest = format_time(found.max_seconds)
            detail = f"walltime {format_time(walltime)} is more than the {longest} of {wanted}"
            return Probe(name, False, detail, f"lower walltime in {file}")
    adapter["job_name"] = cluster.pilot_name(category)
    with tempfile.TemporaryDirectory(prefix="magflow-check-") as folder:
        script = Path(folder) / "pilot.sh"
        script.write_text(adapter.get_script_str(folder), encoding="utf-8")
        try:
            slurm.test(script)
        except slurm.SlurmError as error:
            return Probe(name, False, f"Slurm would refuse them: {error.seen}", f"account, qos, cpus, memory in {file}")
    return Probe(name, True, "Slurm would take them")


def _database(cluster: ClusterDirectory) -> Iterator[Probe]:
    try:
        launchpad = connect(cluster.launchpad)
    except MagflowError as error:
        seen = f"{error.message}: {error.seen}" if error.seen is not None else error.message
        yield Probe("LaunchPad", False, mask(seen), error.hint or "")
        return
    try:
        yield from _launchpad(launchpad, cluster)
    except PyMongoError as error:
        yield Probe("LaunchPad", False, mask(f"{type(error).__name__}: {error}"), "what may this user read and write?")


def _launchpad(launchpad: LaunchPad, cluster: ClusterDirectory) -> Iterator[Probe]:
    server = launchpad.connection.server_info().get("version", "unknown")
    if launchpad.fw_id_assigner.find_one({}) is None:
        yield Probe("LaunchPad", True, f"{described(launchpad)} (MongoDB {server}); the first submission makes it one")
        return
    jobs = launchpad.fireworks.count_documents({f"spec.{ABOUT}.campaign": {"$exists": True}})
    yield Probe("LaunchPad", True, f"{described(launchpad)} (MongoDB {server}), {jobs} jobs of campaigns")
    fields = [next(iter(spec["key"]))[0] for spec in launchpad.fireworks.index_information().values()]
    indexed = f"spec.{ABOUT}.campaign" in fields
    hint = "the next `magflow submit` creates them"
    yield Probe("indexes", indexed or not jobs, "present" if indexed else "not there yet", hint)
    waiting = {"state": "READY", f"spec.{ABOUT}.campaign": {"$exists": True}}
    strays = sorted(set(launchpad.fireworks.distinct("spec._category", waiting)) - set(map(str, Category)))
    detail = f"nothing takes jobs of category {', '.join(strays)}" if strays else "every job has a worker"
    yield Probe("categories", not strays, detail, f"add a worker and a queue adapter in {cluster.path}")


def _probed(name: str, look: Callable[[], str]) -> Probe:
    try:
        return Probe(name, True, look())
    except ImportError as error:
        return Probe(name, False, str(error), "pip install magflow[cluster]")
    except MagflowError as error:
        return Probe(name, False, str(error), error.hint or "")
