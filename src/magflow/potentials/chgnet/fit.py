"""From the published network, or one that was tuned before, and labels to a network that has learnt them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import Cost, LabeledFrame
from magflow.core.protocols import FitReport, Potential, Progress
from magflow.errors import InputError
from magflow.potentials.chgnet.frames import frame_arrays, label_arrays
from magflow.potentials.chgnet.potential import ChgnetPotential
from magflow.potentials.chgnet.program import CHGNET
from magflow.potentials.chgnet.settings import ChgnetSettings, known
from magflow.potentials.outside.archive import PARAMETER
from magflow.potentials.outside.columns import column_arrays, column_rmse, crystal_of
from magflow.potentials.outside.labels import atomic_energies, check, errors
from magflow.potentials.outside.settings import StartBias
from magflow.potentials.outside.trained import CRYSTALS, FINETUNE, START, TRAIN, VALIDATION, Trained, tune
from magflow.potentials.outside.workdir import training_directory


def fit_chgnet(
    settings: ChgnetSettings,
    train: Sequence[LabeledFrame],
    *,
    species: tuple[str, ...],
    seed: int,
    validation: Sequence[LabeledFrame] = (),
    start: Potential | None = None,
    progress: Progress | None = None,
    workdir: Path | None = None,
    force_constants: Sequence[ForceConstantLabel] = (),
) -> tuple[ChgnetPotential, FitReport]:
    """Tune one network; see :meth:`magflow.potentials.chgnet.family.ChgnetFamily.fit`."""
    began, cpu = time.perf_counter(), time.process_time()
    if not train:
        raise InputError("no labels to fit", where=TRAIN, expected="at least one labelled frame")
    for part, items in ((TRAIN, train), (VALIDATION, validation)):
        check(items, species, magnetic=False, part=part, without="chgnet")
    origin = _published(settings, species) if start is None else _going_on(settings, species, start)
    if settings.start_bias is StartBias.REFIT and not force_constants:
        origin = _shifted(origin, train)
    crystals = _columns(force_constants, species) if force_constants else {}
    prepared = time.perf_counter()
    if settings.finetuning.turns:
        trained = _tuned(settings, origin, train, crystals, seed, progress, workdir)
        potential = ChgnetPotential(origin.definition, {**origin.parameters, **trained.parameters})
        steps, cost, history, versions = trained.curve.step, trained.cost, trained.curve.history(), trained.versions
    else:
        potential, steps, cost, history, versions = origin, 0, Cost(), (), CHGNET.versions()
    ended = time.perf_counter()
    rmse = {part: errors(potential, items) for part, items in ((TRAIN, train), (VALIDATION, validation)) if items}
    details: dict[str, Any] = {"parameters": sum(v.size for v in potential.parameters.values()), **versions}
    if force_constants:
        off = column_rmse(potential.columns, force_constants, magnetic=False)
        details["force_constants"] = {"rows": crystals["columns"].size, "rmse": off}
    if progress:
        progress(1.0, "trained")
    around = Cost(time.process_time() - cpu, time.perf_counter() - ended + prepared - began)
    told = tuple({**row, "objective": row["loss"]} for row in history)
    return potential, FitReport(True, steps, rmse, cost + around, told, details)


def _published(settings: ChgnetSettings, species: tuple[str, ...]) -> ChgnetPotential:
    """The network as the wheel of chgnet has it.

    Raises
    ------
    InputError
        An element that CHGNet does not know.
    """
    try:
        known(species)
    except ValueError as error:
        raise InputError("an element that CHGNet does not know", seen=str(error), expected="H to Pu") from error
    answer = CHGNET.server().ask(op="pretrained", weights=np.array(str(settings.pretrained)))
    arguments = json.loads(str(answer.pop("arguments")))
    definition = {
        "pretrained": str(settings.pretrained),
        "arguments": arguments,
        "precision": str(settings.precision),
        "species": list(species),
        "energy_shifts": [0.0] * len(species),
    }
    return ChgnetPotential(definition, {name.removeprefix(PARAMETER): values for name, values in answer.items()})


def _going_on(settings: ChgnetSettings, species: tuple[str, ...], start: Potential) -> ChgnetPotential:
    """The potential a fit starts from, in the precision of the settings.

    Raises
    ------
    InputError
        If it is of another family, or for other elements.
    """
    if not isinstance(start, ChgnetPotential):
        raise InputError("the warm start is of another family", seen=start.family, expected=ChgnetPotential.family)
    if start.species != species:
        raise InputError(
            "the model to start from knows other elements",
            seen=", ".join(start.species),
            expected=", ".join(species),
            hint="train on the same elements (setting elements), or start afresh",
        )
    return ChgnetPotential({**start.definition, "precision": str(settings.precision)}, start.parameters)


def _shifted(origin: ChgnetPotential, train: Sequence[LabeledFrame]) -> ChgnetPotential:
    """`origin` with the energies of its atoms moved to those of the labels."""
    predicted = origin.predict([item.configuration for item in train]).energy
    off = np.array([item.label.energy for item in train], dtype=float) - predicted
    shifts = np.array(origin.definition["energy_shifts"]) + atomic_energies(train, origin.species, off)
    return ChgnetPotential({**origin.definition, "energy_shifts": shifts.tolist()}, origin.parameters)


def _columns(labels: Sequence[ForceConstantLabel], species: Sequence[str]) -> dict[str, np.ndarray]:
    """:func:`~magflow.potentials.chgnet.frames.frame_arrays` of the crystals, and their columns.

    Raises
    ------
    InputError
        Elements that the potential does not know, naming the crystal.
    """
    frames = [crystal_of(label, magnetic=False) for label in labels]
    for label, frame in zip(labels, frames, strict=True):
        try:
            frame_arrays([frame], species)
        except InputError as error:
            error.where = label.source or repr(label)
            raise
    return {**frame_arrays(frames, species), **column_arrays(labels)}


def _tuned(
    settings: ChgnetSettings,
    origin: ChgnetPotential,
    train: Sequence[LabeledFrame],
    crystals: dict[str, np.ndarray],
    seed: int,
    progress: Progress | None,
    workdir: Path | None,
) -> Trained:
    """Run the tuning, or what is left of it."""
    labels = label_arrays(train, origin.species, origin.shift_of([item.configuration for item in train]))
    tuning = settings.finetuning
    content = {"definition": dict(origin.definition), "seed": seed, "batch_frames": settings.batch_frames}
    content |= tuning.model_dump(mode="json")

    def write(directory: Path) -> None:
        directory.mkdir()
        files = {f"{TRAIN}.npz": labels, START: dict(origin.parameters), **({CRYSTALS: crystals} if crystals else {})}
        for name, arrays in files.items():
            np.savez(directory / name, allow_pickle=False, **arrays)
        (directory / FINETUNE).write_text(json.dumps(content, sort_keys=True, indent=1), encoding="utf-8")

    with training_directory(workdir, write) as directory:
        return tune(CHGNET, directory, turns=tuning.turns, progress=progress)
