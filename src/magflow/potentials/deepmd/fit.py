"""From labels to a trained Deep Potential."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from magflow.core.label import Cost, LabeledFrame
from magflow.core.protocols import FitReport, Potential, Progress
from magflow.errors import InputError
from magflow.potentials.deepmd import data, inputs, starts, training
from magflow.potentials.deepmd.inputs import TRAIN, VALIDATION
from magflow.potentials.deepmd.potential import DeepmdPotential
from magflow.potentials.deepmd.program import DEEPMD_KIT
from magflow.potentials.deepmd.settings import DeepmdSettings
from magflow.potentials.deepmd.starts import Start
from magflow.potentials.outside.labels import check, errors
from magflow.potentials.outside.workdir import training_directory

Form = Callable[[Sequence[LabeledFrame], Sequence[str], Mapping[str, Any] | None], Mapping[str, Any]]
"""Section ``model`` of deepmd-kit's input, without seeds, for labels and species, or on a section that is given."""


def fit_deepmd(
    settings: DeepmdSettings,
    form: Form,
    train: Sequence[LabeledFrame],
    *,
    species: tuple[str, ...],
    seed: int,
    validation: Sequence[LabeledFrame] = (),
    start: Potential | None = None,
    progress: Progress | None = None,
    workdir: Path | None = None,
) -> tuple[DeepmdPotential, FitReport]:
    """Fit one potential of a `form`; see :meth:`magflow.potentials.deepmd.family.DeepmdFamily.fit`."""
    began, cpu = time.perf_counter(), time.process_time()
    if not train:
        raise InputError("no labels to fit", where="train", expected="at least one labelled frame")
    for part, items in ((TRAIN, train), (VALIDATION, validation)):
        check(items, species, magnetic=settings.magnetic, part=part, without="dp")
    given = None
    if settings.pretrained is not None:
        given = starts.pretrained_section(settings.pretrained, settings.branch, species)
    model = form(train, species, given)
    begin = _begin(settings, model, start)
    if begin is not None:
        model = begin.model
    prepared = time.perf_counter()

    def write(directory: Path) -> None:
        _write(directory, settings, model, train, validation, begin, seed)

    with training_directory(workdir, write) as directory:
        trained = training.train(
            directory,
            steps=settings.steps,
            patience=settings.patience,
            start=None if begin is None else {"refit": "--finetune", "keep": "--init-model"}[settings.start_bias],
            progress=progress,
        )
        ended = time.perf_counter()
        answer = DEEPMD_KIT.server().ask(op="slim", path=str(trained.checkpoint))
    potential = DeepmdPotential(answer["checkpoint"].tobytes(), model)
    rmse = {TRAIN: errors(potential, train)}
    if validation:
        rmse[VALIDATION] = errors(potential, validation)
    if progress:
        progress(1.0, "trained")
    around = Cost(time.process_time() - cpu, time.perf_counter() - ended + prepared - began)
    details = {
        "best_step": trained.step,
        "stopped_early": trained.stopped_early,
        "virtual_scale_a_per_mub": model.get("spin", {}).get("virtual_scale"),
        **json.loads(str(answer["versions"])),
    }
    return potential, FitReport(True, trained.curve.step, rmse, trained.cost + around, trained.curve.history(), details)


def _begin(settings: DeepmdSettings, model: Mapping[str, Any], start: Potential | None) -> Start | None:
    """Where the training of `model` begins; None: with parameters drawn at random."""
    if start is not None:
        return starts.from_potential(model, start, settings.name)
    if settings.pretrained is not None:
        return starts.from_checkpoint(model, settings.pretrained, settings.branch)
    return None


def _write(
    directory: Path,
    settings: DeepmdSettings,
    model: Mapping[str, Any],
    train: Sequence[LabeledFrame],
    validation: Sequence[LabeledFrame],
    start: Start | None,
    seed: int,
) -> None:
    """Everything the training reads."""
    species = model["type_map"]
    systems = {
        part: [
            folder.relative_to(directory)
            for folder in data.write_systems(directory / part, items, species, magnetic=settings.magnetic)
        ]
        for part, items in ((TRAIN, train), (VALIDATION, validation))
    }
    metric = inputs.validation_metric(settings, validation)
    frozen = settings.freeze_descriptor and start is not None
    content = inputs.training_input(settings, model, systems, metric, seed, freeze_descriptor=frozen)
    (directory / training.INPUT).write_text(json.dumps(content, indent=1, sort_keys=True))
    if start is not None:
        (directory / training.START).write_bytes(start.checkpoint)
        (directory / "start_bias").write_text(settings.start_bias)
