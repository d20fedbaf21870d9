"""Names that magflow 0.1 wrote into files and databases still lead to what they named."""

from __future__ import annotations

import os
import runpy
import sys
from importlib import import_module

import pytest

from magflow.core.moved import MOVED

WRITTEN_DOWN = {
    "magflow.execution.cluster_pilot": "pilots in DIR/queue/*.yaml",
    "magflow.execution.fireworks_task": "tasks on a LaunchPad",
    "magflow.execution.remote_run": "execution_cmd of a project of jobflow-remote",
}


@pytest.mark.parametrize("name", WRITTEN_DOWN)
def test_a_module_is_found_under_its_former_name_and_is_not_made_twice(name):
    if name.endswith("task"):
        pytest.importorskip("fireworks", reason="FireWorks is not installed")
    assert import_module(name) is import_module(MOVED[name])
    assert import_module(MOVED[name]).__name__ == MOVED[name]


def test_a_name_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match="no_such_wing"):
        import_module("magflow.execution.no_such_wing")


def test_a_pilot_of_a_cluster_described_by_an_older_magflow_starts(tmp_path, monkeypatch, capsys):
    """As ``python -m`` does; the folder holds no cluster, so that it ends at once and says so."""

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(sys, "argv", ["pilot", str(tmp_path), "dft"])
    monkeypatch.delitem(sys.modules, "magflow.execution.cluster_pilot", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("magflow.execution.cluster_pilot", run_name="__main__")
    assert ended.value.code == 2
    assert "no cluster is described here" in capsys.readouterr().out
