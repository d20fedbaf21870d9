"""A house of its own for every test: settings, cache, small stand-in datasets and a stand-in ABINIT."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import replay_vasp
from magflow.core.frame import Frame
from magflow.dft.abinit import AbinitEngine
from magflow.dft.process import Finished, tail

FAKE = Path(__file__).with_name("fake_abinit.py")
HAVE_ABINIT = shutil.which("abinit") is not None and Path("/usr/share/gpaw-setups/Fe.PBE.gz").is_file()

DATASET = """<?xml version="1.0"?>
<paw_setup version="0.6">
  <atom symbol="{element}" Z="{z}" core="18.0" valence="{valence}"/>
  <xc_functional type="GGA" name="{functional}"/>
  <valence_states><state n="4" l="0" f="2"  rc="2.200" e="-0.19444" id="{element}-4s"/></valence_states>
</paw_setup>
"""


@pytest.fixture(autouse=True)
def house(tmp_path, monkeypatch):
    """Settings that come from nowhere but the test."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAGFLOW_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    """A folder of stand-in datasets (headers only): Fe and Al packed PBE, Cr plain LDA."""
    folder = tmp_path / "setups"
    folder.mkdir()
    for element, z, valence in (("Fe", 26, 8), ("Al", 13, 3)):
        text = DATASET.format(element=element, z=z, valence=valence, functional="PBE")
        (folder / f"{element}.PBE.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (folder / "Cr.LDA.xml").write_text(DATASET.format(element="Cr", z=24, valence=6, functional="PW"))
    monkeypatch.setenv("MAGFLOW_DATASET_DIRS", json.dumps([str(folder)]))
    return folder


@pytest.fixture
def fake(datasets, monkeypatch):
    """Make engines whose ABINIT is a script that reproduces what the real one leaves behind."""

    def build(mode: str = "ok", **settings) -> AbinitEngine:
        monkeypatch.setenv("FAKE_ABINIT", mode)
        return AbinitEngine(command=f"{sys.executable} {FAKE}", **{"kpoints": (1, 1, 1)} | settings)

    return build


@pytest.fixture
def iron() -> Frame:
    """Primitive bcc Fe at 2.836 A, 2.2 muB."""
    half = 2.836 / 2
    cell = half * (np.ones((3, 3)) - 2 * np.eye(3))
    return Frame(("Fe",), cell, [[0, 0, 0]], [2.2])


@pytest.fixture
def feal() -> Frame:
    """Two-atom B2 FeAl, off its symmetric positions."""
    return Frame(("Fe", "Al"), 2.884 * np.eye(3), [[0.02, 0, 0], [1.47, 1.44, 1.40]], [1.5, -0.02])


@pytest.fixture
def abinit():
    """The real ABINIT with the datasets of gpaw-data, or a visible skip."""
    if not HAVE_ABINIT:
        pytest.skip("abinit and gpaw-data are not installed")


@pytest.fixture
def potcars(tmp_path, monkeypatch):
    """A folder of stand-in POTCARs (headers only) where pymatgen looks for them."""
    from pymatgen.core import SETTINGS

    folder = replay_vasp.write_potcars(tmp_path / "potcars")
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(folder))
    return folder


@pytest.fixture
def replayed(potcars, monkeypatch):
    """VASP replayed in this process; the value lists the folders it ran in."""
    runs: list[Path] = []

    def run(command, *, cwd, log, env=None, time_limit_s=None):
        runs.append(cwd)
        with contextlib.chdir(cwd), log.open("w") as sink, contextlib.redirect_stdout(sink):
            returncode = replay_vasp.main()
        return Finished(returncode, False, 1.0, 1.0, tail(log))

    monkeypatch.setattr("magflow.dft.calculation.run_program", run)
    return runs
