"""Second derivatives of a network's energy: a way back through the graph of its first ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from nequip.data import AtomicDataDict as Keys
from spin_network import MAGNETIC_FORCES


@dataclass(frozen=True)
class Differentiated:
    """What a network says of a batch of frames, with the graph of its first derivatives.

    Parameters
    ----------
    out
        All that it says.
    leaves
        What the energy is differentiated by: positions (N, 3) and, of a magnetic one, moments (N, 1).
    """

    out: Mapping[str, torch.Tensor]
    leaves: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, model: Any, batch: Mapping[str, torch.Tensor]) -> Differentiated:
        """`model`, which is in training mode, else it lets go of the graph, on nequip's batch."""
        data = dict(batch)
        names = [Keys.POSITIONS_KEY, *([Keys.MAGMOM_KEY] if Keys.MAGMOM_KEY in model.model_input_fields else [])]
        for name in names:
            data[name] = data[name].detach().requires_grad_(True)
        return cls(model(data), tuple(data[name] for name in names))

    @property
    def magnetic(self) -> bool:
        """Whether the energy is one of moments, too."""
        return len(self.leaves) == 2

    def times(self, vector: torch.Tensor, *, learning: bool = False) -> torch.Tensor:
        """(N, 4) the Hessian in positions and moments times `vector` (N, 4); of each frame of the batch by itself.

        Without moments the last column does not count and is zero.

        Parameters
        ----------
        learning
            Keep the graph, to differentiate this by the parameters.
        """
        slope = -(self.out[Keys.FORCE_KEY] * vector[:, :3]).sum()
        if self.magnetic:
            slope = slope - (self.out[MAGNETIC_FORCES].view(-1) * vector[:, 3]).sum()
        parts = torch.autograd.grad(
            slope, self.leaves, create_graph=learning, retain_graph=True, materialize_grads=True
        )
        rest = [] if self.magnetic else [torch.zeros_like(vector[:, 3:])]
        return torch.cat([part.view(len(vector), -1) for part in (*parts, *rest)], dim=1)
