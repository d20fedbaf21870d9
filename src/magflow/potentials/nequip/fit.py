"""From labels to a trained network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.label import Cost, LabeledFrame
from magflow.core.protocols import FitReport, Potential, Progress
from magflow.errors import InputError
from magflow.potentials.nequip import inputs, training
from magflow.potentials.nequip.definition import definition, started
from magflow.potentials.nequip.graph import labelled_graph
from magflow.potentials.nequip.potential import NequipPotential
from magflow.potentials.nequip.program import PROGRAMS
from magflow.potentials.nequip.settings import NequipSettings
from magflow.potentials.outside.labels import check, errors
from magflow.potentials.outside.settings import StartBias
from magflow.potentials.outside.trained import START, TRAIN, VALIDATION
from magflow.potentials.outside.workdir import training_directory


def fit_nequip(
    settings: NequipSettings,
    network: Mapping[str, int],
    train: Sequence[LabeledFrame],
    *,
    species: tuple[str, ...],
    seed: int,
    validation: Sequence[LabeledFrame] = (),
    start: Potential | None = None,
    progress: Progress | None = None,
    workdir: Path | None = None,
) -> tuple[NequipPotential, FitReport]:
    """Fit one network of these sizes; see :meth:`magflow.potentials.nequip.family.NequipBase.fit`."""
    began, cpu = time.perf_counter(), time.process_time()
    if not train:
        raise InputError("no labels to fit", where="train", expected="at least one labelled frame")
    for part, items in ((TRAIN, train), (VALIDATION, validation)):
        check(items, species, magnetic=settings.magnetic, part=part, without="nequip")
    parts = {
        part: labelled_graph(items, species, settings.cutoff, magnetic=settings.magnetic)
        for part, items in ((TRAIN, train), (VALIDATION, validation))
        if items
    }
    origin = None if start is None else as_start(start, settings.name)
    form = definition(settings, network, train, parts[TRAIN], species)
    if origin is not None:
        form = started(form, origin, train, refit=settings.start_bias is StartBias.REFIT)
    prepared = time.perf_counter()

    def write(directory: Path) -> None:
        _write(directory, settings, form, parts, origin, seed)

    with training_directory(workdir, write) as directory:
        trained = training.train(
            directory,
            epochs=settings.epochs,
            patience=settings.patience,
            validated=bool(validation),
            progress=progress,
            program=PROGRAMS[settings.architecture],
        )
    ended = time.perf_counter()
    potential = NequipPotential(form, trained.parameters)
    rmse = {TRAIN: errors(potential, train)}
    if validation:
        rmse[VALIDATION] = errors(potential, validation)
    if progress:
        progress(1.0, "trained")
    around = Cost(time.process_time() - cpu, time.perf_counter() - ended + prepared - began)
    details = {
        "best_epoch": trained.epoch,
        "stopped_early": trained.stopped_early,
        "parameters": sum(values.size for values in trained.parameters.values()),
        **trained.versions,
    }
    return potential, FitReport(True, trained.curve.step, rmse, trained.cost + around, trained.curve.history(), details)


def as_start(start: Potential, family: str) -> NequipPotential:
    """The potential a fit of a family starts from.

    Raises
    ------
    InputError
        If it is of another family.
    """
    if not isinstance(start, NequipPotential) or start.family != family:
        raise InputError("the warm start is of another family", seen=start.family, expected=family)
    return start


def _write(
    directory: Path,
    settings: NequipSettings,
    form: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, np.ndarray]],
    origin: NequipPotential | None,
    seed: int,
) -> None:
    """Everything the training reads."""
    directory.mkdir()
    for part, arrays in parts.items():
        np.savez(directory / f"{part}.npz", allow_pickle=False, **arrays)
    if origin is not None:
        np.savez(directory / START, allow_pickle=False, **origin.parameters)
    content = inputs.training_input(
        settings, form, parts[TRAIN], seed, validated=VALIDATION in parts, started=origin is not None
    )
    inputs.write_yaml(directory / training.INPUT, content)
