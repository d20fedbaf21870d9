"""One training in a directory of its own, or one fine-tuning: run, stop early, go on after a kill."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from magflow.core.arrays import DAMAGE
from magflow.core.label import Cost
from magflow.core.protocols import Progress
from magflow.errors import CampaignError
from magflow.potentials.nequip.curve import Curve, read_curve
from magflow.potentials.nequip.program import NEQUIP
from magflow.potentials.outside.following import LOG, Run, diverged, spent
from magflow.potentials.outside.process import Program

INPUT, VERSIONS, BEST, FINAL = "input.yaml", "versions.json", "best.npz", "final.npz"
"""Files of a training's directory: what it reads; what ran it; parameters of the best validated and the last epoch."""
FINETUNE, TURN = "finetune.json", "turn"
"""What a fine-tuning reads, and what its curve is counted in."""
_CHECKPOINT = re.compile(r"epoch-(\d+)\.ckpt")


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


def last_checkpoint(directory: Path) -> Path | None:
    """The latest complete checkpoint; a file cut short by a kill or a full disk is left out."""
    found = {int(m[1]): path for path in directory.iterdir() if (m := _CHECKPOINT.fullmatch(path.name))}
    whole = [epoch for epoch in found if zipfile.is_zipfile(found[epoch])]
    return found[max(whole)] if whole else None


def train(
    directory: Path,
    *,
    epochs: int,
    patience: int,
    validated: bool,
    progress: Progress | None = None,
    program: Program = NEQUIP,
) -> Trained:
    """Run the training that ``input.yaml`` in `directory` describes, from its last checkpoint if there is one.

    Parameters
    ----------
    epochs
        Of the whole training.
    patience
        Validations without a better one that end it.
    validated
        Whether there is a validation.
    program
        That runs it.

    Raises
    ------
    InputError
        If the loss, or a parameter, is not finite: nequip itself trains on with NaN and ends with exit status 0.
    StoreError
        If the disk is full.
    CampaignError
        If nequip ends for another reason.
    """
    cost, curve = spent(directory), read_curve(directory)
    if not (directory / FINAL).is_file() and curve.validations_since_best < patience:
        checkpoint = last_checkpoint(directory)
        arguments = [] if checkpoint is None else [f"++ckpt_path={checkpoint.name}"]
        cost = Run(program, directory, read_curve, epochs, patience).run(arguments, progress)
        curve = read_curve(directory)
    return _trained(directory, curve, cost, BEST if validated else FINAL)


def finetune(directory: Path, *, turns: int, progress: Progress | None = None, program: Program = NEQUIP) -> Trained:
    """Run the fine-tuning that ``finetune.json`` in `directory` describes, from its checkpoint if there is one.

    Raises
    ------
    InputError, StoreError, CampaignError
        As :func:`train`.
    """
    cost, read = spent(directory), partial(read_curve, counted=TURN)
    if not (directory / FINAL).is_file():
        cost = Run(program, directory, read, turns, turns, task="finetune").run([FINETUNE], progress)
    return _trained(directory, read(directory), cost, FINAL)


def _trained(directory: Path, curve: Curve, cost: Cost, kept: str) -> Trained:
    """What a training has left in `directory`, `kept` the file of its parameters."""
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
