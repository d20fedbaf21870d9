"""What the stage of force constants leaves in the store: those of each crystal, and what they did to the ensemble."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from magflow.core.terms import MomentsOf
from magflow.core.versions import Format
from magflow.makers.documents import CampaignDocument, PlainLevel


class ForceConstantsDoc(CampaignDocument):
    """The force constants of one crystal as its labels say them, or why there are none."""

    layout = Format("force constants of a crystal")

    doc_type: Literal["force-constants"] = "force-constants"
    name: str = Field(description="Prototype, magnetic state and repeats: bcc-Fe FM 2x2x2")
    crystal: str = Field(description="Digest of prototype, repeats and displacement: what was asked")
    state: Literal["ok", "refused"]
    reason: str | None = Field(default=None, description="Why there are none")
    label_id: str | None = Field(default=None, description="magflow.core.force_constants.ForceConstantLabel.label_id")
    frame_id: str | None = Field(default=None, description="Of the perfect supercell")
    rows: list[int] = Field(default_factory=list, description="Atoms whose rows are known")
    n_atoms: int = Field(default=0, ge=0)
    moments: MomentsOf = Field(default=MomentsOf.CLAMPED, description="What the moments do while an atom is displaced")
    level_of_theory: PlainLevel = Field(default_factory=dict)
    labels: list[str] = Field(default_factory=list, description="label_ids they follow from, the perfect cell first")
    failed: dict[str, str] = Field(default_factory=dict, description="label_id of each failed label and its failure")
    residual_force: float | None = Field(default=None, description="Largest force on the perfect supercell, eV/A")
    residual_stress_gpa: float | None = Field(default=None, description="Its largest stress component, GPa")
    residual_magnetic_force: float | None = Field(default=None, description="Its largest magnetic force, eV/muB")
    arrays: Any = Field(description="Supercell, 'atoms' and 'array' (magflow.io.force_constants); empty without any")


class TuningDoc(CampaignDocument):
    """What force constants did to the ensemble of a campaign that has ended."""

    layout = Format("fine-tuning of a campaign")

    doc_type: Literal["tuning"] = "tuning"
    which: str = Field(description="Digest of the question: crystals, displacement, weights, budget")
    tuned: bool = Field(description="Whether the ensemble of the outcome has learnt force constants")
    reason: str | None = Field(default=None, description="Why it has not")
    tried: list[dict[str, Any]] = Field(
        default_factory=list,
        description="weight of a force constant, 1/(eV/A^2), the quantity whose error on labels not learnt from grew "
        "most with it, by which share (forgetting), and cpu_seconds of the fits; the last is that of the result",
    )
    models: list[str] = Field(description="Job uuids of the tuned ensemble")
    untuned: list[str] = Field(description="Job uuids of the ensemble it was")
    left_out: dict[str, str] = Field(description="Crystals without force constants, and why")
    force_constants: list[str] = Field(description="label_ids of the force constants learnt from")
    result: dict[str, Any] | None = Field(
        default=None, description="magflow.studies.finetune.result.FinetuneResult; None where nothing was learnt"
    )
    cpu_seconds: float = Field(ge=0, description="Of the fits, s")
