"""A CHGNet as what :mod:`tuning` teaches labels and force constants."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import graphs, network, said
from tuning import Columns, Pair, Tuning, arrays_of

CRYSTALS = Path("crystals.npz")
Frame = dict[str, np.ndarray]
"""One frame as :func:`network.graphs` takes it."""


class ChgnetLearner:
    """The network in ``start.npz``, the labels in ``train.npz`` and crystals, if there are any.

    Parameters
    ----------
    crystals
        Arrays of their frames; empty without any.
    displacement
        Over which columns are taken, A. The third derivatives that exact products would need are not right: PyTorch's
        of this network differ from differences by some per cent.
    learn_elements
        Whether the numbers of each element are learnt, too.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        crystals: Mapping[str, np.ndarray],
        displacement: float,
        *,
        learn_elements: bool,
    ) -> None:
        self.model = network(definition, arrays_of(Path("start.npz")))
        self.model.atom_embedding.requires_grad_(learn_elements)
        learnt = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.parameters: dict[str, torch.Tensor] = learnt
        arrays = arrays_of(Path("train.npz"))
        self.items, self.counts = graphs(self.model, arrays), arrays["counts"]
        self.energy, self.stress = torch.as_tensor(arrays["energy"]), torch.as_tensor(arrays["stress"])
        self.forces = torch.as_tensor(arrays["forces"]).split(self.counts.tolist())
        self.crystals, self.displacement = _frames(crystals), displacement

    @property
    def labels(self) -> int:
        """How many there are."""
        return len(self.items)

    def of_crystals(self, chosen: Sequence[int], vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How forces change along `vectors`, over displacements, and forces."""
        crystals = [self.crystals[k] for k in chosen]
        moves = vectors[:, :3].numpy() * self.displacement
        sides = [_moved(crystals, sign * moves) for sign in (1.0, -1.0)]
        batch = [graph for side in sides for frame in side for graph in graphs(self.model, frame)]
        up, down = said(self.model, batch, again=True).forces.chunk(2)
        return (down - up) / (2.0 * self.displacement), 0.5 * (up + down)

    def of_labels(self, chosen: Sequence[int]) -> dict[str, Pair]:
        """Energy per atom, forces and stress."""
        found = said(self.model, [self.items[k] for k in chosen], again=True)
        atoms = torch.as_tensor(self.counts[chosen])
        return {
            "energy": ((found.energy / atoms)[:, None], (self.energy[chosen] / atoms)[:, None]),
            "forces": (found.forces, torch.cat([self.forces[k] for k in chosen])),
            "stress": (found.stress.reshape(-1, 1), self.stress[chosen].reshape(-1, 1)),
        }


def _frames(arrays: Mapping[str, np.ndarray]) -> list[Frame]:
    """The arrays of each frame by itself."""
    if not arrays:
        return []
    ends = np.cumsum(arrays["counts"])
    return [
        {
            "counts": arrays["counts"][k : k + 1],
            "cell": arrays["cell"][k : k + 1],
            **{name: arrays[name][end - arrays["counts"][k] : end] for name in ("number", "position")},
        }
        for k, end in enumerate(ends)
    ]


def _moved(frames: Sequence[Frame], moves: np.ndarray) -> list[Frame]:
    """`frames` with their atoms, one after another, moved by `moves` (sum N, 3) A."""
    parts = np.split(moves, np.cumsum([len(frame["number"]) for frame in frames])[:-1])
    return [{**frame, "position": frame["position"] + part} for frame, part in zip(frames, parts, strict=True)]


def tuning(path: Path) -> Tuning:
    """The tuning that a file in the current directory describes, as far as it is."""
    said_of_it = json.loads(path.read_text())
    crystals = arrays_of(CRYSTALS) if CRYSTALS.is_file() else {}
    learner = ChgnetLearner(
        said_of_it["definition"],
        crystals,
        float(said_of_it["displacement"]),
        learn_elements=bool(said_of_it["learn_elements"]),
    )
    return Tuning(said_of_it, learner, Columns(crystals) if crystals else None)


def run(arguments: Sequence[str]) -> None:
    """Run, or go on with, the tuning that a file in the current directory describes."""
    (path,) = arguments
    tuning(Path(path)).run()
