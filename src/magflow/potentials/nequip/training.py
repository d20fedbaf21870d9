"""One training in a directory of its own: run, stop early, go on after a kill."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from magflow.core.protocols import Progress
from magflow.potentials.nequip.program import NEQUIP
from magflow.potentials.outside.curve import read_curve
from magflow.potentials.outside.following import Run, spent
from magflow.potentials.outside.process import Program
from magflow.potentials.outside.trained import BEST, FINAL, Trained, trained_in

INPUT = "input.yaml"
"""What a training reads, in its directory."""
_CHECKPOINT = re.compile(r"epoch-(\d+)\.ckpt")


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
    return trained_in(directory, curve, cost, BEST if validated else FINAL)
