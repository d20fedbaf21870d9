"""What a DFT code can do wrong, 40 ways: a failed label that says so, never an exception, nothing left running.

Ways that one calculation cannot see - a wrong energy with everything else right - are found among its siblings
(``tests/unit/makers/test_judging_labels.py``).
"""

from __future__ import annotations

import sys
from pathlib import Path

import faulty_abinit
import numpy as np
import psutil
import pytest
from faulty_abinit import DEAF, FAULT, FAULTS

from magflow.core.label import FailureKind
from magflow.dft.abinit import AbinitEngine
from magflow.makers.base import Campaign
from magflow.makers.judging import compared, judged, sibling
from magflow.makers.label_document import label_document

GOOD = {"ok", "log-not-text", "log-huge", "child-in-group", "child-in-session", "leaves-directories"}
"""Nothing is wrong with these labels."""

BY_SIBLINGS = {"energy-off-by-48-eV"}
"""Only other labels tell."""

KINDS = {
    "moment-flipped": FailureKind.MOMENT_TARGET_MISSED,
    "moment-nan": FailureKind.TRUNCATED_OUTPUT,
    "moment-stars": FailureKind.TRUNCATED_OUTPUT,
    "moment-runs-together": FailureKind.TRUNCATED_OUTPUT,
    "other-structure": FailureKind.INCONSISTENT,
    "forces-do-not-cancel": FailureKind.INCONSISTENT,
    "forces-huge": FailureKind.INCONSISTENT,
    "all-zero": FailureKind.INCONSISTENT,
    "energy-1e300": FailureKind.INCONSISTENT,
    "hang": FailureKind.TIME_LIMIT,
    "hang-deaf-to-SIGTERM": FailureKind.TIME_LIMIT,
    "child-then-hang": FailureKind.TIME_LIMIT,
    "killed": FailureKind.CRASH,
    "abort-with-core": FailureKind.CRASH,
    "log-huge-error": FailureKind.CRASH,
}
FAST = ("moment-stars", "moment-runs-together", "child-in-session", "leaves-directories", "output-is-pipe")


@pytest.fixture
def computed(datasets, feal, tmp_path, monkeypatch):
    def compute(fault: str):
        monkeypatch.setenv(FAULT, fault)
        engine = AbinitEngine(
            command=f"{sys.executable} {faulty_abinit.__file__}",
            kpoints=(1, 1, 1),
            time_limit_s=5.0 if "hang" in fault else 300.0,
            attempts=1,
        )
        level = engine.level_of_theory(["Al", "Fe"])
        folder = tmp_path / fault
        folder.mkdir()
        return judged(feal, engine.label(feal, level, folder))

    return compute


def judge(label, fault: str, folder: Path) -> None:
    assert label.ok == (fault in GOOD | BY_SIBLINGS), label.failure
    if not label.ok:
        assert label.failure.message
        assert label.failure.kind == KINDS.get(fault, label.failure.kind)
    else:
        assert np.isfinite(label.energy)
    deaf = [p for p in psutil.process_iter(["cmdline"]) if DEAF in (p.info["cmdline"] or ())]
    assert deaf == []
    left = {path.name for path in folder.glob("attempt-*/*")}
    assert left <= {"run.abi", "run.abo"}


@pytest.mark.parametrize("fault", [pytest.param(f, marks=() if f in FAST else pytest.mark.slow) for f in FAULTS])
def test_it_is_named(computed, tmp_path, fault):
    before = psutil.Process().memory_info().rss
    judge(computed(fault), fault, tmp_path / fault)
    assert psutil.Process().memory_info().rss - before < 200e6


@pytest.mark.slow
def test_an_energy_far_from_its_siblings_is_suspect(computed, feal):
    right, campaign = computed("ok"), Campaign("1", "faults", ["Al", "Fe"], 0)
    others = [sibling(label_document(feal, right, campaign, "abinit", "given", i)) for i in range(12)]
    found = compared(feal, computed("energy-off-by-48-eV"), others, [])
    assert found.failure.kind == FailureKind.SUSPECT
