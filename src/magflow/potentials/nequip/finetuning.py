"""From a trained network, labels and force constants to a network that has learnt all of them.

Phonon fine-tuning (arXiv:2601.07742): steps on random columns of the Hessian, and steps on labels between them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.force_constants import ForceConstantLabel, check_clamped
from magflow.core.label import Cost, LabeledFrame
from magflow.core.protocols import FitReport, Potential, Progress
from magflow.errors import InputError
from magflow.potentials.nequip.definition import definition, started
from magflow.potentials.nequip.fit import as_start
from magflow.potentials.nequip.graph import graph, labelled_graph
from magflow.potentials.nequip.inputs import write_yaml
from magflow.potentials.nequip.potential import NequipPotential
from magflow.potentials.nequip.program import PROGRAMS
from magflow.potentials.nequip.settings import NequipSettings
from magflow.potentials.outside.columns import column_arrays, column_rmse, crystal_of
from magflow.potentials.outside.labels import check, errors
from magflow.potentials.outside.trained import CRYSTALS, FINETUNE, START, TRAIN, VALIDATION, tune
from magflow.potentials.outside.workdir import training_directory


def finetune_nequip(
    settings: NequipSettings,
    network: Mapping[str, int],
    train: Sequence[LabeledFrame],
    *,
    species: tuple[str, ...],
    seed: int,
    force_constants: Sequence[ForceConstantLabel],
    validation: Sequence[LabeledFrame] = (),
    start: Potential | None = None,
    progress: Progress | None = None,
    workdir: Path | None = None,
) -> tuple[NequipPotential, FitReport]:
    """Fine-tune `start`; see :meth:`magflow.potentials.nequip.family.NequipBase.fit`.

    Errors on `validation` are told and decide nothing.
    """
    began, cpu = time.perf_counter(), time.process_time()
    if start is None:
        raise InputError("force constants are learnt by a network that has been trained", hint="train it without them")
    if not train:
        raise InputError("no labels to keep from forgetting", where=TRAIN, expected="at least one labelled frame")
    origin = as_start(start, settings.name)
    for part, items in ((TRAIN, train), (VALIDATION, validation)):
        check(items, species, magnetic=settings.magnetic, part=part, without="nequip")
    labels = labelled_graph(train, species, settings.cutoff, magnetic=settings.magnetic)
    form = started(definition(settings, network, train, labels, species), origin, train, refit=False)
    crystals = columns_of(force_constants, species, settings.cutoff, magnetic=settings.magnetic)
    content = {"definition": form, "seed": seed, "batch_frames": settings.batch_frames, **_settings(settings)}
    content = json.loads(json.dumps(content, sort_keys=True))  # a start is ordered as it was fitted, or as it was read

    def write(directory: Path) -> None:
        directory.mkdir()
        for name, arrays in ((f"{TRAIN}.npz", labels), (CRYSTALS, crystals), (START, origin.parameters)):
            np.savez(directory / name, allow_pickle=False, **arrays)
        write_yaml(directory / FINETUNE, content)

    prepared = time.perf_counter()
    with training_directory(workdir, write) as directory:
        program = PROGRAMS[settings.architecture]
        trained = tune(program, directory, turns=settings.finetuning.turns, progress=progress)
    ended = time.perf_counter()
    potential = NequipPotential(form, trained.parameters)
    rmse = {part: errors(potential, items) for part, items in ((TRAIN, train), (VALIDATION, validation)) if items}
    rmse_of_columns = column_rmse(potential.hessian_vector_product, force_constants, magnetic=settings.magnetic)
    details = {
        "force_constants": {"rows": crystals["columns"].size, "rmse": rmse_of_columns},
        "parameters": sum(values.size for values in trained.parameters.values()),
        **trained.versions,
    }
    if progress:
        progress(1.0, "trained")
    around = Cost(time.process_time() - cpu, time.perf_counter() - ended + prepared - began)
    history = tuple({**row, "objective": row["loss"]} for row in trained.curve.history())
    return potential, FitReport(True, trained.curve.step, rmse, trained.cost + around, history, details)


def columns_of(
    labels: Sequence[ForceConstantLabel], species: Sequence[str], cutoff: float, *, magnetic: bool
) -> dict[str, np.ndarray]:
    """:func:`~magflow.potentials.nequip.graph.graph` of the crystals, and
    :func:`~magflow.potentials.outside.columns.column_arrays`.

    Raises
    ------
    InputError
        Force constants whose moments follow the atoms, elements that the network does not know, moments that are
        missing or not collinear.
    """
    frames = []
    for label in labels:
        if magnetic:
            check_clamped(label)
        frame = crystal_of(label, magnetic=magnetic)
        try:
            graph([frame], species, cutoff, magnetic=magnetic)
        except InputError as error:
            error.where = label.source or repr(label)
            raise
        frames.append(frame)
    return {**graph(frames, species, cutoff, magnetic=magnetic), **column_arrays(labels)}


def _settings(settings: NequipSettings) -> dict[str, Any]:
    """As the backend reads them. A network that has learnt no stress is not asked for one now."""
    found = settings.finetuning.model_dump(mode="json")
    if settings.weights.stress == 0.0:
        found["weights"]["stress"] = 0.0
    return found
