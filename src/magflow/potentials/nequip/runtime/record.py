"""What a training leaves behind: a line per epoch, checkpoints to go on from, parameters to use."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from nequip.train import MeanSquaredError

CURVE = Path("curve.jsonl")
LOSS, VALIDATION = "train_loss_epoch/", "val0_epoch/"
TOTAL = "weighted_sum"


class SquaredError(MeanSquaredError):
    """Mean squared error; zero, not NaN, of a batch without labels."""

    def compute(self) -> torch.Tensor:
        """Over all labels seen."""
        mean: torch.Tensor = self.sum.div(self.count.clamp(min=1))
        return mean


class Record(Checkpoint):
    """Writes ``curve.jsonl``, ``epoch-N.ckpt`` (the last two), ``best.npz`` and, at the end, ``final.npz``.

    Parameters
    ----------
    interval
        Epochs between checkpoints.
    """

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.best = math.inf
        self.kept: list[Path] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look at what an attempt that was killed left."""
        rows = CURVE.read_text().splitlines() if CURVE.is_file() else []
        for row in rows:
            try:
                self.best = min(self.best, json.loads(row).get("score", math.inf))
            except ValueError:  # it was killed while it wrote
                continue
        self.kept = sorted(Path().glob("epoch-*.ckpt"), key=lambda path: int(path.stem.partition("-")[2]))
        if rows:
            with CURVE.open("a") as file:
                file.write("\n")  # ends a line cut short

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop at the first loss that is not finite."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if not torch.isfinite(loss):
            self._line({"epoch": trainer.current_epoch + 1, "loss": math.nan, "learning_rate": math.nan})
            raise FloatingPointError("the loss is not finite")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Keep the parameters, now those of the moving average, if they are the best so far."""
        score = float(trainer.callback_metrics[VALIDATION + TOTAL])
        if score < self.best:
            self.best = score
            _save(pl_module, "best.npz")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the line of this epoch, and a checkpoint every few."""
        epoch, metrics = trainer.current_epoch + 1, trainer.callback_metrics
        row: dict[str, Any] = {"epoch": epoch, "loss": float(metrics[LOSS + TOTAL])}
        row |= {"learning_rate": trainer.optimizers[0].param_groups[0]["lr"], "train": _errors(metrics, LOSS)}
        if VALIDATION + TOTAL in metrics:
            row |= {"score": float(metrics[VALIDATION + TOTAL]), "validation": _errors(metrics, VALIDATION)}
        self._line(row)
        if epoch % self.interval == 0 and epoch < (trainer.max_epochs or 0):
            self._checkpoint(trainer, Path(f"epoch-{epoch}.ckpt"))

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the moving average of the parameters."""
        pl_module.ema.swap_parameters(pl_module.model)
        _save(pl_module, "final.npz")
        pl_module.ema.swap_parameters(pl_module.model)

    def _checkpoint(self, trainer: lightning.Trainer, path: Path) -> None:
        part = path.with_suffix(".part")
        trainer.save_checkpoint(part)
        part.replace(path)
        self.kept = [*(p for p in self.kept if p != path), path]
        for old in self.kept[:-2]:
            old.unlink(missing_ok=True)
        self.kept = self.kept[-2:]

    @staticmethod
    def _line(row: dict[str, Any]) -> None:
        with CURVE.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _errors(metrics: Any, prefix: str) -> dict[str, float]:
    names = [k.removeprefix(prefix) for k in metrics if k.startswith(prefix) and not k.endswith(TOTAL)]
    return {name: math.sqrt(float(metrics[prefix + name])) for name in sorted(names)}


def _save(module: Any, name: str) -> None:
    (model,) = module.model.values()
    part = Path(f"{name}.part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **{k: p.detach().cpu().numpy() for k, p in model.named_parameters()})
        file.flush()
        os.fsync(file.fileno())
    part.replace(name)
