"""A run says how many tests were held against numbers of others, and how many could not be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
THREE = """
import conftest
import pathlib
import pytest

@pytest.fixture
def reference_data(request):
    if request.param == "absent":
        return conftest.ReferenceData(pathlib.Path("/nowhere")) / "iron"
    if request.param == "no program":
        pytest.skip("no program")

@pytest.mark.parametrize("reference_data", ["here", "there", "absent", "no program"], indirect=True)
def test_oracle(reference_data):
    pass

def test_other():
    pass
"""


def test_the_summary_counts_what_ran_and_what_was_skipped(tmp_path):
    (tmp_path / "test_three.py").write_text(THREE)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    env = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'scripts'}"}
    done = subprocess.run([*command, "."], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reference data: 2 oracles ran, 1 skipped for lack of it; `make reference-data`" in done.stdout
