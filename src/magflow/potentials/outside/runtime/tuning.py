"""A network learns force constants, and steps on labels between keep it from forgetting (arXiv:2601.07742).

A turn is one step on a random column of the Hessian of each of some crystals, then steps on random labels; without
crystals it is steps on labels alone. What a turn draws follows from the seed and its number: one that goes on from a
checkpoint ends with the same numbers.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

CURVE, CHECKPOINT, FINAL = Path("curve.jsonl"), Path("checkpoint.npz"), Path("final.npz")
LINES = 100
"""Of the curve, about; each comes with a checkpoint."""
STATE = {"count": "step", "first": "exp_avg", "second": "exp_avg_sq"}
"""Arrays of a checkpoint, and what AdamW calls them. A parameter that had no gradient yet has none."""

Pair = tuple[torch.Tensor, torch.Tensor]
"""What a network says and what the labels say, (n, d) each; NaN is no label."""


class Learner(Protocol):
    """A network with what it learns from."""

    @property
    def parameters(self) -> Mapping[str, torch.Tensor]:
        """What is learnt."""

    @property
    def labels(self) -> int:
        """How many there are."""

    def of_crystals(self, chosen: Sequence[int], vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hessians of crystals times `vectors` (N, 4), and forces, (N, 3) each, crystals one after another.

        Both can be differentiated by the parameters.
        """

    def of_labels(self, chosen: Sequence[int]) -> Mapping[str, Pair]:
        """Quantity to what is said of labelled frames and what the labels say; energies are per atom."""


class Columns:
    """Columns of the Hessians of some crystals.

    Parameters
    ----------
    arrays
        ``counts`` (n,) atoms and ``rows`` (n,) known columns of each crystal; one after another ``moved`` (rows, 2),
        the atom and axis of each column, and ``columns``, (N, 3) of each, eV/A^2.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        rows, self.counts = arrays["rows"], arrays["counts"]
        self.moved = np.split(arrays["moved"], np.cumsum(rows)[:-1])
        parts = np.split(arrays["columns"], np.cumsum(rows * self.counts)[:-1])
        self.known = [part.reshape(k, n, 3) for part, k, n in zip(parts, rows, self.counts, strict=True)]

    def drawn(self, crystals: int, rng: np.random.Generator) -> tuple[list[int], torch.Tensor, torch.Tensor]:
        """Some crystals, displacements (N, 4) of one atom of each, and what the Hessian makes of them (N, 3)."""
        n = len(self.counts)
        chosen = rng.choice(n, size=min(crystals, n), replace=False)
        vectors, columns = [], []
        for k in chosen:
            column = rng.integers(len(self.moved[k]))
            vector = np.zeros((self.counts[k], 4))
            vector[tuple(self.moved[k][column])] = 1.0
            vectors.append(vector)
            columns.append(self.known[k][column])
        return chosen.tolist(), torch.as_tensor(np.concatenate(vectors)), torch.as_tensor(np.concatenate(columns))


class Tuning:
    """A tuning in the current directory, as far as it is.

    Parameters
    ----------
    said
        The seed, ``batch_frames`` and the settings (:class:`magflow.potentials.outside.settings.Tuning`).
    learner
        The network, with the parameters it starts from.
    columns
        Of the crystals; None: it learns from labels alone.
    """

    def __init__(self, said: Mapping[str, Any], learner: Learner, columns: Columns | None) -> None:
        self.said, self.learner, self.columns = said, learner, columns
        self.parameters = dict(learner.parameters)
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.optimiser = torch.optim.AdamW(self.parameters.values(), weight_decay=said["weight_decay"])
        self.turn = self.steps = 0
        if CHECKPOINT.is_file():
            self._go_on()

    def run(self) -> None:
        """Make the turns that are left, then write the moving average of the parameters."""
        turns = int(self.said["turns"])
        every, met = max(1, turns // LINES), list[dict[str, float]]()
        if CURVE.is_file():
            _append("\n")  # ends a line cut short
        while self.turn < turns:
            rate = self._rate()
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            met.append(self._turn(np.random.default_rng([int(self.said["seed"]), self.turn])))
            self.turn += 1
            if self.turn % every == 0 or self.turn == turns:
                mean = {name: float(np.mean([one[name] for one in met])) for name in met[0]}
                _line(self.turn, rate, mean)
                self._keep()
                met = []
        _write(FINAL, {name: values.numpy() for name, values in self.average.items()})

    def _turn(self, rng: np.random.Generator) -> dict[str, float]:
        """One turn: the errors it met, mean over its steps, and ``loss``, the mean of either kind of step together."""
        weights, loss, found = self.said["weights"], 0.0, dict[str, float]()
        if self.columns is not None:
            errors = self.crystal_errors(rng)
            of_crystals = {"force_constants": weights["force_constants"], "forces": weights["at_rest"]}
            loss = self._step(errors, of_crystals)
            found = {"force_constants": float(errors["force_constants"].detach())}
        steps = int(self.said["label_steps"])
        for _ in range(steps):
            errors = self.label_errors(rng)
            loss += self._step(errors, weights) / steps
            for name, error in errors.items():
                found[name] = found.get(name, 0.0) + float(error.detach()) / steps
        return {"loss": loss, **found}

    def crystal_errors(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Mean absolute error of a drawn column of each drawn crystal, and of the forces there, which are none."""
        assert self.columns is not None
        chosen, vectors, columns = self.columns.drawn(int(self.said["crystals"]), rng)
        products, forces = self.learner.of_crystals(chosen, vectors)
        return {"force_constants": (products - columns).abs().mean(), "forces": _error(forces, 0.0 * forces.detach())}

    def label_errors(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Mean errors on drawn labels."""
        n = self.learner.labels
        chosen = rng.choice(n, size=min(int(self.said["batch_frames"]), n), replace=False)
        return {name: _error(*pair) for name, pair in self.learner.of_labels(chosen.tolist()).items()}

    def _step(self, errors: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> float:
        """One step on the weighted sum of some errors; returns that sum."""
        loss = torch.stack([weights[name] * error for name, error in errors.items()]).sum()
        if not torch.isfinite(loss):
            _line(self.turn + 1, math.nan, {"loss": math.nan})
            raise FloatingPointError("the loss is not finite")
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), float(self.said["clip"]))
        self.optimiser.step()
        decay = min(float(self.said["average"]), (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for name, values in self.average.items():
                values.lerp_(self.parameters[name], 1.0 - decay)
        self.steps += 1
        return float(loss.detach())

    def _rate(self) -> float:
        """Learning rate of this turn: half a cosine from the first to the last."""
        first, last = self.said["learning_rate"]
        share = self.turn / max(int(self.said["turns"]) - 1, 1)
        return float(last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * share)))

    def _keep(self) -> None:
        """Write what a training that is killed goes on from."""
        arrays = {"turn": np.array(self.turn), "steps": np.array(self.steps)}
        for name, values in self.parameters.items():
            arrays |= {f"parameter:{name}": values.detach().numpy(), f"average:{name}": self.average[name].numpy()}
            if known := self.optimiser.state.get(values):
                arrays |= {f"{short}:{name}": known[key].numpy() for short, key in STATE.items()}
        _write(CHECKPOINT, arrays)

    def _go_on(self) -> None:
        arrays = {name: torch.as_tensor(values) for name, values in arrays_of(CHECKPOINT).items()}
        self.turn, self.steps = int(arrays["turn"]), int(arrays["steps"])
        with torch.no_grad():
            for name, values in self.parameters.items():
                values.copy_(arrays[f"parameter:{name}"])
                self.average[name].copy_(arrays[f"average:{name}"])
                if f"count:{name}" in arrays:
                    self.optimiser.state[values] = {key: arrays[f"{short}:{name}"] for short, key in STATE.items()}


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _error(found: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Mean length of the errors of vectors (n, d), where NaN is no label; 0 without any."""
    known = ~label.isnan()
    off = torch.linalg.vector_norm(torch.where(known, found - label, 0.0), dim=1)
    mean: torch.Tensor = off.sum() / known.any(dim=1).sum().clamp(min=1)
    return mean


def _line(turn: int, rate: float, mean: Mapping[str, float]) -> None:
    errors = {name: value for name, value in mean.items() if name != "loss"}
    row = {"turn": turn, "learning_rate": rate, "loss": mean["loss"], "train": errors}
    _append(json.dumps(row) + "\n")


def _append(text: str) -> None:
    with CURVE.open("a") as file:
        file.write(text)


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """In one step, on the disk when it returns."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
