"""What `magflow cluster init` writes; ``config/`` holds the same for an example."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magflow.core.files import replace_file
from magflow.errors import InputError
from magflow.execution.cluster.directory import CLUSTER, FW_CONFIG, FWORKERS, JOBFLOW, LAUNCHPAD, NAME, QUEUE
from magflow.execution.cluster.slurm import format_time, parse_time
from magflow.execution.fireworks.launchpad import SETTINGS
from magflow.makers.roles import Category

URI_VARIABLE = "MAGFLOW_MONGO_URI"


@dataclass(frozen=True)
class ClusterOptions:
    """What differs between clusters.

    Parameters
    ----------
    name
        Of the cluster; pilot jobs are called NAME-CATEGORY.
    partition, gpu_partition
        For work on processors, and for training and molecular dynamics on GPUs (None: they use processors too).
    account, qos
        What Slurm charges; None: its default.
    walltime
        Of a pilot job.
    longest_label
        Time of the longest label: a pilot with less left takes no new one.
    cpus
        Of a pilot job for labels, and for training without GPUs.
    memory
        Of a pilot job, as Slurm writes it (``8G``); None: its default.
    max_pilots
        Pilot jobs for labels at once.
    database
        Of the LaunchPad, on the server of the URI.
    uri_variable
        Environment variable that holds the URI of the server, password included.
    uri
        The URI itself, to be written into the LaunchPad's file for FireWorks' own commands; None: only the variable
        is named there.
    setup
        Lines of shell that a pilot needs first: ``module load abinit``.
    python
        The interpreter that compute nodes run magflow with.
    directory
        Where the files will be, as compute nodes see it.
    """

    directory: str
    python: str
    name: str = "cluster"
    partition: str | None = None
    gpu_partition: str | None = None
    account: str | None = None
    qos: str | None = None
    walltime: str = "24:00:00"
    longest_label: str = "02:00:00"
    cpus: int = 8
    memory: str | None = None
    max_pilots: int = 8
    database: str = "magflow"
    uri_variable: str = URI_VARIABLE
    uri: str | None = None
    setup: tuple[str, ...] = field(default=())


def cluster_files(options: ClusterOptions) -> dict[str, str]:
    """Text of each file by its path within the folder.

    Raises
    ------
    InputError
        If the name or a time is none.
    """
    walltime = parse_time(options.walltime)
    if re.match(NAME, options.name) is None:
        expected = "a lower-case letter, then letters and digits, at most 16"
        raise InputError("this is no name for a cluster", where="name", seen=options.name, expected=expected)
    if walltime is None:
        raise InputError("a pilot job has to end", where="walltime", seen=options.walltime, expected="HH:MM:SS")
    files = {
        CLUSTER: _cluster(options, walltime),
        LAUNCHPAD: _launchpad(options),
        FW_CONFIG: _fw_config(options),
        JOBFLOW: _jobflow(options),
    }
    for category in Category:
        files[f"{FWORKERS}/{category}.yaml"] = _fworker(options, category)
        files[f"{QUEUE}/{category}.yaml"] = _adapter(options, category)
    return files


def write_cluster(path: Path, options: ClusterOptions, force: bool = False) -> list[Path]:
    """Write the files of :func:`cluster_files`; the one that may hold a password is readable by its owner alone.

    Raises
    ------
    InputError
        If a file is there already, unless `force`.
    StoreError
        If a file cannot be written.
    """
    files = cluster_files(options)
    present = [name for name in files if (path / name).exists()]
    if present and not force:
        raise InputError(
            "there are files of a cluster here already",
            where=str(path),
            seen=", ".join(present),
            hint="choose another folder, or write them anew with --force",
        )
    for name, text in files.items():
        # the LaunchPad's password is never readable by others, not even for a moment
        replace_file(path / name, text.encode(), mode=0o600 if name == LAUNCHPAD else 0o666)
    return [path / name for name in files]


def readable_by_others(file: Path) -> bool:
    """Whether anybody but the owner may read `file`."""
    return bool(file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _cluster(options: ClusterOptions, walltime: int) -> str:
    longest = {
        Category.DFT: options.longest_label,
        Category.TRAIN: format_time(walltime // 2),
        Category.MD: format_time(walltime // 4),
        Category.LIGHT: "00:10:00",
    }
    pilots = {Category.DFT: options.max_pilots, Category.TRAIN: 5, Category.MD: 2, Category.LIGHT: 1}
    about = {
        Category.DFT: "labels",
        Category.TRAIN: "members of the ensemble",
        Category.MD: "exploration",
        Category.LIGHT: "selection, assessment, bookkeeping",
    }
    rows = ""
    for category in Category:
        values = {
            "max_pilots": (pilots[category], "pilot jobs at once, waiting or running"),
            "max_queued": (min(2, pilots[category]), "of these, waiting in the queue"),
            "longest_job": (f'"{longest[category]}"', "a pilot with less left of its walltime takes no new job"),
        }
        rows += _row(f"  {category}:", about[category])
        rows += "".join(_row(f"    {key}: {value}", words) for key, (value, words) in values.items())
    return f"""\
# The cluster as magflow's daemon sees it. What a pilot job asks Slurm for is in queue/, what it takes from the
# LaunchPad in fworkers/; these are FireWorks' own formats.
magflow_cluster: 1
{_row(f"name: {options.name}", f"pilot jobs are called {options.name}-dft, {options.name}-train, ...")}
categories:
{rows}
daemon:
  interval_s: 20                  # between two looks at LaunchPad and Slurm
  silence_s: 300                  # a running job without a sign of life for so long is lost; pilots give one a minute
  reservation_s: 120              # a job that was claimed so long ago and never started is offered again
  idle_s: 60                      # a pilot that finds no work for so long ends
  max_crashes: 3                  # a job that has brought down its pilot so often is recorded as failed
  keep_days: 30                   # logs of pilots are removed after so many days
"""


def _row(text: str, comment: str) -> str:
    return f"{text:<34}# {comment}\n"


def _launchpad(options: ClusterOptions) -> str:
    if options.uri is None:
        uri = f"${{{options.uri_variable}}}"
        words = f"The URI, with user and password, is in the environment variable {options.uri_variable}."
    else:
        uri, words = options.uri, "It holds the password: keep it at mode 0600, and out of version control."
    return f"""\
# The LaunchPad of FireWorks. {words}
host: {_quoted(uri)}
uri_mode: true
name: {options.database}
logdir: null
strm_lvl: WARNING
mongoclient_kwargs: {{}}            # TLS: tls, tlsCAFile, tlsCertificateKeyFile, as pymongo names them
"""


def _fw_config(options: ClusterOptions) -> str:
    settings = {
        **SETTINGS,
        "RAPIDFIRE_SLEEP_SECS": 10,
        "QUEUE_UPDATE_INTERVAL": 1,
        "PRINT_FW_JSON": False,
        "CONFIG_FILE_DIR": options.directory,
    }
    rows = "".join(f"{name}: {_plain(value)}\n" for name, value in settings.items())
    return f"# Settings of FireWorks; put in force by FW_CONFIG_FILE, which pilot jobs set.\n{rows}"


def _jobflow(options: ClusterOptions) -> str:
    def address(indent: str) -> str:
        lines = ('"@module": magflow.stores.address', '"@class": MongoAddress', f"database: {options.database}")
        return "".join(f"{indent}{line}\n" for line in (*lines, "collection: jobflow"))

    return f"""\
# jobflow's job store, for flows other than campaigns (a campaign names its own). It holds no password: the URI is taken
# from the environment variable {URI_VARIABLE} or from ~/.magflow.yaml.
JOB_STORE:
  "@module": jobflow.core.store
  "@class": JobStore
  docs_store:
    "@module": magflow.stores.mongo
    "@class": Documents
    address:
{address("      ")}\
  additional_stores:
    data:
      "@module": magflow.stores.gridfs
      "@class": Blobs
      address:
{address("        ")}\
      collection_name: jobflow_blobs
"""


def _fworker(options: ClusterOptions, category: Category) -> str:
    return f"""\
# What pilot jobs of category {category} take from the LaunchPad.
name: {options.name}-{category}
category: {category}
query: '{{}}'
"""


def _adapter(options: ClusterOptions, category: Category) -> str:
    gpu = options.gpu_partition is not None and category in (Category.TRAIN, Category.MD)
    cpus = 1 if category is Category.LIGHT else options.cpus
    ranks = cpus if category is Category.DFT else 1
    threads = 1 if category is Category.DFT else cpus
    setup = "".join(f"  {line}\n" for line in options.setup)
    keys: Mapping[str, Any] = {
        "nodes": 1,
        "ntasks": ranks,
        "cpus_per_task": threads,
        "gpus_per_node": 1 if gpu else None,
        "mem": options.memory,
        "walltime": options.walltime,
        "queue": options.gpu_partition if gpu else options.partition,
        "account": options.account,
        "qos": options.qos,
    }
    rows = "".join(f"{name}: {_plain(value)}\n" for name, value in keys.items())
    python, directory = shlex.quote(options.python), shlex.quote(options.directory)
    launch = f"{python} -m magflow cluster pilot {directory} {category}"
    return f"""\
# Slurm pilot jobs of category {category} ({"GPU" if gpu else "CPU"}). Keys: FireWorks' template. null: Slurm's choice.
_fw_name: CommonAdapter
_fw_q_type: SLURM
{rows}rocket_launch: {_quoted(launch)}
pre_rocket: |
{setup}  export FW_CONFIG_FILE={directory}/{FW_CONFIG} OMP_NUM_THREADS={threads}
post_rocket: null
"""


def _plain(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """A YAML string in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
