"""Documents of a small campaign, made by the Makers' own job bodies on the model Hamiltonian."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame, LabelKind
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.makers.base import Campaign
from magflow.makers.documents import BatchDoc
from magflow.makers.packing import pack_batch
from magflow.potentials.mmtp import MmtpFamily

CAMPAIGN = Campaign("c0ffee", "small", ["Al", "Fe"], 11)
FAMILY = MmtpFamily(level=4, cutoff=4.0, n_radial=3, max_iterations=2)


def frames(n: int, seed: int = 0) -> list[Frame]:
    rng = np.random.default_rng(seed)
    places = np.array([[0.0, 0, 0], [1.45, 1.45, 1.45]])
    return [
        Frame(("Fe", "Al"), 2.9 * np.eye(3), places + rng.normal(0, 0.05, (2, 3)), [rng.uniform(1, 2), 0.05])
        for _ in range(n)
    ]


def labelled(n: int, seed: int = 0, kind: LabelKind = LabelKind.CONSTRAINED) -> list[LabeledFrame]:
    engine = SpinLatticeEngine(kind=kind)
    level = engine.level_of_theory(CAMPAIGN.elements)
    chosen = [f.non_magnetic() if kind is LabelKind.NON_MAGNETIC else f for f in frames(n, seed)]
    return [LabeledFrame(f, engine.label(f, level, Path())) for f in chosen]


def batch_of(items: list[LabeledFrame], failed: dict[str, str] | None = None, **cost: float) -> BatchDoc:
    return BatchDoc(
        campaign=CAMPAIGN.id,
        iteration=0,
        label_ids=[i.label_id for i in items],
        failed=failed or {},
        levels_of_theory=[],
        reused=0,
        arrays=pack_batch(items, []),
        **({"cpu_seconds": 0.0, "wall_seconds": 0.0, "core_hours": 0.0} | cost),
    )
