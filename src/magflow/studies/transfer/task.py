"""What a transfer from non-magnetic to magnetic labels is measured with: labels, sizes, seeds, and ways to fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.errors import InputError
from magflow.potentials.replay import check_same_surface, with_replay


class Arm(StrEnum):
    """How a magnetic potential was made."""

    SCRATCH = "from scratch"
    TUNED = "fine-tuned"
    REPLAYED = "fine-tuned with replay"
    JOINT = "from scratch on both kinds"
    """The control of REPLAYED: the same labels without the pre-trained start."""


STARTED = frozenset({Arm.TUNED, Arm.REPLAYED})
"""Arms that start from the pre-trained potential."""
BOTH = frozenset({Arm.REPLAYED, Arm.JOINT})
"""Arms that learn from non-magnetic labels beside magnetic ones."""


class TransferSchedule(BaseModel):
    """What a fine-tuning learns from. What it may change is a matter of the family's own settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replay: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Share of the non-magnetic labels learnt from again, at zero moments."
    )
    members: int = Field(default=1, ge=1, le=64, description="Potentials per point; the error is that of their mean.")
    bagging: bool = Field(default=False, description="Each member learns from its own random 80 % of the labels.")
    validation: float = Field(
        default=0.0, ge=0.0, le=0.5, description="Share of the labels each member keeps aside to stop its fit early."
    )


@dataclass(frozen=True, eq=False)
class TransferTask:
    """What is measured.

    Parameters
    ----------
    pretraining, family
        Settings of the family for the non-magnetic labels, and for the magnetic ones.
    non_magnetic, pool, test
        Non-magnetic labels; magnetic ones to learn from; magnetic ones to be held against.
    sizes
        Numbers of magnetic labels.
    seeds
        Each draws its own labels and fits its own potentials.
    arms
        What is compared.

    Raises
    ------
    InputError
        Sizes beyond the pool, labels that are both learnt from and tested on, an arm with replay where the two kinds
        of label do not lie on one energy surface.
    """

    pretraining: Any
    family: Any
    non_magnetic: Dataset
    pool: Dataset
    test: Dataset
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    schedule: TransferSchedule = field(default_factory=TransferSchedule)
    arms: tuple[Arm, ...] = (Arm.SCRATCH, Arm.TUNED, Arm.REPLAYED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(sorted(set(self.sizes))))
        for name in ("non_magnetic", "pool", "test", "sizes", "seeds", "arms"):
            if not len(getattr(self, name)):
                raise InputError("nothing to work with", where=name.replace("_", "-"), expected="at least one entry")
        if not 1 <= self.sizes[0] <= self.sizes[-1] <= len(self.pool):
            raise InputError(
                "numbers of magnetic labels out of range",
                where="sizes",
                seen=", ".join(map(str, self.sizes)),
                expected=f"1 to {len(self.pool)}, the magnetic labels there are",
            )
        shared = {item.label_id for item in self.pool} & {item.label_id for item in self.test}
        if shared:
            raise InputError(
                "labels to learn from are among those to be tested on", seen=f"{len(shared)}, such as {min(shared)}"
            )
        if self.family.name != self.pretraining.name and STARTED & set(self.arms):
            raise InputError(
                "a potential cannot be fine-tuned into one of another family",
                seen=f"{self.pretraining.name} to {self.family.name}",
                expected="one family for both stages",
                hint="mmtp goes from labels without moments to labels with them; dp reads none of them in either stage",
            )
        if self.pretraining.needs_moments and STARTED & set(self.arms):
            raise InputError(
                "this family cannot be pre-trained on labels without moments",
                where="family",
                seen=self.pretraining.name,
                expected="mmtp or dp, or another family that can do without moments",
            )
        if BOTH & set(self.arms):
            for own in self.pool.levels_of_theory:
                for other in self.non_magnetic.levels_of_theory:
                    check_same_surface(other, own)

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Elements of all labels."""
        return tuple(sorted({e for part in (self.non_magnetic, self.pool, self.test) for e in part.elements}))

    @cached_property
    def key(self) -> str:
        """24 hex digits of what decides a point, apart from its arm, size and seed: these may be added to later."""
        texts = [self.pretraining.name, self.family.name]
        texts += [model.model_dump_json() for model in (self.pretraining, self.family, self.schedule)]
        parts = [text.encode() for text in texts]
        for part in (self.non_magnetic, self.pool, self.test):
            parts += [part.fingerprint.encode(), np.array([item.label.energy for item in part]).tobytes()]
        return digest(parts)

    def magnetic(self, size: int, seed: int) -> Dataset:
        """The `size` magnetic labels of one seed."""
        order = np.random.default_rng(seed).permutation(len(self.pool))
        return Dataset(self.pool.take(np.sort(order[:size]).tolist()), mixed=self.pool.mixed)

    def learnt(self, arm: Arm, size: int, seed: int) -> Dataset:
        """The labels one point learns from."""
        magnetic = self.magnetic(size, seed)
        if arm not in BOTH:
            return magnetic
        return with_replay(magnetic, self.non_magnetic, share=self.schedule.replay, seed=seed)

    def points(self) -> Iterator[tuple[int, Arm, int]]:
        """Seed, arm and size of every point."""
        for seed in self.seeds:
            for size in self.sizes:
                for arm in self.arms:
                    yield seed, arm, size
