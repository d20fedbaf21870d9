"""Cost per atom against size and level, and of each instruction set."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from magflow.potentials.mmtp.native import kernel
from mmtp_peers.systems import REPEATS, atoms_of, bcc, potential, shared_file
from mmtp_peers.timing import Row, race

FLAT = 12
"""Level whose cost per atom is to be flat."""


def rows(peers: Mapping[str, ModuleType], *, quick: bool) -> list[Row]:
    """Sizes by levels, the spread, the instruction sets, and motep's C engine at the same levels."""
    sizes, levels = ((16, 128, 1024), (8, 12)) if quick else ((16, 128, 1024, 8192), (8, 12, 16, 20))
    out: list[Row] = []
    frames = {n: bcc(REPEATS[n], seed=n) for n in sizes}
    for level in levels:
        one = potential(level)
        geometries = {n: one.geometry([frame]) for n, frame in frames.items()}
        calls = {n: (lambda g=g, one=one: one.predict_geometry(g)) for n, g in geometries.items()}
        cost = {n: 1e6 * s / n for n, s in race(calls, rounds=3 if quick else 7).items()}
        out += [Row("cost", f"level {level}, {n} atoms", "magflow", us, "us/atom") for n, us in cost.items()]
        if level == FLAT:
            spread = max(cost.values()) / min(cost.values())
            out.append(Row("cost", f"level {level}, {sizes[0]} to {sizes[-1]} atoms", "magflow", spread, "max/min"))
    return out + instruction_sets(levels, quick=quick) + (motep(peers["motep"], levels) if "motep" in peers else [])


def instruction_sets(levels: tuple[int, ...], *, quick: bool) -> list[Row]:
    """The kernel alone, 1024 atoms."""
    out: list[Row] = []
    for level in levels:
        one = potential(level)
        model, geometry = one.model, one.geometry([bcc(REPEATS[1024], seed=1024)])
        packings = {name: geometry.packing(len(model.species), name) for name in kernel().instruction_sets()}
        rest = (geometry.moment, geometry.vector)
        calls = {
            name: lambda model=model, packing=packing, rest=rest: kernel().evaluate(
                model.spec, model.parameters, packing, *rest
            )
            for name, packing in packings.items()
        }
        cost = {name: 1e6 * s / 1024 for name, s in race(calls, rounds=3 if quick else 7).items()}
        best = min(cost.values())
        out += [
            Row("cost", f"level {level}, 1024 atoms, kernel", name, us, "us/atom", us / best)
            for name, us in cost.items()
        ]
    return out


def motep(route: ModuleType, levels: tuple[int, ...]) -> list[Row]:
    """motep's C engine, 26 neighbours, 1024 atoms."""
    out = []
    frame = bcc(REPEATS[1024], seed=1024)
    atoms = atoms_of(frame)
    for level in levels:
        one, text = shared_file(level)
        engine = route.listed(route.engine_of(route.data_of(text)), atoms, tight=True)
        geometry = one.geometry([frame])
        seconds = race(
            {
                "magflow": lambda one=one, g=geometry: one.predict_geometry(g),
                "motep": lambda engine=engine: engine.calculate(atoms),
            },
            rounds=3,
        )
        ratio = seconds["motep"] / seconds["magflow"]
        us = 1e6 * seconds["motep"] / 1024
        out.append(Row("cost", f"level {level}, 1024 atoms", "motep cext, 26 neighbours", us, "us/atom", ratio))
    return out
