"""Extrapolation grade of every atom, level 12: the active set from 8000 environments, and the grades of 8000 others.

Basis values and neighbour lists are part of both. The peer is motep's grader on the linear coefficients: one active
set for both species, where ours has one per species, so the grades are not the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType

from magflow.core.frame import Frame
from magflow.potentials.mmtp.grade import select_active_set
from mmtp_peers.systems import REPEATS, atoms_of, bcc, shared_file
from mmtp_peers.timing import Row, race

LEVELS = (12, 16)
ATOMS = 16


def rows(peers: Mapping[str, ModuleType], *, quick: bool) -> list[Row]:
    """Selecting and grading, ours and motep's."""
    n = 50 if quick else 500
    known, fresh = ([bcc(REPEATS[ATOMS], seed) for seed in range(at, at + n)] for at in (0, n))
    out = []
    for level in LEVELS[:1] if quick else LEVELS:
        for what, calls in contenders(level, known, fresh, peers).items():
            seconds = race(calls, rounds=3)
            case = f"level {level}, {n * ATOMS} environments, {what}"
            out += [Row("grades", case, who, s, "s", s / seconds["magflow"]) for who, s in seconds.items()]
    return out


def contenders(
    level: int, known: list[Frame], fresh: list[Frame], peers: Mapping[str, ModuleType]
) -> dict[str, dict[str, Callable[[], object]]]:
    """Calls that select from `known` and that grade `fresh`."""
    one, text = shared_file(level)
    graded = replace(one, active=select_active_set(one, one.geometry(known)))
    select: dict[str, Callable[[], object]] = {"magflow": lambda: select_active_set(one, one.geometry(known))}
    grade: dict[str, Callable[[], object]] = {"magflow": lambda: graded.atom_grades(fresh)}
    if "motep" in peers:
        grader = peers["motep"].grader_of(text)
        images, others = [atoms_of(f) for f in known], [atoms_of(f) for f in fresh]
        select["motep"] = lambda: grader.update(images)
        grade["motep"] = lambda: grader.grade(others)
    return {"active set": select, "grades": grade}
