"""E + F + stress + dE/dm at level 12: magflow, motep, JAX and numba.

"lists given": each route has the pairs and their vectors in its own layout. "from atoms": neighbours, layout, results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.potentials.mmtp.potential import MmtpPotential
from mmtp_peers.systems import REPEATS, atoms_of, bcc, shared_file
from mmtp_peers.timing import Row, race

LEVEL = 12
TOLERANCE = 1e-9
GIVEN, FROM_ATOMS = "lists given", "from atoms"


def rows(peers: Mapping[str, ModuleType], *, quick: bool) -> list[Row]:
    """One case per size and per way to the neighbours."""
    out = []
    one, text = shared_file(LEVEL)
    for n in (16, 1024) if quick else (16, 128, 1024, 8192):
        frame = bcc(REPEATS[n], seed=n)
        given, whole = contenders(one, text, frame, peers)
        cases = {GIVEN: given, FROM_ATOMS: whole} if n <= 1024 else {GIVEN: given}
        for way, calls in cases.items():
            seconds = race(calls, rounds=3 if quick else 7)
            for who, value in seconds.items():
                us = 1e6 * value / n
                out.append(Row("evaluate", f"{n} atoms, {way}", who, us, "us/atom", value / seconds["magflow"]))
    return out


def contenders(
    one: MmtpPotential, text: str, frame: Frame, peers: Mapping[str, ModuleType]
) -> tuple[dict[str, Callable[[], object]], dict[str, Callable[[], object]]]:
    """Calls with the neighbour list given and from atoms, of every route, after a check that they agree."""
    n, geometry = len(frame), one.geometry([frame])
    prediction = one.predict_geometry(geometry)
    expected = {
        "energy": prediction.energy[0],
        "forces": prediction.forces,
        "stress": prediction.stress[0],
        "moment": -prediction.magnetic_forces[:, 2],
    }
    given: dict[str, Callable[[], object]] = {"magflow": lambda: one.predict_geometry(geometry)}
    whole: dict[str, Callable[[], object]] = {"magflow": lambda: one.predict([frame])}
    for name in ("jax", "numba"):
        if name in peers:
            route = (peers[name].JaxRoute if name == "jax" else peers[name].NumbaRoute)(one.model)
            prepared = route.prepare(geometry)
            check(name, route.results(prepared, n, frame.volume), expected)
            given[name] = lambda route=route, prepared=prepared: route.evaluate(prepared)
            whole[name] = lambda route=route: route.evaluate(route.prepare(one.geometry([frame])))
    if "motep" in peers:
        add_motep(peers["motep"], text, frame, expected, given, whole, numba="numba" in peers)
    return given, whole


def add_motep(
    motep: ModuleType,
    text: str,
    frame: Frame,
    expected: dict[str, Any],
    given: dict[str, Callable[[], object]],
    whole: dict[str, Callable[[], object]],
    *,
    numba: bool,
) -> None:
    """motep's engines, with its own list (50 neighbours, for its skin) and with the 26 within the cutoff."""
    atoms, data = atoms_of(frame), motep.data_of(text)
    for name in ("cext", "numba") if numba else ("cext",):
        for tight, note in ((True, "26 neighbours"), (False, "its own list")):
            engine = motep.listed(motep.engine_of(data, name), atoms, tight=tight)
            check(f"motep {name}", motep.results(engine, atoms), expected)
            given[f"motep {name}, {note}"] = lambda engine=engine: engine.calculate(atoms)
    whole["motep cext, list by vesin"] = lambda: motep.listed(motep.engine_of(data), atoms, tight=True).calculate(atoms)
    whole["motep cext, as it is"] = lambda: motep.engine_of(data).calculate(atoms)


def check(who: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Stop unless `who` agrees: energy per atom, forces, stress and dE/dm, absolute."""
    for quantity, value in expected.items():
        error = float(np.abs(np.asarray(found[quantity]) - value).max())
        if quantity == "energy":
            error /= len(expected["forces"])
        if not error < TOLERANCE:
            raise SystemExit(f"{who} disagrees: {quantity} by {error:.1e}")
