"""nequip as a program beside magflow."""

from __future__ import annotations

from pathlib import Path

from magflow.potentials.outside.process import Program

NEQUIP = Program("nequip", "nequip", Path(__file__).parent / "runtime" / "backend.py")
