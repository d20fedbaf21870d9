"""From labels to a trained Deep Potential."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from magflow.core import comparison
from magflow.core.arrays import digest
from magflow.core.files import install_directory
from magflow.core.label import Cost, LabeledFrame
from magflow.core.prediction import EnsemblePrediction
from magflow.core.protocols import FitReport, Potential, Progress
from magflow.errors import InputError, StoreError
from magflow.potentials.deepmd import data, inputs, training
from magflow.potentials.deepmd.child import server
from magflow.potentials.deepmd.inputs import TRAIN, VALIDATION
from magflow.potentials.deepmd.potential import DeepmdPotential
from magflow.potentials.deepmd.settings import DeepmdSettings

Form = Callable[[Sequence[LabeledFrame], Sequence[str]], dict[str, Any]]
"""Section ``model`` of deepmd-kit's input, without seeds, for labels and species."""
PREFIX = "training-"
"""Start of the name of a training's directory."""


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
    data.check(train, species, magnetic=settings.magnetic, part="train")
    data.check(validation, species, magnetic=settings.magnetic, part="validation")
    origin = None if start is None else _origin(start, settings.name)
    model = form(train, species)
    if origin is not None:
        model = _from_start(model, origin)
    prepared = time.perf_counter()
    with _directory(workdir, settings, model, train, validation, origin, seed) as directory:
        trained = training.train(
            directory,
            steps=settings.steps,
            patience=settings.patience,
            start=None if start is None else {"refit": "--finetune", "keep": "--init-model"}[settings.start_bias],
            progress=progress,
        )
        ended = time.perf_counter()
        answer = server().ask(op="slim", path=str(trained.checkpoint))
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


@contextmanager
def _directory(
    workdir: Path | None,
    settings: DeepmdSettings,
    model: Mapping[str, Any],
    train: Sequence[LabeledFrame],
    validation: Sequence[LabeledFrame],
    start: DeepmdPotential | None,
    seed: int,
) -> Iterator[Path]:
    """The directory of this very training, in `workdir` or a temporary one, held for this process.

    Its name is a hash of all files the training reads: an interrupted fit finds its own checkpoints, another fit
    finds that they are not its own.

    Raises
    ------
    InputError
        If `workdir` holds another training.
    StoreError
        If it cannot be written, or another process trains in it.
    """
    with ExitStack() as stack:
        root = workdir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="magflow-deepmd-")))
        try:
            root.mkdir(parents=True, exist_ok=True)
            prepared = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".new-", dir=root))) / "training"
            _write(prepared, settings, model, train, validation, start, seed)
            files = sorted(path for path in prepared.rglob("*") if path.is_file())
            key = digest([part for f in files for part in (str(f.relative_to(prepared)).encode(), f.read_bytes())])
            directory = root / f"{PREFIX}{key}"
            if others := sorted(p.name for p in root.glob(f"{PREFIX}*") if p != directory):
                raise InputError(
                    "the directory holds another training",
                    where=str(root),
                    seen=others[0],
                    expected=directory.name,
                    hint="use the labels and settings of that training, or remove it to start afresh",
                )
            if not directory.exists():
                install_directory(prepared, directory)
        except OSError as error:
            raise StoreError(f"the training cannot be written: {error.strerror}", where=str(root)) from error
        stack.enter_context(training.locked(directory))
        yield directory


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


def errors(potential: DeepmdPotential, items: Sequence[LabeledFrame]) -> dict[str, float]:
    """RMSE by quantity, house units; energy per atom, and only components that are labelled."""
    prediction = potential.predict([item.configuration for item in items])
    return comparison.rmse(EnsemblePrediction.from_members([prediction]), items)
