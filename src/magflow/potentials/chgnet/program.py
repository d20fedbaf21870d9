"""chgnet as a program beside magflow."""

from __future__ import annotations

from pathlib import Path

from magflow.potentials.outside.process import Program

CHGNET = Program("chgnet", "chgnet", Path(__file__).parent / "runtime" / "backend.py")
