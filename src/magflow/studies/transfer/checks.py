"""What cannot be compared is refused before the first fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magflow.core.dataset import Dataset
from magflow.core.label import LabelKind
from magflow.errors import InputError
from magflow.potentials.replay import check_same_surface
from magflow.studies.transfer.ways import BOTH, STARTED, TUNED, Arm

if TYPE_CHECKING:
    from magflow.studies.transfer.task import TransferTask


def check_task(task: TransferTask) -> None:
    """Refuse a task that says nothing, or that no family can do.

    Raises
    ------
    InputError
        Labels of the wrong kind, sizes beyond the pool, labels that are both learnt from and tested on, an arm with
        replay where the two kinds of label do not lie on one energy surface, families that do not go together.
    """
    for name in ("non_magnetic", "pool", "test", "sizes", "seeds", "arms"):
        if not len(getattr(task, name)):
            raise InputError("nothing to work with", where=name.replace("_", "-"), expected="at least one entry")
    for name in ("non_magnetic", "pool", "test"):
        _check_kind(name, getattr(task, name))
    sizes = sorted({*task.sizes, *task.scratch_sizes})
    if not 1 <= sizes[0] <= sizes[-1] <= len(task.pool):
        raise InputError(
            "numbers of magnetic labels out of range",
            where="sizes",
            seen=", ".join(map(str, sizes)),
            expected=f"1 to {len(task.pool)}, the magnetic labels there are",
        )
    shared = {item.label_id for item in task.pool} & {item.label_id for item in task.test}
    if shared:
        raise InputError(
            "labels to learn from are among those to be tested on", seen=f"{len(shared)}, such as {min(shared)}"
        )
    _check_families(task)
    if BOTH & set(task.arms):
        for own in task.pool.levels_of_theory:
            for other in task.non_magnetic.levels_of_theory:
                check_same_surface(other, own)


def _check_families(task: TransferTask) -> None:
    arms = set(task.arms)
    if task.family.name != task.pretraining.name and TUNED & arms:
        raise InputError(
            "a potential cannot be fine-tuned into one of another family",
            seen=f"{task.pretraining.name} to {task.family.name}",
            expected="one family for both stages",
            hint="mmtp goes from labels without moments to labels with them; dp reads none of them in either stage",
        )
    if task.pretraining.needs_moments and STARTED & arms:
        raise InputError(
            "this family cannot be pre-trained on labels without moments",
            where="family",
            seen=task.pretraining.name,
            expected="mmtp or dp, or another family that can do without moments",
        )
    if (Arm.DIFFERENCE in arms) != (task.correction is not None):
        raise InputError("a difference and what is fitted to it go together", where="correction")


def _check_kind(name: str, labels: Dataset) -> None:
    """Non-magnetic labels for the first part, magnetic ones for the others."""
    plain = name == "non_magnetic"
    if (labels.kinds == (LabelKind.NON_MAGNETIC,)) != plain:
        raise InputError(
            "labels of the wrong kind",
            where=name.replace("_", "-"),
            seen=", ".join(labels.kinds),
            expected="non-magnetic" if plain else "constrained or spin-polarised",
        )
