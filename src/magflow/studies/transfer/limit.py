"""The ceiling of one transfer: a good fit to all its labels, linearised."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from magflow.core.files import replace_file
from magflow.core.label import LabeledFrame, LabelKind
from magflow.core.undecided import TellsUndecided
from magflow.potentials.replay import with_replay
from magflow.studies.transfer.ceiling import Expected, Linearised, expected_errors
from magflow.studies.transfer.finished import read_finished
from magflow.studies.transfer.ways import BOTH, Arm

if TYPE_CHECKING:
    from magflow.studies.transfer.task import TransferTask

CEILING = "ceiling.json"
DRAWS = 2
"""Seeds whose labels are looked at."""


def ceiling_of(task: TransferTask) -> tuple[Expected, ...]:
    """Errors to expect, kept in the work directory of the task.

    Nothing where the non-magnetic labels are not learnt from beside the magnetic ones - they may lie on another
    surface, where they can save any number of labels or none - or the family cannot tell what labels leave undecided.
    """
    if not BOTH & set(task.arms) or not isinstance(task.family, TellsUndecided):
        return ()
    path, sizes, seeds = task.workdir / CEILING, sorted({*task.sizes, *task.scratch_sizes}), task.seeds[:DRAWS]
    asked = {"sizes": sizes, "seeds": list(seeds)}
    if path.is_file():
        kept = read_finished(path)
        if kept["asked"] == asked:
            return tuple(map(Expected.from_dict, kept["expected"]))
    draws = {seed: task.pool.take(task.order(seed)[: sizes[-1]].tolist()) for seed in seeds}
    expected = expected_errors(_linearised(task, task.family), draws, sizes)
    replace_file(path, json.dumps({"asked": asked, "expected": [asdict(e) for e in expected]}).encode())
    return expected


def _linearised(task: TransferTask, family: TellsUndecided) -> Linearised:
    """Around a fit to all labels; the prior is that of a fit to as many as the curve ends with."""
    seed, largest = task.seeds[0], task.sizes[-1]
    everything = with_replay(task.pool, task.non_magnetic)
    around, _ = task.family.fit(list(everything), elements=task.elements, seed=seed)
    alike = list(task.magnetic(largest, seed))
    undecided = family.undecided_before(alike, elements=task.elements, seed=seed, around=around)
    zero = [i for i in task.learnt(Arm.REPLAYED, largest, seed) if _non_magnetic(i)]
    return Linearised.of(undecided, zero, list(task.test))


def _non_magnetic(item: LabeledFrame) -> bool:
    return item.label.level_of_theory.kind is LabelKind.NON_MAGNETIC
