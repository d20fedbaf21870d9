"""One training by deepmd-kit's command line in a directory of its own: run, stop early, go on after a kill."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from magflow.core.label import Cost
from magflow.core.protocols import Progress
from magflow.errors import CampaignError
from magflow.potentials.deepmd.curve import Curve, read_curve
from magflow.potentials.deepmd.program import DEEPMD_KIT
from magflow.potentials.outside.following import LOG, Run, diverged, spent

INPUT, START = "input.json", "start.pt"
"""Files of a training's directory, beside those deepmd-kit writes."""
_CHECKPOINT = re.compile(r"model\.ckpt-(\d+)\.pt")
_BEST = re.compile(r"best\.ckpt-(\d+)\.t-1\.pt")


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Parameters
    ----------
    checkpoint
        The file to use: the best validated step if there was a validation, else the last.
    step
        The step of that checkpoint.
    stopped_early
        True if it ended before its last step because the validation did not get better.
    """

    checkpoint: Path
    step: int
    curve: Curve
    stopped_early: bool
    cost: Cost


def checkpoints(directory: Path, pattern: re.Pattern[str] = _CHECKPOINT) -> dict[int, Path]:
    """Complete checkpoints by step, oldest first; a file cut short by a kill or a full disk is left out."""
    found = {int(m[1]): path for path in directory.iterdir() if (m := pattern.fullmatch(path.name))}
    return {step: found[step] for step in sorted(found) if zipfile.is_zipfile(found[step])}


def train(
    directory: Path, *, steps: int, patience: int, start: str | None = None, progress: Progress | None = None
) -> Trained:
    """Run the training that ``input.json`` in `directory` describes, from its last checkpoint if there is one.

    Parameters
    ----------
    steps
        Steps of the whole training.
    patience
        Validations without a better one that end it.
    start
        Option of ``dp train`` that reads ``start.pt``: ``--finetune`` or ``--init-model``.

    Raises
    ------
    InputError
        If the loss is not finite.
    StoreError
        If the disk is full.
    CampaignError
        If deepmd-kit ends for another reason.
    """
    cost, curve, done = spent(directory), read_curve(directory), checkpoints(directory)
    last = max(done, default=0)
    if last < steps and curve.validations_since_best < patience:
        arguments = ["--restart", done[last].name] if done else [start, START] if start else []
        run = Run(DEEPMD_KIT, directory, read_curve, steps, patience)
        cost = run.run(["--pt", "train", INPUT, "--skip-neighbor-stat", *arguments], progress)
        curve, done = read_curve(directory), checkpoints(directory)
        last = max(done, default=0)
    if curve.diverged:
        raise diverged(directory, f"step {curve.step}")
    best = checkpoints(directory, _BEST) if curve.validated else {}
    chosen = best or done
    if not chosen:
        raise CampaignError("the training left no checkpoint", where=str(directory / LOG))
    step = max(chosen)
    return Trained(chosen[step], step, curve, last < steps, cost)
