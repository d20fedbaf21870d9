"""Loss and gradient of a fit: energies, forces, stresses and magnetic forces of 16-atom configurations, level 12.

The weights are chosen so that motep's loss is the same number: nine components of the stress, here six with the
off-diagonal ones weighted by sqrt(2). Loss and gradient of all routes agree to 1e-9, relative, before they are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.core.types import FloatArray
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.residuals import MmtpWeights, Problem
from mmtp_peers.systems import REPEATS, bcc, disturbed, labels_of, shared_file
from mmtp_peers.timing import Row, race

LEVEL, ATOMS = 12, 16
TOLERANCE = 1e-9
WEIGHTS = MmtpWeights(energy=100.0, forces=10.0, stress=30.0, magnetic_forces=20.0)
SHEAR = slice(1 + 3 * ATOMS + 3, 1 + 3 * ATOMS + 6)
"""Rows yz, xz, xy of one frame."""
Call = Callable[[], tuple[float, FloatArray]]


def rows(peers: Mapping[str, ModuleType], *, quick: bool) -> list[Row]:
    """One case; the peers' preparation (lists, compilation) is not timed, nor is ours."""
    n = 40 if quick else 500
    truth, text = shared_file(LEVEL)
    items = labels_of([bcc(REPEATS[ATOMS], seed) for seed in range(n)], truth)
    start = disturbed(truth)
    problem = with_full_stress(Problem.of(start.model, items, np.ones(n, dtype=int), WEIGHTS), n)
    unknowns = np.concatenate([start.model.parameters, np.zeros(problem.size - len(start.model.parameters))])
    calls: dict[str, Call] = {"magflow": lambda: problem.loss_and_gradient(unknowns)}
    loss, gradient = problem.loss_and_gradient(unknowns)
    expected = loss, gradient[: len(start.model.parameters)]
    if "jax" in peers:
        jax = peers["jax"]
        route = jax.JaxRoute(start.model)
        prepared, targets = route.prepare(problem.geometry), jax.rows_of(problem, jax.BLOCK)
        calls["jax"] = lambda: route.loss_and_gradient(prepared, targets, start.model.parameters)
        check("jax", calls["jax"](), expected)
    if "motep" in peers:
        for tight, note in ((True, "26 neighbours"), (False, "its own list")):
            call = motep_call(peers["motep"], text, items, start, tight=tight)
            check("motep", call(), expected)
            calls[f"motep cext, {note}"] = call
    seconds = race(calls, rounds=3)
    case = f"{n} x {ATOMS} atoms, loss + gradient"
    return [Row("fit", case, who, 1e3 * s, "ms", s / seconds["magflow"]) for who, s in seconds.items()]


def with_full_stress(problem: Problem, n: int) -> Problem:
    """The same problem with the shear rows weighted by sqrt(2)."""
    weights = problem.targets.weights.reshape(n, -1).copy()
    weights[:, SHEAR] *= np.sqrt(2.0)
    return replace(problem, targets=replace(problem.targets, weights=weights.ravel()))


def motep_call(motep: ModuleType, text: str, items: list[LabeledFrame], start: MmtpPotential, *, tight: bool) -> Call:
    """motep's loss and its Jacobian by the parameters, in our order of parameters."""
    setting = motep.LossSetting(
        energy_weight=WEIGHTS.energy**2,
        forces_weight=WEIGHTS.forces**2,
        stress_weight=WEIGHTS.stress**2,
        mgrad_weight=WEIGHTS.magnetic_forces**2,
        energy_per_atom=True,
        forces_per_atom=False,
        stress_times_volume=True,
        energy_per_conf=False,
        forces_per_conf=False,
        stress_per_conf=False,
    )
    loss = motep.loss_of(motep.data_of(text), items, setting, tight=tight)
    radial, linear, single = parts(start)
    theirs = np.concatenate([linear, single, radial])

    def call() -> tuple[float, FloatArray]:
        value = loss(theirs)
        linear_, single_, radial_ = np.split(loss.jac(theirs), np.cumsum([len(linear), len(single)]))
        return float(value), np.concatenate([radial_, linear_, single_])

    return call


def parts(one: MmtpPotential) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Radial, linear and species coefficients."""
    model = one.model
    radial, linear, single = np.split(model.parameters, np.cumsum([model.n_radial, model.basis.n_scalar]))
    return radial, linear, single


def check(who: str, found: tuple[float, FloatArray], expected: tuple[float, FloatArray]) -> None:
    """Stop unless `who` agrees, relative to the loss and to the largest component of the gradient."""
    loss = abs(found[0] / expected[0] - 1)
    gradient = np.abs(found[1] - expected[1]).max() / np.abs(expected[1]).max()
    if not max(loss, gradient) < TOLERANCE:
        raise SystemExit(f"{who} disagrees: loss by {loss:.1e}, gradient by {gradient:.1e}, relative")
