"""``magflow displace``: few frames, whose labels tell force constants."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from exact_potentials import bcc
from magflow import displace
from magflow.cli.app import app
from magflow.errors import InputError
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.properties.displaced import moved_by

runner = CliRunner()


def test_frames_are_as_few_as_moments_allow(tmp_path):
    start, out = tmp_path / "fe.extxyz", tmp_path / "displaced.extxyz"
    counts = {}
    for state, moments in {"FM": [2.2, 2.2], "AFM": [2.2, -2.2], "FiM": [2.2, 1.0]}.items():
        write_extxyz(start, [bcc(2.84).replace(magmoms=moments)])
        done = runner.invoke(
            app, ["displace", str(start), "--repeat", "1", "1", "2", "--distance", "0.02", "-o", str(out)]
        )
        assert done.exit_code == 0, done.output
        perfect, *moved = [record.frame for record in read_extxyz(Path(out))]
        counts[state] = len(moved)
        assert len(perfect) == 4 and f"wrote {1 + len(moved)} frames of 4 atoms" in done.stdout
        for frame in moved:
            sizes = np.linalg.norm(moved_by(perfect, frame), axis=1)
            assert sorted(sizes)[:3] == pytest.approx([0.0] * 3, abs=1e-8) and sizes.max() == pytest.approx(0.02)
    told = runner.invoke(app, ["displace", str(start), "-o", str(out), "--json"])
    assert json.loads(told.stdout) == {"output": str(out), "frames": len(read_extxyz(out)), "atoms": 2}
    assert counts["FM"] == 1 < counts["FiM"]
    assert counts["AFM"] <= counts["FiM"]


@pytest.mark.parametrize(("options", "where"), [({"repeat": (0, 1, 1)}, "repeat"), ({"distance": 0.0}, "distance")])
def test_what_it_refuses(options, where):
    with pytest.raises(InputError) as caught:
        displace(bcc(2.84), **options)
    assert caught.value.where == where
