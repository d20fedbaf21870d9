"""All ionic steps of an OUTCAR: geometry, energy, forces, stress and moments.

For labels that exist; what a run of our own left is read by :mod:`magflow.dft.vasp.output`. Energies are TOTEN, the
free energy, which holds no PV. Positions have five decimals in an OUTCAR, those of ``vasprun.xml`` eight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.dft.runs import TruncatedOutputError

_KB = -0.1 / EV_PER_A3_IN_GPA
"""VASP's kB, positive in compression, to eV/A^3, positive in tension."""
_KB_ORDER = [0, 1, 2, 4, 5, 3]
"""XX YY ZZ XY YZ ZX to xx yy zz yz xz xy."""
_TOTEN = re.compile(r"free  energy   TOTEN\s*=\s*(\S+) eV")
_SETTING = re.compile(r"^\s*([A-Z_0-9]+)\s*=\s*(\S+)")
_SETTINGS = frozenset(
    {
        *("ISPIN", "LNONCOLLINEAR", "LSORBIT", "ENCUT", "ISMEAR", "GGA", "METAGGA", "LDAU", "IVDW"),
        "I_CONSTRAINED_M",
    }
)


@dataclass
class Step:
    """One ionic step, house units, atoms in VASP's order; what is not there is None."""

    cell: FloatArray | None = None
    positions: FloatArray | None = None
    energy: float | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    moments: dict[str, FloatArray] = field(default_factory=dict)
    converged: bool = False


@dataclass
class Head:
    """What an OUTCAR says before its first step: version, elements of all atoms, POTCARs, settings as written."""

    version: str = ""
    titles: list[str] = field(default_factory=list)
    potcars: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def species(self) -> tuple[str, ...]:
        """(N,) elements."""
        titles = (self.titles or self.potcars)[: len(self.counts)]
        if not titles or len(titles) < len(self.counts):
            raise TruncatedOutputError("OUTCAR does not say which atoms there are")
        symbols = [re.split(r"[_.]", title.split()[1])[0] for title in titles]
        return tuple(s for s, n in zip(symbols, self.counts, strict=True) for _ in range(n))


class Lines:
    """Lines of a file, one after the other, with a look at a table."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def rows(self, count: int, skip: int) -> list[list[str]]:
        """Words of `count` lines after `skip` others; fewer where the file ends."""
        taken = [line.split() for _, line in zip(range(skip + count), self._lines, strict=False)]
        return taken[skip:]


def read_steps(lines: Iterable[str]) -> Iterator[tuple[Head, Step]]:
    """The finished steps of an OUTCAR.

    Raises
    ------
    TruncatedOutputError
        If a number is malformed, or it does not say which atoms there are.
    """
    head, step, source = Head(), Step(), Lines(lines)
    for line in source:
        try:
            done = _take(line, source, head, step)
        except (ValueError, IndexError) as error:
            raise TruncatedOutputError(f"OUTCAR is damaged at `{line.strip()[:60]}`: {error}") from error
        if done:
            yield head, step
            step = Step(cell=step.cell)


def _take(line: str, source: Lines, head: Head, step: Step) -> bool:
    """Put what `line` begins into `head` or `step`; True where it ends the step."""
    if line.startswith(" vasp.") and not head.version:
        head.version = line.split()[0].removeprefix("vasp.")
    elif "TITEL  =" in line:
        head.titles.append(line.split("=", 1)[1].strip())
    elif line.startswith(" POTCAR: "):
        head.potcars.append(line.split(":", 1)[1].strip())
    elif "ions per type =" in line:
        head.counts = [int(word) for word in line.split("=", 1)[1].split()]
    elif "direct lattice vectors" in line and "positions" not in line:
        rows = source.rows(3, 0)
        step.cell = _numbers([row[:3] for row in rows], (3, 3))
    elif line.strip().startswith("magnetization (") and head.counts:
        step.moments[line.strip()[15]] = _moments(source, sum(head.counts))
    elif line.startswith("  in kB"):
        step.stress = _KB * _numbers([line.split()[2:8]], (1, 6))[0, _KB_ORDER]
    elif "TOTAL-FORCE (eV/Angst)" in line:
        n_atoms = len(head.species)
        table = _numbers([row[:6] for row in source.rows(n_atoms, 1)], (n_atoms, 6))
        step.positions, step.forces = table[:, :3], table[:, 3:]
    elif "aborting loop because EDIFF is reached" in line:
        step.converged = True
    elif found := _TOTEN.search(line):
        step.energy = float(found.group(1))
        return True
    elif (found := _SETTING.match(line)) and found.group(1) in _SETTINGS:
        head.settings.setdefault(found.group(1), found.group(2).rstrip(";"))
    return False


def _moments(source: Lines, n_atoms: int) -> FloatArray:
    """(N,) the last column of a table of moments."""
    rows = source.rows(n_atoms, 3)
    if any(row[0] != str(i) for i, row in enumerate(rows, start=1)):
        raise ValueError("a table of moments is not in order")
    return _numbers([[row[-1]] for row in rows], (n_atoms, 1))[:, 0]


def _numbers(rows: list[list[str]], shape: tuple[int, int]) -> FloatArray:
    values = np.array(rows, dtype=float)
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"{values.shape} numbers instead of {shape}")
    return values


def vectors(step: Step, settings: dict[str, str]) -> FloatArray | None:
    """(N, 3) moments of `step`, muB; None if they were not printed. Collinear ones lie along z."""
    if "x" not in step.moments:
        return None
    if settings.get("LNONCOLLINEAR", "F") == "T":
        if len(step.moments) < 3:
            raise TruncatedOutputError("OUTCAR lacks tables of a non-collinear run")
        return np.column_stack([step.moments[c] for c in "xyz"])
    zeros = np.zeros_like(step.moments["x"])
    return np.column_stack([zeros, zeros, step.moments["x"]])
