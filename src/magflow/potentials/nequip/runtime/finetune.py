"""A network of nequip as what :mod:`tuning` teaches force constants."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from backend import Labels, frames, network
from curvature import Differentiated
from nequip.data import AtomicDataDict as Keys
from spin_network import MAGNETIC_FORCES
from tuning import Columns, Pair, Tuning, arrays_of


class NequipLearner:
    """The network in ``start.npz``, the crystals in ``crystals.npz`` and the labels in ``train.npz``."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        self.model = network(definition, 0, "start.npz").train()
        self.parameters: dict[str, torch.Tensor] = dict(self.model.named_parameters())
        self.known = arrays_of(Path("crystals.npz"))
        self.crystals, self.items = frames(self.known), Labels("train.npz")

    @property
    def labels(self) -> int:
        """How many there are."""
        return len(self.items)

    def of_crystals(self, chosen: Sequence[int], vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Products with the Hessian in positions, and forces."""
        batch = Keys.batched_from_list([dict(self.crystals[k]) for k in chosen])
        slopes = Differentiated.of(self.model, batch)
        return slopes.times(vectors, learning=True)[:, :3], slopes.out[Keys.FORCE_KEY]

    def of_labels(self, chosen: Sequence[int]) -> dict[str, Pair]:
        """Energy per atom, forces, stress and maybe magnetic forces."""
        batch = Keys.batched_from_list([self.items[k] for k in chosen])
        out, atoms = self.model(batch), batch[Keys.NUM_NODES_KEY].view(-1, 1)
        energy, label = (part[Keys.TOTAL_ENERGY_KEY].view(-1, 1) / atoms for part in (out, batch))
        pairs: dict[str, Pair] = {"energy": (energy, label)}
        for name, key, width in (("forces", Keys.FORCE_KEY, 3), ("stress", Keys.STRESS_KEY, 1)):
            pairs[name] = (out[key].reshape(-1, width), batch[key].reshape(-1, width))
        if MAGNETIC_FORCES in out:
            pairs[MAGNETIC_FORCES] = (out[MAGNETIC_FORCES].view(-1, 1), batch[MAGNETIC_FORCES].view(-1, 1))
        return pairs


def tuning(path: Path) -> Tuning:
    """The fine-tuning that a file in the current directory describes, as far as it is."""
    said = json.loads(path.read_text())
    learner = NequipLearner(said["definition"])
    return Tuning(said, learner, Columns(learner.known))


def run(said: Sequence[str]) -> None:
    """Run, or go on with, the fine-tuning that a file in the current directory describes."""
    (path,) = said
    tuning(Path(path)).run()
