"""A script plays nequip where a test needs none of its numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from magflow.potentials.outside import following, process

FAKE = Path(__file__).with_name("fake_nequip.py")


@pytest.fixture
def fake_nequip(tmp_path, monkeypatch):
    """Sets how the stand-in behaves; returns the setter."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("MAGFLOW_NEQUIP_PYTHON", str(python))
    monkeypatch.setattr(following, "_POLL_S", 0.01)
    process._versions.cache_clear()
    yield lambda mode: monkeypatch.setenv("FAKE_NEQUIP", mode)
    process._versions.cache_clear()
