"""Predictions that a joint relaxation of 16-atom Fe-Al cells takes, against other ways to the same end.

    python benchmarks/relax.py [--seeds 2] [--json FILE]

Model: the spin-lattice model Hamiltonian of Fe-Al. Starts: cells strained by up to 3 %, atoms displaced by 0.08 A per
component, random moments. All ways stop at the same residuals: 1e-3 eV/A, 0.01 GPa, 1e-3 eV/muB.

joint          moments, atoms and cell in one scaled vector (magflow.explore.relaxation.joint)
scipy          the same vector, scipy's L-BFGS-B
scipy unscaled strain, A and muB as they are, scipy's L-BFGS-B
envelope       the joint minimisation of atoms and cell; moments relaxed anew at every trial (envelope theorem)
ASE            ASE's BFGS with FrechetCellFilter on atoms and cell; moments relaxed anew in every call
blocks         moments at fixed atoms and cell, then atoms and cell at fixed moments, in turn

The second table is the moments alone, as MD re-equilibrates them: all frames on one prediction call per step, against
scipy's L-BFGS-B frame by frame.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from scipy.optimize import minimize

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.explore.relaxation.coordinates import JointCoordinates
from magflow.explore.relaxation.descent import Descent
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.joint import relax
from magflow.explore.relaxation.moments import relax_moments, relax_moments_many
from magflow.explore.relaxation.settings import RelaxSettings
from magflow.io.ase_atoms import to_atoms

BOUNDS = {"Fe": (0.0, 3.0), "Al": (0.0, 0.3)}
SETTINGS = RelaxSettings()
LIMIT = 3000
GRID = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)])


class Counted:
    """The model Hamiltonian, counting the frames it is asked for."""

    def __init__(self) -> None:
        self.model, self.frames = SpinLatticeModel(), 0

    def predict(self, frames: list[Frame]) -> Prediction:
        self.frames += len(frames)
        return self.model.predict(frames)


def start(system: str, seed: int) -> Frame:
    """A distorted 16-atom cell."""
    rng = np.random.default_rng(seed)
    species = {
        "B2 FeAl": ["Fe", "Al"] * 8,
        "D03 Fe3Al": [s for g in GRID for s in ("Fe", "Al" if g.sum() % 2 else "Fe")],
        "bcc Fe": ["Fe"] * 16,
        "random Fe12Al4": rng.permutation(["Fe"] * 12 + ["Al"] * 4).tolist(),
    }[system]
    cell = 2 * 2.88 * (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3)))
    fractions = (GRID[:, None] + np.array([[0, 0, 0], [0.5, 0.5, 0.5]])[None]).reshape(-1, 3) / 2
    moments = [rng.uniform(1.0, 2.8) if s == "Fe" else rng.uniform(-0.2, 0.2) for s in species]
    return Frame(tuple(species), cell, fractions @ cell + rng.normal(0, 0.08, (16, 3)), np.array(moments))


def left(frame: Frame, prediction: Prediction) -> bool:
    """Whether anything is above its tolerance."""
    free = JointCoordinates.free(frame, frozenset(), BOUNDS, 0.0)
    return bool(SETTINGS.unmet(free.residuals(frame, prediction)))


def joint(frame: Frame, model: Counted) -> bool:
    return relax(frame, model, BOUNDS).converged


class AtRestError(Exception):
    """Everything is at rest."""


def scipy_joint(frame: Frame, model: Counted, scaled: bool = True) -> bool:
    c = JointCoordinates.free(frame, frozenset(), BOUNDS, 0.0)
    low, high = c.bounds
    unit = np.ones_like(low) if scaled else c.scales

    def evaluate(z: np.ndarray) -> tuple[float, np.ndarray]:
        there = c.frame(z * unit)
        prediction = model.predict([there])
        if not left(there, prediction):
            raise AtRestError
        return c.objective(there, prediction), c.gradient(z * unit, prediction) * unit

    options = {"maxiter": LIMIT, "maxfun": LIMIT, "ftol": 0.0, "gtol": 0.0, "maxcor": 24}
    limits = list(zip(low / unit, high / unit, strict=True))
    try:
        minimize(evaluate, c.start / unit, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    except AtRestError:
        return True
    return False


def scipy_unscaled(frame: Frame, model: Counted) -> bool:
    return scipy_joint(frame, model, scaled=False)


def inner(frame: Frame, model: Counted) -> tuple[Frame, Prediction]:
    """The frame at its relaxed moments, and the prediction there, which the relaxation already paid for."""
    relaxed = relax_moments(frame, model, BOUNDS).frame
    return relaxed, model.model.predict([relaxed])


def envelope(frame: Frame, model: Counted) -> bool:
    frame, _ = inner(frame, model)
    c = JointCoordinates.free(frame, {Held.MOMENTS}, BOUNDS, 0.0)
    d, moments = Descent(c.start, *c.bounds, c.longest), frame.magmoms
    while model.frames < LIMIT and not d.stalled:
        there, prediction = inner(c.frame(d.trial).replace(magmoms=moments), model)
        if d.tell(c.objective(there, prediction), c.gradient(d.trial, prediction)):
            moments = there.magmoms
            if not left(there, prediction):
                return True
    return False


class RelaxingCalculator(Calculator):
    """Energy and forces at relaxed moments, started from those of the call before."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, frame: Frame, model: Counted) -> None:
        super().__init__()
        self.frame, self.model, self.prediction = frame, model, None

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        super().calculate(atoms, properties or ["energy"], system_changes)
        there = self.frame.replace(cell=np.array(atoms.cell), positions=atoms.positions)
        self.frame, p = inner(there, self.model)
        self.prediction = p
        energy = float(p.energy[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": p.forces, "stress": p.stress[0]}


def ase_outer(frame: Frame, model: Counted) -> bool:
    atoms = to_atoms(frame)
    atoms.calc = RelaxingCalculator(frame, model)
    for _ in BFGS(FrechetCellFilter(atoms), logfile=None).irun(fmax=0.0, steps=LIMIT):
        if not left(atoms.calc.frame, atoms.calc.prediction):
            return True
        if model.frames > LIMIT:
            break
    return False


def blocks(frame: Frame, model: Counted) -> bool:
    while model.frames < LIMIT:
        frame = relax_moments(frame, model, BOUNDS).frame
        frame = relax(frame, model, BOUNDS, RelaxSettings(held={Held.MOMENTS})).frame
        if not left(frame, model.model.predict([frame])):
            return True
    return False


WAYS: dict[str, Callable[[Frame, Counted], bool]] = {
    "joint": joint,
    "scipy": scipy_joint,
    "scipy unscaled": scipy_unscaled,
    "envelope": envelope,
    "ASE": ase_outer,
    "blocks": blocks,
}


def predictions(seeds: int) -> dict[str, dict[str, float | None]]:
    """System to way to the mean number of predictions; None if a start did not converge."""
    out: dict[str, dict[str, float | None]] = {}
    for system in ("B2 FeAl", "D03 Fe3Al", "bcc Fe", "random Fe12Al4"):
        out[system] = {}
        for name, way in WAYS.items():
            counts, ok = [], True
            for seed in range(seeds):
                model = Counted()
                ok &= way(start(system, seed), model)
                counts.append(model.frames)
            out[system][name] = float(np.mean(counts)) if ok else None
        row = "  ".join(f"{k} {'-' if v is None else f'{v:.0f}'}" for k, v in out[system].items())
        print(f"{system:15s} {row}", flush=True)
    return out


def scipy_moments(frame: Frame, model: Counted) -> None:
    high = np.array([BOUNDS[s][1] for s in frame.species])

    def evaluate(m: np.ndarray) -> tuple[float, np.ndarray]:
        p = model.predict([frame.replace(magmoms=m)])
        return float(p.energy[0]), -p.magnetic_forces[:, 2]

    limits = list(zip(-high, high, strict=True))
    options = {"ftol": 0.0, "gtol": 1e-3}
    minimize(evaluate, frame.magmoms[:, 2], jac=True, method="L-BFGS-B", bounds=limits, options=options)


def moments(frames: int) -> dict[str, float]:
    """Predictions per frame and wall seconds of re-equilibrated moments, displaced by 0.03 A from where they were."""
    rng = np.random.default_rng(0)
    before = relax_moments_many([start("D03 Fe3Al", k) for k in range(frames)], Counted(), BOUNDS)
    moved = [r.frame.replace(positions=r.frame.positions + rng.normal(0, 0.03, (16, 3))) for r in before]
    out = {}
    for name in ("together", "scipy"):
        model, begin = Counted(), time.perf_counter()
        if name == "together":
            relax_moments_many(moved, model, BOUNDS)
        else:
            for frame in moved:
                scipy_moments(frame, model)
        out |= {f"{name} predictions": model.frames / frames, f"{name} s": time.perf_counter() - begin}
    print(f"moments of {frames} frames of 16 atoms: " + "  ".join(f"{k} {v:.2f}" for k, v in out.items()))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = {"predictions": predictions(args.seeds), "moments": moments(64)}
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
