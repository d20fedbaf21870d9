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
from magflow.potentials.deepmd import data, inputs, training
from magflow.potentials.deepmd.inputs import TRAIN, VALIDATION
from magflow.potentials.deepmd.potential import DeepmdPotential
from magflow.potentials.deepmd.program import DEEPMD_KIT
from magflow.potentials.deepmd.settings import DeepmdSettings
from magflow.potentials.outside.labels import check, errors
from magflow.potentials.outside.workdir import training_directory

Form = Callable[[Sequence[LabeledFrame], Sequence[str]], dict[str, Any]]
"""Section ``model`` of deepmd-kit's input, without seeds, for labels and species."""


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
    origin = None if start is None else _origin(start, settings.name)
    model = form(train, species)
    if origin is not None:
        model = _from_start(model, origin)
    prepared = time.perf_counter()

    def write(directory: Path) -> None:
        _write(directory, settings, model, train, validation, origin, seed)

    with training_directory(workdir, write) as directory:
        trained = training.train(
            directory,
            steps=settings.steps,
            patience=settings.patience,
            start=None if start is None else {"refit": "--finetune", "keep": "--init-model"}[settings.start_bias],
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


def _origin(start: Potential, family: str) -> DeepmdPotential:
    if not isinstance(start, DeepmdPotential) or start.family != family:
        raise InputError("the warm start is of another family", seen=start.family, expected=family)
    return start


def _from_start(model: dict[str, Any], start: DeepmdPotential) -> dict[str, Any]:
    """Section ``model`` with the sizes of the potential to start from, which has to be of the same form."""
    inputs.same_form(model, start.model)
    descriptor = model["descriptor"] | {"sel": start.model["descriptor"]["sel"]}
    spin = {"spin": start.model["spin"]} if "spin" in start.model else {}
    return model | {"descriptor": descriptor} | spin


def _write(
    directory: Path,
    settings: DeepmdSettings,
    model: Mapping[str, Any],
    train: Sequence[LabeledFrame],
    validation: Sequence[LabeledFrame],
    start: DeepmdPotential | None,
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
