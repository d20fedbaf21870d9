"""Task documents: what the jobs of a campaign leave in the store.

Scalars live in the document and can be queried; arrays live in the ``arrays`` field, which jobflow moves to the
``data`` store (as text, see :mod:`magflow.core.arrays`). Units are those of the house unless the
name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from magflow.core.quantities import scales_of_old
from magflow.core.release import __version__
from magflow.core.terms import LabelKind, Uncertainty
from magflow.core.versions import FORMAT, WRITER, Format, read_stamped


def _plain_level(level: Any) -> Any:
    if _is_plain(level):
        return level
    from monty.json import jsanitize  # it brings numpy, which who reads documents from a store has no need of

    return jsanitize(level, strict=True, enum_values=True)


def _is_plain(value: Any) -> bool:
    """Whether it is what JSON reads: no objects, enumerations or tuples in it."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(inner) for key, inner in value.items())
    if type(value) is list:
        return all(map(_is_plain, value))
    return type(value) in (str, int, float, bool, type(None))


PlainLevel = Annotated[dict[str, Any], BeforeValidator(_plain_level)]
"""A level of theory as plain data: whoever decodes a document builds the Makers and settings it names on the way."""


def now(timespec: str = "seconds") -> str:
    """The present time, ISO 8601, UTC; as text, a finer one is later than a coarser one of the same second."""
    return datetime.now(UTC).isoformat(timespec=timespec)


class Purpose(StrEnum):
    """What a label is for."""

    CAMPAIGN = "campaign"
    PRETRAINING = "pre-training"
    TEST = "test"
    IMPORTED = "imported"
    VALIDATION = "validation"
    PHONON = "phonon"


class CampaignDocument(BaseModel):
    """Fields every document has.

    Whoever builds a document from a stored one - a query, or jobflow when it resolves a reference - gets it in the
    present format, or the error of :meth:`present`; fields that a later magflow has added are ignored.
    """

    model_config = ConfigDict(extra="ignore", defer_build=True)

    layout: ClassVar[Format[dict[str, Any]]]
    """Of this kind of document: its format, and the steps from older ones."""

    campaign: str = Field(description="Id of the campaign: hash of the parts of the file that decide its science")
    iteration: int = Field(ge=0, description="Iteration the document belongs to, counted from 0")
    created_at: str = Field(default_factory=now, description="ISO 8601, UTC")
    format: int = Field(default=1, ge=1, description="Format of this kind of document, the present one once it is read")
    magflow: str = Field(default=__version__, description="Version of magflow that wrote the document")

    @model_validator(mode="before")
    @classmethod
    def _in_present_format(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        if {FORMAT, WRITER}.isdisjoint(data):  # made here and now
            return {**data, FORMAT: cls.layout.number}
        return cls.present(data)

    @classmethod
    def present(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a stored document, in the present format.

        Raises
        ------
        NewerFormatError
            If a newer magflow wrote it, in a format this one does not know.
        """
        fields = {key: value for key, value in stored.items() if not key.startswith("@")}
        where = f"campaign {fields.get('campaign')}, iteration {fields.get('iteration')}"
        return read_stamped(cls.layout, fields, where)

    @classmethod
    def readable(cls) -> dict[str, Any]:
        """A filter for stored documents of this kind that this magflow can read."""
        return {f"output.{FORMAT}": {"$not": {"$gt": cls.layout.number}}}


class CandidatesDoc(CampaignDocument):
    """What one exploration offered."""

    layout = Format("document of candidates")

    doc_type: Literal["candidates"] = "candidates"
    offered: int = Field(ge=0, description="Frames offered to the selection")
    sources: dict[str, int] = Field(description="Frames by where they came from, e.g. perturbation:bcc-Fe:AFM")
    health: dict[str, int] = Field(description="What the health checks met, by reason")
    wall_seconds: float = Field(ge=0, description="s")
    cpu_seconds: float = Field(ge=0, description="s")
    arrays: Any = Field(description="Frames (magflow.core.frame.frames_to_arrays) and 'source' (n,) strings")


class SelectionDoc(CampaignDocument):
    """What was offered, what was chosen and why, what was left out and why."""

    layout = Format("selection")

    doc_type: Literal["selection"] = "selection"
    offered: int = Field(ge=0)
    selected: list[str] = Field(description="frame_ids in priority order")
    rows: list[int] = Field(
        default_factory=list, description="The same as rows of the candidates, which hold the frames"
    )
    frames: list[str] = Field(
        default_factory=list, description="The selected frames, as encoded arrays: of magflow 0.1, for its label jobs"
    )
    sources: list[str] = Field(description="Where each selected frame came from")
    drawn: list[str] = Field(default_factory=list, description="frame_ids of those drawn at random from the domain")
    reasons: dict[str, int] = Field(description="Number of frames by reason; the sum is `offered`")
    strata: dict[str, int] = Field(description="Selected frames by composition x magnetic state")
    trust: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="Lower and upper trust level by quantity, house units (energy in eV/atom)"
    )
    exhausted: bool = Field(description="True if no candidate lay above the lower trust level")
    criterion: Literal["random", "expected-error", "deviation", "diversity"] | None = Field(
        default=None, description="What frames were chosen by; None: a magflow wrote it that did not say"
    )
    wall_seconds: float = Field(ge=0, description="s")
    cpu_seconds: float = Field(ge=0, description="s")
    arrays: Any = Field(
        description="One row per candidate, in their order: reason, score, grade, deviation_<quantity> (calibrated, "
        "house units); magflow.makers.offered joins them"
    )


class LabelDoc(CampaignDocument):
    """One label: finished or failed. A failed calculation is data."""

    layout = Format("label")

    doc_type: Literal["label"] = "label"
    label_id: str = Field(description="hash(frame_id, level_of_theory)")
    frame_id: str
    state: Literal["ok", "failed"]
    failure: str | None = Field(default=None, description="Kind of failure")
    message: str | None = Field(default=None, description="What happened, one line")
    purpose: Purpose = Field(
        default=Purpose.CAMPAIGN,
        description="campaign: chosen by the loop and learnt from; pre-training, test: beside it; imported: from "
        "files; validation: what properties are held against; phonon: crystals at rest and displaced, for force "
        "constants",
    )
    engine: str = Field(description="Name of the label engine")
    kind: LabelKind
    level_of_theory: PlainLevel
    level_of_theory_id: str = Field(description="Fingerprint of the level of theory")
    formula: str
    n_atoms: int = Field(ge=1)
    ordering: str
    source: str = Field(description="Where the frame came from")
    energy: float | None = Field(default=None, description="eV per cell, free energy without penalty")
    energy_per_atom: float | None = Field(default=None, description="eV/atom")
    volume_per_atom: float = Field(gt=0, description="A^3/atom")
    pressure_gpa: float | None = Field(default=None, description="GPa")
    force_max: float | None = Field(default=None, description="Largest force norm, eV/A")
    moment_total: float | None = Field(default=None, description="Sum of the collinear moments, muB")
    moment_max: float | None = Field(default=None, description="Largest moment norm, muB")
    magnetic_force_max: float | None = Field(default=None, description="Largest magnetic force norm, eV/muB")
    cpu_seconds: float = Field(ge=0, description="s")
    wall_seconds: float = Field(ge=0, description="s")
    cores: int = Field(ge=1)
    core_hours: float = Field(ge=0, description="wall time x cores, h; 0 for a reused label")
    attempts: int = Field(ge=1, description="Calculations run, retries of the SCF ladder included")
    reused: bool = Field(default=False, description="True if the label was found in the store and not computed")
    details: dict[str, Any] = Field(default_factory=dict, description="What the engine adds")
    arrays: Any = Field(description="The frame and, if it succeeded, its label")

    @classmethod
    def usable(cls, label_id: str) -> dict[str, Any]:
        """A filter for stored documents of one label that succeeded and that this magflow can read."""
        return {"output.doc_type": "label", "output.label_id": label_id, "output.state": "ok"} | cls.readable()


class BatchDoc(CampaignDocument):
    """The labels of one iteration together: what training reads."""

    layout = Format("batch of labels")

    doc_type: Literal["batch"] = "batch"
    label_ids: list[str] = Field(description="Usable labels")
    failed: dict[str, str] = Field(description="label_id of each failed label and its kind of failure")
    suspects: int | None = Field(default=None, ge=0, description="Suspect ones among the failed; older ones do not say")
    levels_of_theory: list[PlainLevel]
    cpu_seconds: float = Field(ge=0, description="s")
    wall_seconds: float = Field(ge=0, description="Sum over labels, s")
    core_hours: float = Field(ge=0)
    reused: int = Field(ge=0, description="Labels found in the store")
    retried: bool = Field(default=False, description="Labels offered again by `magflow retry`, outside any iteration")
    arrays: Any = Field(description="Frames and labels (magflow.makers.packing)")


class ModelDoc(CampaignDocument):
    """One trained member of an ensemble."""

    layout = Format("model")

    doc_type: Literal["model", "reference-model", "tuned-model"] = Field(
        default="model",
        description="reference-model: no member of the campaign's ensemble, but what it starts from or is held "
        "against; tuned-model: a member that has learnt force constants once the campaign had ended",
    )
    family: str
    settings: dict[str, Any] = Field(description="Settings of the family")
    member: int = Field(ge=0)
    seed: int
    elements: list[str]
    n_labels: int = Field(ge=1, description="Distinct labels in the training set")
    dataset: str = Field(description="Fingerprint of the training set")
    level_of_theory: PlainLevel
    uncertainty: Uncertainty = Field(
        default=Uncertainty.ENSEMBLE, description="What deviations of its ensemble are made of"
    )
    converged: bool
    rmse: dict[str, dict[str, float]] = Field(description="RMSE by part (train, validation) and quantity")
    cpu_seconds: float = Field(ge=0, description="s")
    wall_seconds: float = Field(ge=0, description="s")
    objective: list[float] = Field(
        default_factory=list, description="Of a tuned model: what its fit minimised, after each iteration"
    )
    arrays: Any = Field(
        description="'model': the bytes of the model as uint8; 'unseen_...': what a fit to the others would have said "
        "of each label it was given, with their label_ids"
    )


def _error_models(stored: dict[str, Any]) -> dict[str, Any]:
    """Format 2: a calibration is more than a factor."""
    return {**stored, "calibration": scales_of_old(stored.get("calibration") or {})}


class IterationDoc(CampaignDocument):
    """Errors of the OLD ensemble on the NEW labels, calibration, counts and cost: what decides to stop."""

    layout = Format("assessment of an iteration", (_error_models,))

    doc_type: Literal["iteration"] = "iteration"
    offered: int
    selected: int
    labels_new: int = Field(description="Usable labels of this iteration")
    labels_failed: int
    labels_total: int = Field(description="Usable labels so far")
    labels_attempted: int = Field(description="Usable and failed labels so far: what the label budget counts")
    failures: dict[str, int] = Field(description="Failed labels of this iteration by kind")
    exhausted: bool = Field(description="The pool held no candidate above the lower trust level")
    assessment: dict[str, Any] | None = Field(description="magflow.select.assessment.Assessment; None at iteration 0")
    assessed: list[str] = Field(
        default_factory=list, description="label_id of each label that was judged; `<quantity>_label` counts them"
    )
    calibration: dict[str, dict[str, float]] = Field(
        description="magflow.core.calibration.Calibration: by quantity, and by element for magnetic forces"
    )
    reliability: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict,
        description="magflow.select.reliability.Reliability of the deviations as they were claimed before a label was "
        "judged: typical (random labels) and chosen, by quantity",
    )
    rmse: dict[str, float] = Field(
        description="RMSE of the old ensemble on the new labels that were chosen, and so are hard, by quantity; house "
        "units; of all new labels where none was drawn at random"
    )
    drawn: list[str] = Field(default_factory=list, description="frame_ids of all labels drawn at random so far")
    judged: list[dict[str, Any]] = Field(
        default_factory=list,
        description="magflow.select.domain_error.Judged of the random labels that the domain's error rests on: all, by "
        "fits of the new ensemble that have not learnt from them; or the newest, as they came",
    )
    domain: dict[str, dict[str, float | None]] = Field(
        default_factory=dict,
        description="magflow.select.domain_error.DomainError by quantity: RMSE over the domain, 90 % confidence "
        "interval, random labels; house units",
    )
    within_target: bool = Field(
        description="Chosen labels, or the upper end of the domain's errors, within every target"
    )
    streak: int = Field(description="Iterations in a row within the target, this one included")
    train_rmse: dict[str, float] = Field(description="Mean over the new members")
    core_hours: dict[str, float] = Field(description="This iteration, by phase: explore, select, label, train")
    core_hours_total: float
    stop: str | None = Field(default=None, description="Why the campaign ends here; None if it goes on")
    explanation: str | None = Field(default=None, description="The reason in one sentence")
    arrays: Any = Field(
        description="Parity data: true, predicted, deviation, label of each quantity on the new labels; "
        "magflow.select.evidence.Evidence of these and of earlier ones that count"
    )


class TransferDoc(CampaignDocument):
    """One iteration of a transfer: errors on held-out magnetic labels with the non-magnetic start and without."""

    layout = Format("assessment of a transfer")

    doc_type: Literal["transfer"] = "transfer"
    points: list[dict[str, Any]] = Field(
        description="magflow.studies.transfer.result.TransferPoint of each way to fit; errors in house units"
    )
    test_labels: int = Field(ge=0, description="Held-out magnetic labels, drawn at random from the domain")
    test_core_hours: float = Field(ge=0, description="What they cost, h; part of no point")


class MeasurementDoc(CampaignDocument):
    """One property of one structure, on the finished ensemble or from the labels of its configurations."""

    layout = Format("measurement of a property")

    doc_type: Literal["measurement"] = "measurement"
    potential: str = Field(description="campaign: the ensemble; DFT: labels of the same configurations")
    property: str
    structure: str
    magnetic_state: str
    skipped: str | None = Field(default=None, description="Why it was not measured")
    failure: str | None = Field(default=None, description="Why there is no answer: a result, too")
    values: dict[str, float] = Field(default_factory=dict, description="Name, place and temperature to number")
    outside: float | None = Field(default=None, description="Share of the configurations outside the training domain")
    measurement: dict[str, Any] | None = Field(
        default=None, description="magflow.properties.measurement.Measurement: values with units and errors, curves"
    )
    references: list[dict[str, Any]] = Field(default_factory=list, description="Reference values it is held against")
    wall_seconds: float = Field(ge=0, description="s")
    cpu_seconds: float = Field(ge=0, description="s")


class OutcomeDoc(CampaignDocument):
    """The end of a campaign."""

    layout = Format("outcome of a campaign", (_error_models,))

    doc_type: Literal["outcome"] = "outcome"
    name: str
    reason: str = Field(description="Stop reason")
    explanation: str = Field(description="The reason in one sentence")
    labels: int
    core_hours: float
    models: list[str] = Field(description="Job uuids of the final ensemble")
    tuned: str = Field(
        default="", description="Which question about force constants the ensemble has learnt from; empty: none"
    )
    untuned: list[str] = Field(default_factory=list, description="Job uuids of the ensemble before that")
    calibration: dict[str, dict[str, float]]
    rmse: dict[str, float]
