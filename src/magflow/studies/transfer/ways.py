"""The ways to fit that a transfer compares, and what a fine-tuning learns from."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from magflow.core.protocols import PotentialFamily
from magflow.errors import InputError


class Arm(StrEnum):
    """How a magnetic potential was made."""

    SCRATCH = "from scratch"
    TUNED = "fine-tuned"
    REPLAYED = "fine-tuned with replay"
    JOINT = "from scratch on both kinds"
    """The control of REPLAYED: the same labels without the pre-trained start."""
    DIFFERENCE = "difference"
    """The pre-trained potential as it is, and another fitted to what it leaves of the labels."""


TUNED = frozenset({Arm.TUNED, Arm.REPLAYED})
"""Arms whose fits change the pre-trained potential."""
STARTED = TUNED | {Arm.DIFFERENCE}
"""Arms that need it."""
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


def doubled(sizes: Sequence[int], to: int | None) -> tuple[int, ...]:
    """The largest of `sizes` doubled, again and again, up to `to` labels, which come last; None: nothing.

    Raises
    ------
    InputError
        If `to` is not beyond the sizes.
    """
    if to is None:
        return ()
    largest = max(sizes, default=0)
    if not 0 < largest < to:
        raise InputError("a limit that is no further than the sizes", where="--scratch-to", seen=to)
    out = [largest]
    while 2 * out[-1] < to:
        out.append(2 * out[-1])
    return (*out[1:], to)


def ways(
    family: PotentialFamily, replay: float | None, *, joint: bool = False, difference: bool = False
) -> tuple[tuple[Arm, ...], float]:
    """The ways to fit that are compared, and the share of the non-magnetic labels learnt from again.

    Parameters
    ----------
    replay
        That share; None: all for a family that reads moments, none for others.
    joint
        Whether the control of replay, which learns from both kinds without the pre-trained start, is among them.
    difference
        Whether the pre-trained potential with a correction to it is.

    Raises
    ------
    InputError
        A control of replay without replay.
    """
    share = (1.0 if family.magnetic else 0.0) if replay is None else replay
    if joint and not share:
        raise InputError("the joint fit learns from both kinds of label, which is replay", where="replay", seen=share)
    both = [Arm.REPLAYED, Arm.JOINT] if joint else [Arm.REPLAYED] if share else []
    apart = [Arm.DIFFERENCE] if difference else []
    return (Arm.SCRATCH, Arm.TUNED, *both, *apart), share
