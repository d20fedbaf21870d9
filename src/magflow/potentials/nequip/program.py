"""nequip as a program beside magflow, and with its extension nequip-allegro."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from magflow.potentials.nequip.settings import Architecture
from magflow.potentials.outside.process import Program

NEQUIP = Program("nequip", "nequip", Path(__file__).parent / "runtime" / "backend.py")
ALLEGRO = replace(NEQUIP, name="nequip-allegro", needs=("nequip-allegro",))
PROGRAMS = {Architecture.NEQUIP: NEQUIP, Architecture.ALLEGRO: ALLEGRO}
"""What trains and evaluates networks of each kind."""
