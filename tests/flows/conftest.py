"""A whole campaign in seconds: the model Hamiltonian as label engine, a small mMTP as family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

BASE: dict[str, Any] = {
    "magflow": 1,
    "name": "tiny",
    "seed": 3,
    "system": {
        "elements": ["Al", "Fe"],
        "moments": {"Fe": [0.0, 2.5], "Al": [0.0, 0.1]},
        "prototypes": [
            {"name": "B2-FeAl", "builder": {"structure": "b2", "species": ["Fe", "Al"], "a": 2.9}, "orderings": ["FM"]},
            {
                "name": "bcc-Fe",
                "builder": {"structure": "bcc", "species": ["Fe"], "a": 2.85, "cubic": True},
                "orderings": ["FM", "AFM"],
            },
        ],
    },
    "explore": {"candidates": 60, "domain": {"volume": [-0.05, 0.05], "strain": 0.02, "displacement": 0.08}},
    "select": {"initial": 10, "batch": 5},
    "label": {"engine": "spin-lattice", "settings": {}},
    "train": {
        "family": "mmtp",
        "ensemble": 2,
        "settings": {"level": 6, "cutoff": 4.5, "n_radial": 5, "max_iterations": 6},
    },
    "stop": {"targets": {"energy_mev_per_atom": 0.01}, "labels": 20},
    "execution": {"workers": 2},
}


def merged(base: Any, change: Any) -> Any:
    """`base` with the mappings of `change` laid over it."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    return {**base, **{k: merged(base.get(k), v) for k, v in change.items()}}


@pytest.fixture(scope="session")
def write_campaign():
    """Writes the tiny campaign with changes to a path."""

    def write(path: Path, **changes: Any) -> Path:
        with path.open("w") as file:
            YAML(typ="safe").dump(merged(BASE, changes), file)
        return path

    return write


@pytest.fixture
def campaign_file(tmp_path: Path, write_campaign):
    """Writes the tiny campaign with changes to the test's folder."""

    def write(**changes: Any) -> Path:
        return write_campaign(tmp_path / "tiny.yaml", **changes)

    return write
