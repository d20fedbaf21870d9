"""What tests of campaigns on a cluster share: where the data go, a LaunchPad, pilots, and what must come out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore
from pymongo.uri_parser import parse_uri
from ruamel.yaml import YAML

from magflow.stores import contents, queries
from one_machine_slurm import OneMachineSlurm, SlurmUnavailableError

PHONONS: dict[str, Any] = {
    "select": {"initial": 10},
    "stop": {"labels": 13},
    "train": {"settings": {"level": 4}},
    "phonons": {"structures": ["B2-FeAl"], "supercells": [[1, 1, 1]], "forgetting": 10.0},
}
"""A loop of one iteration, and three labels for the force constants of a crystal of two atoms."""


def science(store: JobStore) -> dict[str, Any]:
    """What must not depend on where a campaign ran."""
    return {
        "labels": sorted(d.label_id for d in queries.labels(store)),
        "selected": [d.selected for d in queries.selections(store)],
        "reasons": [d.reasons for d in queries.selections(store)],
        "rmse": [d.rmse for d in queries.iterations(store)],
        "outcome": getattr(queries.outcome(store), "reason", None),
    }


def assert_same_science(seen: JobStore, expected: JobStore) -> None:
    """The same labels, selections and end; errors to the last digits, which threads may round differently."""
    first, second = science(expected), science(seen)
    rmse = zip(first.pop("rmse"), second.pop("rmse"), strict=True)
    assert second == first
    for a, b in rmse:
        assert b == pytest.approx(a, rel=1e-6)


def assert_tuned(store: JobStore, campaign: str) -> None:
    """The ensemble of the outcome has learnt force constants, and the other is kept."""
    ended, found = queries.outcome(store, campaign), queries.tuning(store, campaign)
    assert ended is not None and found is not None
    assert found.tuned and ended.tuned == found.which
    assert ended.models == found.models != ended.untuned
    assert len(contents.latest_ensemble(store, campaign).members) == 2


def store_section(uri: str) -> dict[str, Any]:
    """The ``store:`` of a campaign file for the MongoDB at `uri`, which names the database."""
    return {"mongodb": {"uri": uri, "options": {"journal": False}}}


def write_launchpad(path: Path, uri: str) -> Path:
    """A ``my_launchpad.yaml`` for the MongoDB at `uri`."""
    with path.open("w") as file:
        YAML(typ="safe").dump({"host": uri, "uri_mode": True, "name": parse_uri(uri)["database"]}, file)
    path.chmod(0o600)
    return path


def run_pilot(launchpad: Path, folder: Path) -> None:
    """Do what a pilot job does: FireWorks' rapidfire until nothing is left to do."""
    folder.mkdir(exist_ok=True)
    configuration = folder / "FW_config.yaml"
    configuration.write_text("RAPIDFIRE_SLEEP_SECS: 1\nPRINT_FW_JSON: false\n")
    environment = {**os.environ, "FW_CONFIG_FILE": str(configuration), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fireworks.scripts.rlaunch_run", "-l", str(launchpad), "rapidfire"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextmanager
def at_work(slurm: OneMachineSlurm, otherwise: str) -> Iterator[OneMachineSlurm]:
    """A Slurm that is started, that its commands speak to, and that ends; skips, saying `otherwise`, where none can be.

    Several tests share it: the environment is as it was when the last has ended.
    """
    try:
        slurm.start()
    except SlurmUnavailableError as error:
        slurm.stop()
        pytest.skip(f"{otherwise}: {error}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in slurm.environment.items():
            patch.setenv(name, value)
        yield slurm
    slurm.stop()
