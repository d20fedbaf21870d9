"""The description of a cluster: a folder of files, most of them FireWorks' own, that `magflow cluster init` writes.

=====================  ==================================================================================
``cluster.yaml``       name of the cluster, categories of work and their bounds, patience of the daemon
``my_launchpad.yaml``  FireWorks: where the LaunchPad is; the only file that may hold a password
``FW_config.yaml``     FireWorks: its own settings
``jobflow.yaml``       jobflow: the job store, for flows other than campaigns
``fworkers/*.yaml``    FireWorks: one worker per category, which says what it takes from the LaunchPad
``queue/*.yaml``       FireWorks: one Slurm queue adapter per category, the resources of its pilot jobs
``pilots/``            where pilot jobs run and leave their logs
=====================  ==================================================================================
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from magflow.campaign.base import Section, problem
from magflow.campaign.source import CampaignFileError, Problem, Source, dotted, read_source
from magflow.errors import InputError
from magflow.execution.cluster.slurm import parse_time
from magflow.makers.roles import Category

if TYPE_CHECKING:
    from fireworks import FWorker
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

CLUSTER = "cluster.yaml"
LAUNCHPAD = "my_launchpad.yaml"
FW_CONFIG = "FW_config.yaml"
JOBFLOW = "jobflow.yaml"
FWORKERS = "fworkers"
QUEUE = "queue"
PILOTS = "pilots"

NAME = r"^[a-z][a-z0-9]{0,15}$"
"""Pattern of a cluster's name; no hyphen, so that no name with one behind it begins another."""

_NUMBER = re.compile(r"-(\d+)$")


class CategorySpec(Section):
    """The pilot jobs of one category of work."""

    max_pilots: int = Field(4, ge=1, le=10_000, description="Pilot jobs at once, waiting or running.")
    max_queued: int = Field(2, ge=1, le=10_000, description="Pilot jobs that wait in the queue at once.")
    longest_job: str = Field(
        "01:00:00",
        description="Time of the longest job, HH:MM:SS: a pilot with less left of its walltime takes no new one.",
    )

    @field_validator("longest_job")
    @classmethod
    def _a_time(cls, value: str) -> str:
        _seconds(value)
        return value

    @property
    def longest_seconds(self) -> int:
        """`longest_job` in seconds."""
        return _seconds(self.longest_job)


class DaemonSpec(Section):
    """How often the daemon looks, and when it gives up hope."""

    interval_s: float = Field(20.0, ge=0.2, le=600, description="Seconds between two looks at LaunchPad and Slurm.")
    silence_s: float = Field(
        300.0,
        ge=2,
        description="A running job without a sign of life for so many seconds is lost; pilots give one a minute.",
    )
    reservation_s: float = Field(
        120.0, ge=1, description="A job that was claimed so many seconds ago and has not been started is offered again."
    )
    idle_s: float = Field(60.0, ge=0, description="A pilot that finds no work for so many seconds ends.")
    max_crashes: int = Field(
        3, ge=1, le=100, description="A job that has brought down its pilot so many times is recorded as failed."
    )
    keep_days: float = Field(30.0, gt=0, description="Logs of pilots are removed after so many days.")


class ClusterSpec(Section):
    """One cluster, as ``cluster.yaml`` describes it."""

    magflow_cluster: Literal[1] = Field(description="Version of this file's layout.")
    name: str = Field(pattern=NAME, description="Name of the cluster; pilot jobs are called NAME-CATEGORY.")
    categories: dict[Category, CategorySpec] = Field(min_length=1, description="Categories of work and their bounds.")
    daemon: DaemonSpec = Field(DaemonSpec(), description="How often the daemon looks, and when it gives up hope.")

    @model_validator(mode="after")
    def _all(self) -> ClusterSpec:
        missing = [str(c) for c in Category if c not in self.categories]
        if missing:
            hint = "a campaign has jobs of every category; one without pilots would wait for ever"
            raise problem(f"categories {', '.join(missing)} as well", seen=", ".join(self.categories), hint=hint)
        return self


@dataclass(frozen=True)
class ClusterDirectory:
    """The folder that describes one cluster.

    Raises
    ------
    InputError
        From its properties, if a file is absent or not what it has to be.
    """

    path: Path

    @classmethod
    def existing(cls, path: Path) -> ClusterDirectory:
        """The cluster described in `path`, its ``cluster.yaml`` read."""
        if not (path / CLUSTER).is_file():
            raise InputError(
                "no cluster is described here",
                where=str(path),
                expected=f"a folder that holds {CLUSTER}",
                hint="`magflow cluster init DIR` writes one",
            )
        here = cls(path.absolute())
        here.spec  # noqa: B018 - reads and checks it
        return here

    @cached_property
    def spec(self) -> ClusterSpec:
        """``cluster.yaml``."""
        file = self.path / CLUSTER
        source = read_source(file)
        try:
            return ClusterSpec.model_validate_json(json.dumps(source.data), strict=True)
        except ValidationError as error:
            raise CampaignFileError(str(file), tuple(_problems(error, source))) from error

    @property
    def launchpad(self) -> Path:
        """The file that describes the LaunchPad."""
        return self.path / LAUNCHPAD

    @property
    def pilots(self) -> Path:
        """Where pilot jobs run."""
        return self.path / PILOTS

    def fworker(self, category: Category) -> FWorker:
        """What pilots of `category` take from the LaunchPad."""
        from fireworks import FWorker

        file = self.path / FWORKERS / f"{category}.yaml"
        content = _mapping(file)
        taken = content.get("category")
        if taken != str(category) and str(category) not in (taken if isinstance(taken, list) else []):
            raise InputError(
                "this worker does not take its category", where=str(file), seen=taken, expected=f"category: {category}"
            )
        try:
            query = json.loads(content.get("query") or "{}")
        except (TypeError, ValueError) as error:
            raise InputError("the worker's query is no JSON", where=str(file), seen=content.get("query")) from error
        return FWorker(str(content.get("name") or category), taken, query, content.get("env"))

    def adapter(self, category: Category) -> CommonAdapter:
        """The resources of pilots of `category`."""
        from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

        file = self.path / QUEUE / f"{category}.yaml"
        content = _mapping(file)
        if content.get("_fw_name") != "CommonAdapter" or content.get("_fw_q_type") != "SLURM":
            seen = f"{content.get('_fw_name')}, {content.get('_fw_q_type')}"
            raise InputError(
                "this is no queue adapter for Slurm", where=str(file), seen=seen, expected="CommonAdapter, SLURM"
            )
        for key in ("walltime", "rocket_launch"):
            if not isinstance(content.get(key), str):
                raise InputError(
                    f"the queue adapter has no {key}",
                    where=str(file),
                    seen=content.get(key),
                    expected="text, in quotes",
                    hint='a time without quotes is read as a number: write "24:00:00"' if key == "walltime" else None,
                )
        return CommonAdapter.from_dict(content)

    def walltime(self, category: Category) -> int:
        """Seconds that pilots of `category` may run."""
        adapter = self.adapter(category)
        seconds = parse_time(str(adapter["walltime"]))
        longest = self.spec.categories[category].longest_seconds
        if seconds is None or seconds <= longest:
            raise InputError(
                "a pilot would have to end before it could begin a job",
                where=str(self.path / QUEUE / f"{category}.yaml"),
                seen=f"walltime {adapter['walltime']}",
                expected=f"more than categories.{category}.longest_job of {CLUSTER}",
            )
        return seconds

    def pilot_name(self, category: Category) -> str:
        """Name of the Slurm jobs of a category's pilots."""
        return f"{self.spec.name}-{category}"

    def worker_name(self, category: Category, slurm_job: int) -> str:
        """Name under which a pilot takes jobs from the LaunchPad; it leads back to its Slurm job."""
        return f"{self.pilot_name(category)}-{slurm_job}"

    def slurm_job(self, worker: str) -> int | None:
        """The Slurm job of a worker of this cluster; None if it is not one of our pilots."""
        number = _NUMBER.search(worker)
        ours = any(worker.startswith(f"{self.pilot_name(category)}-") for category in self.spec.categories)
        return int(number.group(1)) if number and ours else None


def _seconds(text: str) -> int:
    try:
        seconds = parse_time(text)
    except InputError as error:
        raise problem(error.expected or "a time", hint="minutes, HH:MM:SS or D-HH:MM:SS, in quotes") from error
    if seconds is None:
        raise problem("a finite time, HH:MM:SS")
    return seconds


def _mapping(file: Path) -> dict[str, Any]:
    """A small YAML file that holds a mapping."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "`magflow cluster init DIR` writes it"
        raise InputError("a file of the cluster is missing", where=str(file), hint=hint) from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InputError("a file of the cluster cannot be read", where=str(file), seen=error) from error
    if not isinstance(content, dict):
        raise InputError("this file is no mapping", where=str(file), seen=type(content).__name__, expected="key: value")
    return content


def _problems(error: ValidationError, source: Source) -> list[Problem]:
    found = []
    for details in error.errors(include_url=False):
        key = tuple(part for part in details["loc"] if part != "[key]")
        context = details.get("ctx", {})
        if details["type"] == "extra_forbidden":
            seen, expected = "an unknown key", "a key that docs/cluster.md names"
        elif details["type"] == "missing":
            seen, expected = "nothing", f"the key {key[-1]}"
        else:
            seen = str(context.get("seen", details.get("input")))
            expected = str(context.get("expected", details["msg"].removeprefix("Input should be ")))
        found.append(Problem(source.line(key), dotted(key), seen[:80], expected, context.get("hint")))
    return found
