"""What every test may use: the folder of reference data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# First imports under load take longer than hypothesis allows one example.
settings.register_profile("magflow", deadline=None)
settings.load_profile("magflow")

_DEFAULT = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of reference data; the test is skipped, visibly, without it."""
    folder = Path(os.environ.get("MAGFLOW_REFERENCE_DATA", _DEFAULT))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set MAGFLOW_REFERENCE_DATA")
    return folder


@pytest.fixture(scope="session")
def deepmd_kit() -> None:
    """The test runs deepmd-kit; it is skipped, visibly, where there is none."""
    from magflow.potentials.deepmd.child import probe

    found = probe()
    if not found.ok:
        pytest.skip(f"{found.detail}; {found.hint}")
