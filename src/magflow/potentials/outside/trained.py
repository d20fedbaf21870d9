"""What a training leaves in its directory: a learning curve and arrays of parameters; and a tuning, which is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from magflow.core.arrays import DAMAGE
from magflow.core.label import Cost
from magflow.core.protocols import Progress
from magflow.errors import CampaignError
from magflow.potentials.outside.curve import Curve, read_curve
from magflow.potentials.outside.following import LOG, Run, diverged, spent
from magflow.potentials.outside.process import Program

VERSIONS, BEST, FINAL = "versions.json", "best.npz", "final.npz"
"""Files of a training's directory: what ran it; parameters of the best validated and the last epoch."""
TRAIN, VALIDATION, START, CRYSTALS = "train", "validation", "start.npz", "crystals.npz"
"""Names of labels there, and files: parameters to start from; crystals with columns of their Hessians."""
FINETUNE, TURN = "finetune.json", "turn"
"""What a tuning reads, and what its curve is counted in."""


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Parameters
    ----------
    parameters
        Of the best validated epoch if there was a validation, else of the last.
    epoch
        That epoch.
    stopped_early
        True if it ended before its last epoch because the validation did not get better.
    versions
        Of what trained it.
    """

    parameters: dict[str, np.ndarray]
    epoch: int
    curve: Curve
    stopped_early: bool
    cost: Cost
    versions: Mapping[str, str]


def tune(program: Program, directory: Path, *, turns: int, progress: Progress | None = None) -> Trained:
    """Run the tuning that ``finetune.json`` in `directory` describes, from its checkpoint if there is one.

    Raises
    ------
    InputError
        If the loss, or a parameter, is not finite.
    StoreError
        If the disk is full.
    CampaignError
        If the program ends for another reason.
    """
    cost, read = spent(directory), partial(read_curve, counted=TURN)
    if not (directory / FINAL).is_file():
        cost = Run(program, directory, read, turns, turns, task="finetune").run([FINETUNE], progress)
    return trained_in(directory, read(directory), cost, FINAL)


def trained_in(directory: Path, curve: Curve, cost: Cost, kept: str) -> Trained:
    """What a training has left in `directory`, `kept` the file of its parameters.

    Raises
    ------
    InputError
        If the loss, or a parameter, is not finite.
    CampaignError
        If there are no parameters.
    """
    if curve.diverged:
        raise diverged(directory, f"{curve.counted} {curve.step}")
    parameters = _parameters(directory / kept)
    if not all(np.isfinite(values).all() for values in parameters.values()):
        raise diverged(directory, "parameters that are not finite")
    epoch = curve.best if kept == BEST else curve.step
    versions = json.loads((directory / VERSIONS).read_text())
    return Trained(parameters, epoch, curve, not (directory / FINAL).is_file(), cost, versions)


def _parameters(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        raise CampaignError(
            "the training left no parameters", where=str(path.with_name(LOG)), seen=str(error)
        ) from error
