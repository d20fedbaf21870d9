"""Forces, loss and its gradient, and products with the Hessian, by level: what a fit and second derivatives cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np

from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.residuals import MmtpWeights, Problem
from mmtp_peers.systems import REPEATS, bcc, disturbed, labels_of, potential
from mmtp_peers.timing import Row, race

LEVELS = (8, 12, 16, 20)
VECTORS = 8
FRAMES = 40
WEIGHTS = MmtpWeights(energy=100.0, forces=10.0, stress=30.0, magnetic_forces=20.0)


def rows(peers: Mapping[str, ModuleType], *, quick: bool) -> list[Row]:
    """us per atom, of one product and one gradient; all 128 atoms or 40 cells of 16, the default (even) form."""
    del peers
    out = []
    frame = bcc(REPEATS[128], seed=128)
    vectors = np.random.default_rng(1).normal(size=(VECTORS, len(frame), 4))
    frames = [bcc(REPEATS[16], seed) for seed in range(FRAMES)]
    for level in LEVELS[:2] if quick else LEVELS:
        one = potential(level, form=Form.EVEN)
        geometry, start = one.geometry([frame]), disturbed(one)
        problem = Problem.of(start.model, labels_of(frames, one), np.ones(FRAMES, dtype=int), WEIGHTS)
        unknowns = np.concatenate([start.model.parameters, np.zeros(problem.size - len(start.model.parameters))])
        calls: dict[str, Callable[[], object]] = {
            "forces": lambda one=one, g=geometry: one.evaluate(g),
            "loss and its gradient": lambda p=problem, u=unknowns: p.loss_and_gradient(u),
            "product with the Hessian": lambda one=one: one.hessian_vector_product(frame, vectors),
        }
        atoms = {"loss and its gradient": 16 * FRAMES, "product with the Hessian": VECTORS * len(frame)}
        seconds = race(calls, rounds=3 if quick else 5)
        us = {what: 1e6 * s / atoms.get(what, len(frame)) for what, s in seconds.items()}
        out += [Row("derivatives", f"level {level}", what, v, "us/atom", v / us["forces"]) for what, v in us.items()]
    return out
