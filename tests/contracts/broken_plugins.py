"""Engines, families and stores that break their contract in one way each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
from jobflow import JobStore
from pydantic import BaseModel, ConfigDict, Field

from magflow.core.frame import Frame
from magflow.core.label import Cost, FailureKind, Label, LabelKind
from magflow.core.prediction import Prediction
from magflow.core.protocols import FitReport, Probe
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import InputError
from magflow.potentials.calculator import FrameCalculator
from magflow.potentials.mmtp import MmtpFamily, MmtpPotential
from magflow.stores.jobstore import EmbeddedJobStore, campaign_store
from magflow.testing.springs import ELEMENTS, springs, two_atoms

# ---- engines: the model Hamiltonian, spoilt


def engine(**methods: Any) -> SpinLatticeEngine:
    """An engine whose class has other methods."""
    return type("Broken", (SpinLatticeEngine,), {"__module__": __name__, **methods})()


def labels(change: Callable[[Label], Label]) -> SpinLatticeEngine:
    """An engine whose usable labels are changed."""

    def label(self, frame, level_of_theory, workdir):
        made = SpinLatticeEngine.label(self, frame, level_of_theory, workdir)
        return change(made) if made.ok else made

    return engine(label=label)


def minus(name: str) -> Callable[[Label], Label]:
    return lambda label: replace(label, **{name: None if getattr(label, name) is None else -getattr(label, name)})


def along_the_moments(self, frame, level_of_theory, workdir):
    """Not even under M -> -M, and consistent with its own derivative otherwise."""
    made = SpinLatticeEngine.label(self, frame, level_of_theory, workdir)
    if made.magnetic_forces is None:
        return made
    first = np.zeros_like(made.magnetic_forces)
    first[0, 2] = made.orientation
    return replace(made, energy=made.energy + frame.magmoms[0, 2], magnetic_forces=made.magnetic_forces - first)


def noisy(self, frame, level_of_theory, workdir):
    made = SpinLatticeEngine.label(self, frame, level_of_theory, workdir)
    return replace(made, energy=made.energy + np.random.default_rng().normal(0, 1e-6)) if made.ok else made


def reads_leftovers(self, frame, level_of_theory, workdir):
    if (workdir / "energy.json").is_file():
        return Label.failed(frame, level_of_theory, FailureKind.TRUNCATED_OUTPUT, "the file is cut short")
    (workdir / "energy.json").write_text(json.dumps([1, 2, 3]))
    return SpinLatticeEngine.label(self, frame, level_of_theory, workdir)


def moments_of_nothing(self, frame, level_of_theory, workdir):
    if frame.magmoms is None:
        frame = frame.replace(magmoms=np.zeros(len(frame)))
    return SpinLatticeEngine.label(self, frame, level_of_theory, workdir)


def another_frame(label: Label) -> Label:
    return replace(label, frame_id=label.frame_id[::-1])


def by_the_clock(self, elements):
    level = SpinLatticeEngine.level_of_theory(self, elements)
    return replace(level, parameters=dict(level.parameters) | {"elements": list(elements)})


def always_constrained(self, elements):
    return replace(SpinLatticeEngine.level_of_theory(self, elements), kind=LabelKind.CONSTRAINED)


class LooseEngine(SpinLatticeEngine):
    """Takes settings it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class NoEngine(BaseModel):
    """Lacks everything but its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "spin-lattice"
    kind: LabelKind = Field(LabelKind.CONSTRAINED, description="Kind.")


ENGINES: dict[str, tuple[Callable[[], Any], str]] = {
    "registered as another class": (lambda: engine(), "is_registered_by_its_name"),
    "ignores misspelt settings": (LooseEngine, "settings_are_frozen_closed_and_described"),
    "has no methods": (NoEngine, "is_a_label_engine"),
    "one level for every kind": (
        lambda: engine(level_of_theory=always_constrained),
        "every_kind_has_its_own_level_of_theory",
    ),
    "level depends on the order": (
        lambda: engine(level_of_theory=by_the_clock),
        "level_of_theory_is_stable_and_goes_through_json",
    ),
    "finds everything": (
        lambda: engine(probe=lambda self, elements: [Probe("it", True, "is there")]),
        "probe_reports_and_never_raises",
    ),
    "label of another frame": (lambda: labels(another_frame), "label_belongs_to_the_frame"),
    "forces that pull": (
        lambda: labels(lambda label: replace(label, forces=label.forces + 0.1)),
        "label_is_complete",
    ),
    "misses its target": (
        lambda: labels(lambda x: replace(x, magmoms=None if x.magmoms is None else x.magmoms * 0.9)),
        "label_is_complete",
    ),
    "costs nothing": (lambda: labels(lambda label: replace(label, cost=Cost())), "label_is_complete"),
    "no two energies alike": (lambda: engine(label=noisy), "same_frame_same_label"),
    "believes leftovers": (lambda: engine(label=reads_leftovers), "leftovers_of_an_interrupted_attempt_do_not_matter"),
    "not even under M -> -M": (lambda: engine(label=along_the_moments), "time_reversal"),
    "wrong sign of forces": (lambda: labels(minus("forces")), "forces_are_minus_the_gradient"),
    "wrong sign of magnetic forces": (
        lambda: labels(minus("magnetic_forces")),
        "magnetic_forces_are_minus_the_derivative_by_the_moments",
    ),
    "no moments read as zero": (
        lambda: engine(label=moments_of_nothing),
        "a_constrained_label_without_moments_fails_as_a_label",
    ),
    "free energy too high": (
        lambda: labels(
            lambda x: replace(x, energy=x.energy + 9.0) if x.level_of_theory.kind != LabelKind.CONSTRAINED else x
        ),
        "free_and_non_magnetic_labels",
    ),
}

# ---- potentials: a small mMTP, spoilt

FAMILY = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=6)


@cache
def fitted() -> tuple[MmtpPotential, FitReport]:
    return FAMILY.fit([springs(f) for f in two_atoms(40, seed=0)], elements=ELEMENTS, seed=1)


def spoilt(**methods: Any) -> MmtpPotential:
    """The fitted potential with other methods."""
    good = fitted()[0]
    return type("Spoilt", (MmtpPotential,), methods)(good.model, good.active)


def predicting(change: Callable[[Prediction, Sequence[Frame]], Prediction]) -> MmtpPotential:
    """The fitted potential with its predictions changed."""
    return spoilt(predict=lambda self, frames: change(MmtpPotential.predict(self, frames), frames))


def reading(change: Callable[[Frame], Frame]) -> MmtpPotential:
    """The fitted potential, which sees frames changed."""
    return spoilt(predict=lambda self, frames: MmtpPotential.predict(self, [change(f) for f in frames]))


def uneven(p: Prediction, frames: Sequence[Frame]) -> Prediction:
    first = np.array([f.magmoms[0, 2] for f in frames])
    pull = np.zeros_like(p.magnetic_forces)
    pull[::2, 2] = -1.0
    return replace(p, energy=p.energy + first, magnetic_forces=p.magnetic_forces + pull)


def of_the_first(p: Prediction, frames: Sequence[Frame]) -> Prediction:
    return replace(p, energy=p.energy - p.energy[0]) if len(frames) else p


def refuses_none(p: Prediction, frames: Sequence[Frame]) -> Prediction:
    return replace(p, energy=p.energy + 0 * len(frames[0]))


def with_zero_moments(frame: Frame) -> Frame:
    return frame.replace(magmoms=np.zeros(len(frame))) if frame.magmoms is None else frame


def as_iron(frame: Frame) -> Frame:
    species = tuple("Fe" if s == "Xe" else s for s in frame.species)
    return Frame(species, frame.cell, frame.positions, frame.magmoms)


def load_anything(data: bytes) -> MmtpPotential:
    try:
        return MmtpPotential.from_bytes(data)
    except InputError:
        return fitted()[0]


def descriptors_by_sign(self, frames):
    return MmtpPotential.descriptors(self, frames) + np.array([[f.magmoms[0, 2]] for f in frames])


def bytes_of_another(self):
    return MmtpPotential(replace(self.model, parameters=1.001 * self.model.parameters)).to_bytes()


def halved(p: Prediction, frames: Sequence[Frame]) -> Prediction:
    return replace(p, magnetic_forces=None if p.magnetic_forces is None else p.magnetic_forces / 2)


def product_at_clamped_moments(self, frame, vectors):
    along = np.array(vectors)
    along[..., 3] = 0.0
    return MmtpPotential.hessian_vector_product(self, frame, along)


POTENTIALS: dict[str, tuple[Callable[[], Any], str]] = {
    "cannot be saved": (lambda: PotentialWithoutBytes(), "is_a_potential"),
    "one force for all": (lambda: predicting(lambda p, f: replace(p, forces=p.forces[:1])), "shapes"),
    "energy against the first frame": (lambda: predicting(of_the_first), "frames_do_not_depend_on_each_other"),
    "needs a frame": (lambda: predicting(refuses_none), "no_frames"),
    "wrong sign of forces": (
        lambda: predicting(lambda p, f: replace(p, forces=-p.forces)),
        "forces_are_minus_the_gradient",
    ),
    "half of the magnetic forces": (
        lambda: predicting(halved),
        "magnetic_forces_are_minus_the_derivative_by_the_moments",
    ),
    "stress in another order": (
        lambda: predicting(lambda p, f: replace(p, stress=p.stress[:, [0, 1, 2, 5, 4, 3]])),
        "stress_is_the_derivative_by_the_strain",
    ),
    "compression positive": (
        lambda: predicting(lambda p, f: replace(p, stress=-p.stress)),
        "stress_is_the_derivative_by_the_strain",
    ),
    "not even under M -> -M": (lambda: predicting(uneven), "time_reversal"),
    "Hessian of the positions alone": (
        lambda: spoilt(hessian_vector_product=product_at_clamped_moments),
        "second_derivatives",
    ),
    "saves another model": (lambda: spoilt(to_bytes=bytes_of_another), "goes_through_bytes"),
    "takes xenon for iron": (lambda: reading(as_iron), "an_unknown_species_is_an_input_error"),
    "takes no moments for zero": (lambda: reading(with_zero_moments), "missing_moments_are_an_input_error"),
    "calculator of the first atoms": (lambda: spoilt(calculator=lambda self, **_: Stuck(self)), "calculator"),
    "calculator that takes no moments for zero": (
        lambda: spoilt(calculator=lambda self, **options: Inventive(self, **options)),
        "calculator_takes_moments_and_invents_none",
    ),
    "calculator that takes no moments=": (
        lambda: spoilt(calculator=lambda self, **_: FrameCalculator(self)),
        "calculator_takes_moments_and_invents_none",
    ),
    "holds on to this process": (lambda: spoilt(), "can_be_pickled_and_copied"),
    "descriptors by sign": (lambda: spoilt(descriptors=descriptors_by_sign), "descriptors_and_grades"),
}
LOADERS = {"loads anything": (load_anything, "a_damaged_model_is_an_input_error")}


class PotentialWithoutBytes:
    """Predicts, and no more."""

    species, cutoff, family = ELEMENTS, 4.5, "mmtp"

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        return fitted()[0].predict(frames)


class Inventive(FrameCalculator):
    """ASE's zeros for moments that nobody has set."""

    def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
        atoms.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
        super().calculate(atoms, *args, **kwargs)


class Stuck(FrameCalculator):
    """Never calculates a second time."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        if not self.results:
            super().calculate(*args, **kwargs)

    def calculation_required(self, atoms: Any, properties: Any) -> bool:
        return not self.results

    def get_property(self, name: str, atoms: Any = None, allow_calculation: bool = True) -> Any:
        if not self.results:
            return super().get_property(name, atoms, allow_calculation)
        return self.results[name]


# ---- families that fit it


def family(fit: Callable[..., Any] | None = None, **methods: Any) -> MmtpFamily:
    """A family whose fits are what `fit` makes of the options, by default all the same potential."""

    def fits(self, train, **options):
        return (fit or (lambda train, **_: fitted()))(train, **options)

    made = type("Broken", (MmtpFamily,), {"__module__": __name__, "fit": fits, **methods})
    return made(**FAMILY.model_dump(exclude_unset=True))


def unlearnt(train, **options):
    model = fitted()[0].model
    return MmtpPotential(replace(model, parameters=0.1 * model.parameters), fitted()[0].active), fitted()[1]


def without_errors(train, **options):
    return fitted()[0], replace(fitted()[1], rmse={"train": {}})


def by_the_first(self, potential, labels, *, seed):
    return MmtpFamily.undecided(self, potential, labels[:20], seed=seed)


class LooseFamily(MmtpFamily):
    """Takes settings it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class NoFamily(BaseModel):
    """Lacks everything but its settings."""

    name: ClassVar[str] = "mmtp"


FAMILIES: dict[str, tuple[Callable[[], Any], str]] = {
    "registered as another class": (family, "is_registered_by_its_name"),
    "ignores misspelt settings": (LooseFamily, "settings_are_frozen_closed_and_described"),
    "has no methods": (NoFamily, "is_a_potential_family"),
    "lacks its program": (
        lambda: family(probe=lambda self: [Probe("it", False, "is absent", "install it")]),
        "probe_never_raises_and_is_ok_here",
    ),
    "learns nothing": (lambda: family(unlearnt), "a_fit_learns"),
    "tells no errors": (lambda: family(without_errors), "a_fit_learns"),
    "one model for every seed": (family, "a_seed_decides_the_fit"),
    "forgets the validation labels": (family, "a_fit_starts_from_a_potential_and_looks_at_validation_labels"),
    "forgets half of the labels": (lambda: family(undecided=by_the_first), "what_is_undecided_falls_with_labels"),
    "takes any workdir": (family, "a_fit_goes_on_from_its_workdir"),
    "forgets the force constants": (family, "force_constants_are_met"),
}
ALIKE = "ensemble_saves_and_loads"

# ---- stores: the embedded one, spoilt


class _Store(EmbeddedJobStore):
    pass


class LosesAWrite(_Store):
    """Every third document is gone."""

    written = 0

    def update(self, docs: Any, key: Any = None, save: Any = None) -> None:
        for document in docs if isinstance(docs, list) else [docs]:
            self.written += 1
            if self.written % 3:
                super().update(document, key=key, save=save)


class KeepsEveryRun(_Store):
    """A second run of a job is a second document."""

    runs = 0

    def update(self, docs: Any, key: Any = None, save: Any = None) -> None:
        self.runs += 1
        for document in docs if isinstance(docs, list) else [docs]:
            document["run"] = self.runs
        super().update(docs, key=["uuid", "index", "run"], save=save)


class KeepsArraysInside(_Store):
    """Arrays are in the documents."""

    def update(self, docs: Any, key: Any = None, save: Any = None) -> None:
        super().update(docs, key=key, save=None)


class DoesNotSort(_Store):
    """Documents in the order of writing."""

    def query(self, criteria=None, properties=None, sort=None, **options):
        return super().query(criteria, properties, None, **options)


class RemovesTooMuch(_Store):
    """Removes everything."""

    def remove_docs(self, criteria: Any, *args: Any, **kwargs: Any) -> None:
        super().remove_docs({})


class GreaterThanAnything(_Store):
    """Texts are greater than numbers."""

    def query(self, criteria=None, properties=None, sort=None, **options):
        for field, asked in (criteria or {}).items():
            if isinstance(asked, dict) and isinstance(asked.get("$gt"), int):
                criteria = {"$or": [{field: asked}, {field: {"$gte": ""}}]}
        return super().query(criteria, properties, sort, **options)


class ForgetsWhereItIs(_Store):
    """Serialises to a store elsewhere."""

    def as_dict(self) -> dict[str, Any]:
        return campaign_store(tempfile.mkdtemp()).as_dict()


STORES: dict[type[JobStore], str] = {
    LosesAWrite: "nothing_that_was_written_is_lost",
    KeepsEveryRun: "a_job_that_runs_again_replaces_document_and_arrays",
    KeepsArraysInside: "a_flow_runs_and_its_arrays_are_apart",
    DoesNotSort: "filters_orders_and_pages",
    GreaterThanAnything: "comparisons_stay_within_one_type",
    RemovesTooMuch: "documents_are_removed",
    ForgetsWhereItIs: "survives_serialisation",
}
