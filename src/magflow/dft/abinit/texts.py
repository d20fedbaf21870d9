"""ABINIT's log and main output, line by line: each is read once, whatever its size, and little of it is kept."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from magflow.core.types import FloatArray
from magflow.dft.runs import TruncatedOutputError

_TITLE = "Integrated electronic and magnetization densities in atomic spheres:"
_COLUMNS = ("Diff(up-dn)", "mag(z)")
"""The column of the moment in a collinear table, and in that of later versions and non-collinear runs."""
_STEP = re.compile(r"^ ETOT\s*(\d+)\s+\S+\s+\S+\s+\S+\s+(\S+)")
_TAIL = 10  # last steps of an SCF cycle that are kept
_ERRORS = ("--- !ERROR", "--- !BUG")
_SUMMARY = "--- !FinalSummary"
_KEPT = 1000  # lines of one message, or of the summary


@dataclass(frozen=True)
class Log:
    """What a log says: ABINIT's own first error message on one line, its closing summary, whether an SCF cycle ended
    before its criterion was met, the number of SCF steps.
    """

    error: str
    summary: str
    unconverged: bool
    steps: int

    def field(self, name: str) -> str:
        """A word of the summary; empty if it is not there."""
        found = re.search(rf"^{name}:\s*(\S+)", self.summary, re.MULTILINE)
        return found.group(1) if found else ""


@dataclass(frozen=True)
class MainOutput:
    """What ``run.abo`` says: whether it is complete, the last SCF step and its residual, the last lines of the SCF
    cycle, the last table of sphere integrals.
    """

    completed: bool
    steps: int
    residual: float
    scf_tail: str
    table: tuple[str, ...]


def read_log(lines: Iterable[str]) -> Log:
    """Read a log; an error message that is cut short counts as none."""
    error, message, summary = "", list[str](), list[str]()
    state, unconverged, steps = "", False, 0
    for line in lines:
        if _SUMMARY in line:
            state, summary = "summary", []
        elif not error and state != "message" and line in _ERRORS:
            state = "head"
        elif state == "head" and line == "message: |":
            state, message = "message", []
        elif state == "message":
            if line.startswith("..."):
                state, error = "", " ".join(" ".join(message).split())
            elif len(message) < _KEPT:
                message.append(line)
        elif state == "summary" and len(summary) < _KEPT:
            summary.append(line)
        unconverged = unconverged or "!ScfConvergenceWarning" in line
        steps = _number(line, steps) if line.startswith(" ETOT") else steps
    return Log(error, "\n".join(summary), unconverged, steps)


def read_main_output(lines: Iterable[str], n_atoms: int) -> MainOutput:
    """Read a main output; the table of a run of `n_atoms` atoms is kept, with a little more to see if it is longer."""
    completed, last, table, taken = False, "", list[str](), False
    steps = deque[str](maxlen=_TAIL)
    for line in lines:
        completed = completed or "Calculation completed" in line
        if line.startswith(" ETOT"):
            steps.append(line)
            last = line if _STEP.match(line) else last
        if _TITLE in line:
            table, taken = [], True
        elif taken and len(table) < n_atoms + 50:
            table.append(line)
    step = _STEP.match(last)
    return MainOutput(
        completed,
        int(step[1]) if step else 0,
        _float(step[2]) if step else math.nan,
        "\n".join(steps),
        tuple(table),
    )


def wavering(scf_tail: str) -> tuple[float, float]:
    """How far the energy (hartree) and a force (Ha/bohr) still go to and fro in the last ten steps of an SCF cycle.

    Columns of a step: its number, energy, its change, residuals of wavefunctions and potential, the largest change of
    a force since the step before, the largest force. Infinity if there are fewer steps, or they do not say.
    """
    rows = [line.split()[1:] for line in scf_tail.splitlines()]
    if len(rows) < _TAIL or any(len(row) < 7 for row in rows):
        return math.inf, math.inf
    energies, changes, largest = (np.array([_float(row[i]) for row in rows]) for i in (1, 5, 6))
    found = np.ptp(energies), max(changes.max(), np.ptp(largest))
    return (float(found[0]), float(found[1])) if np.isfinite(found).all() else (math.inf, math.inf)


def read_moments(table: Iterable[str], n_atoms: int) -> FloatArray:
    """(N,) moments, muB, of a table of sphere integrals (its lines after the title).

    Raises
    ------
    TruncatedOutputError
        If it is not there, cut short, of another number of atoms, or a moment is no number.
    """
    rows = list(table)
    header = next((i for i, line in enumerate(rows) if line.split()[:2] == ["Atom", "Radius"]), None)
    if header is None:
        raise TruncatedOutputError("there is no table of moments in the output")
    names = re.split(r"\s{2,}", rows[header].strip())
    column = next((names.index(name) for name in _COLUMNS if name in names), None)
    moments: list[float] = []
    closed = False
    for line in rows[header + 1 :]:
        words = line.split()
        if len(words) > 1 and words[1].isalpha() and words[1].istitle():
            del words[1]  # later versions add the element
        closed = line.startswith(" ---")
        if closed or column is None or not words or words[0] != str(len(moments) + 1):
            break
        moments.append(_moment(words, column, len(names)))
    if not closed:
        raise TruncatedOutputError("the table of moments is cut short")
    if len(moments) != n_atoms:
        raise TruncatedOutputError(f"the table of moments holds {len(moments)} atoms instead of {n_atoms}")
    return np.array(moments)


def moments_in(abo: Iterable[str], n_atoms: int) -> FloatArray:
    """(N,) moments, muB: the last table of sphere integrals in a main output. Raises as :func:`read_moments`."""
    return read_moments(read_main_output(abo, n_atoms).table, n_atoms)


def _moment(words: list[str], column: int, columns: int) -> float:
    """Fortran fills a field that is too narrow with stars, which may run into its neighbours."""
    if len(words) < columns:
        raise TruncatedOutputError(f"columns of the table of moments run together at atom {words[0]}, or are cut short")
    value = _float(words[column])
    if not math.isfinite(value):
        raise TruncatedOutputError(f"the moment of atom {words[0]} is no number: {words[column]}")
    return value


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def _number(line: str, before: int) -> int:
    found = _STEP.match(line)
    return int(found[1]) if found else before
