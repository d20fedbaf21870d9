"""``input.yaml`` of ``nequip-train`` from the settings of a family.

Keys and loss: https://nequip.readthedocs.io, "Config file". Equivariant convolutions: Batzner et al., Nat. Commun. 13,
2453 (2022).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from magflow.potentials.nequip.settings import NequipSettings
from magflow.potentials.outside.trained import START, TRAIN, VALIDATION

EMA_DECAY = 0.99
"""Of the moving average of the parameters that is validated and kept."""


def training_input(
    settings: NequipSettings,
    definition: Mapping[str, Any],
    train: Mapping[str, np.ndarray],
    seed: int,
    *,
    validated: bool,
    started: bool,
) -> dict[str, Any]:
    """The whole input: the backend's own network, labels and record of the training in nequip's frame.

    Parameters
    ----------
    train
        The labels it learns (:func:`~magflow.potentials.nequip.graph.labelled_graph`).
    validated
        Whether there are labels to judge the epochs by.
    started
        Whether ``start.npz`` holds the parameters to start from.
    """
    model_seed, data_seed = (int(s) for s in np.random.SeedSequence([seed]).generate_state(2) % 2**31)
    loader = {"_target_": "torch.utils.data.DataLoader", "batch_size": settings.batch_frames}
    first, last = settings.learning_rate
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.NequIPDataModule",
            "seed": data_seed,
            "train_dataset": _labels(TRAIN),
            "val_dataset": _labels(VALIDATION if validated else TRAIN),  # nequip wants one, needed or not
            "train_dataloader": {**loader, "shuffle": True},
            "val_dataloader": loader,
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "auto",
            "devices": 1,
            "max_epochs": settings.epochs,
            "limit_val_batches": 1.0 if validated else 0,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
            "callbacks": [{"_target_": "record.Record", "interval": settings.interval}],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": EMA_DECAY,
            "model": {
                "_target_": "backend.network",
                "definition": dict(definition),
                "seed": model_seed,
                "parameters": START if started else None,
            },
            "loss": _errors(settings, train),
            "val_metrics": _errors(settings, train),
            "optimizer": {"_target_": "torch.optim.Adam", "lr": first},
            "lr_scheduler": {
                "scheduler": {
                    "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
                    "T_max": settings.epochs,
                    "eta_min": last,
                },
                "interval": "epoch",
                "frequency": 1,
            },
        },
    }


def _labels(part: str) -> dict[str, str]:
    return {"_target_": "backend.Labels", "path": f"{part}.npz"}


def _errors(settings: NequipSettings, train: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Weighted mean squared errors of what is labelled and weighted; components without a label do not count.

    A batch may hold no label of a kind: nequip's own mean over nothing is NaN, and all parameters after it.
    """
    weights = settings.weights
    volume = np.abs(np.linalg.det(train["cell"])) / train["counts"]
    coefficients = {
        "energy": weights.energy,
        "forces": weights.forces,
        "stress": weights.stress * float(np.mean(volume**2)),
        "magnetic_forces": weights.magnetic_forces,
    }
    entries = []
    for name, coefficient in coefficients.items():
        if coefficient > 0.0 and name in train and np.isfinite(train[name]).any():
            field: Any = {"_target_": "nequip.data.PerAtomModifier", "field": "total_energy"}
            entries.append(
                {
                    "name": name,
                    "field": field if name == "energy" else name,
                    "coeff": coefficient,
                    "ignore_nan": True,
                    "metric": {"_target_": "record.SquaredError"},
                }
            )
    return {"_target_": "nequip.train.MetricsManager", "metrics": entries}


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as the part of YAML that is JSON: every text is quoted, nobelium is no "no"."""
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
