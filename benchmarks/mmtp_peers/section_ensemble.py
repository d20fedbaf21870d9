"""Five potentials in one call against five calls of one, level 12, the default (even) form, from atoms."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.model import Form
from mmtp_peers.systems import REPEATS, bcc, potential
from mmtp_peers.timing import Row, race

LEVEL, MEMBERS = 12, 5


def rows(peers: Mapping[str, ModuleType], *, quick: bool) -> list[Row]:
    """Many small cells, and one large one."""
    del peers
    members = [potential(LEVEL, form=Form.EVEN, seed=seed) for seed in range(MEMBERS)]
    ensemble = PotentialEnsemble(tuple(members), "mmtp")
    out = []
    for what, frames in (
        ("64 x 16 atoms", [bcc(REPEATS[16], seed) for seed in range(64)]),
        ("1 x 1024 atoms", [bcc(REPEATS[1024], 1)]),
    ):
        calls = {
            "one call: mean, deviation": lambda frames=frames: ensemble.predict(frames),
            f"{MEMBERS} calls": lambda frames=frames: [m.predict(frames) for m in members],
            "one member": lambda frames=frames: members[0].predict(frames),
        }
        seconds = race(calls, rounds=3 if quick else 7)
        base = seconds["one call: mean, deviation"]
        out += [Row("ensemble", what, who, 1e6 * s / 1024, "us/atom", s / base) for who, s in seconds.items()]
    return out
