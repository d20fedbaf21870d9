"""The file of a dichotomy: the same frames labelled in several kinds, potentials on each, and what they are asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from magflow.campaign.base import Section, map_paths, problem
from magflow.campaign.schema import LabelSpec, TrainSpec
from magflow.campaign.source import CampaignFileError, Problem, Source, dotted, read_source
from magflow.core.label import LabelKind
from magflow.core.protocols import LabelEngine
from magflow.explore.builders import BuilderSettings
from magflow.explore.pool import PoolSettings

VERSION = 1
"""Version of the layout."""

_SHORT = 80


class KindsSpec(LabelSpec):
    """What computes the labels of every frame, once per kind."""

    kinds: tuple[LabelKind, ...] = Field(
        (LabelKind.NON_MAGNETIC, LabelKind.SPIN_POLARISED), min_length=1, description="Kinds of label, each a set."
    )
    core_hours: float = Field(gt=0, description="Labelling ends when all labels together have cost this much.")
    test_every: int = Field(8, ge=2, description="Every so many frames are kept for tests, the same in all sets.")

    def engine_of(self, kind: LabelKind) -> LabelEngine:
        """The engine for labels of one kind; all else is the same."""
        made: LabelEngine = self.settings.model_copy(update={"kind": kind})  # type: ignore[assignment]
        return made


class PotentialSpec(TrainSpec):
    """One potential."""

    labels: LabelKind = Field(description="The set it learns from.")
    moments: Literal["read", "ignored"] = Field(
        "read",
        description="ignored: the moments of the labels are left out, so that a family that could read them does not.",
    )


class ExaminationSpec(Section):
    """What the potentials are asked, and what they are held against."""

    structures: dict[str, BuilderSettings] = Field(min_length=1, description="Crystals by name.")
    properties: dict[str, dict[str, Any]] = Field(min_length=1, description="Properties, with settings of each.")
    references: tuple[Path, ...] = Field((), description="Files of reference values.")


class DichotomySpec(Section):
    """Several surfaces of one material, potentials on each, and the properties that tell them apart."""

    magflow_dichotomy: int = Field(ge=1, le=VERSION, description="Version of the file's layout.")
    name: str = Field(min_length=1, description="For people.")
    seed: int = Field(1, ge=0, description="Every random number follows from it.")
    elements: tuple[str, ...] = Field(min_length=1, description="Chemical symbols.")
    moments: dict[str, float] = Field(
        default_factory=dict, description="Element to the moment, muB, that spin-polarised labels start from, parallel."
    )
    frames: PoolSettings = Field(description="What is labelled.")
    label: KindsSpec = Field(description="What computes the labels.")
    labels: tuple[Path, ...] = Field(
        (),
        description="Files of labels that are there already, of these kinds and this level of theory: they are not "
        "computed again, and count as spent.",
    )
    potentials: dict[str, PotentialSpec] = Field(min_length=1, description="Potentials by name.")
    validation: ExaminationSpec = Field(description="What the potentials are asked.")

    @field_validator("potentials")
    @classmethod
    def _labelled(cls, potentials: dict[str, PotentialSpec], info: ValidationInfo) -> dict[str, PotentialSpec]:
        label = info.data.get("label")
        kinds = label.kinds if isinstance(label, KindsSpec) else tuple(LabelKind)
        for name, one in potentials.items():
            if not all(c.isalnum() or c in "._-" for c in name):
                raise problem("names of letters, digits, '.', '_' and '-'", seen=name)
            if one.labels not in kinds:
                raise problem("labels of a kind in label.kinds", seen=f"{name}: {one.labels}")
        return potentials


def load_dichotomy(path: Path) -> DichotomySpec:
    """Read and validate a file; paths of references in it are relative to the file.

    Raises
    ------
    CampaignFileError
        With one line per problem.
    InputError
        If the file cannot be read.
    """
    source = read_source(path)
    try:
        spec = DichotomySpec.model_validate_json(json.dumps(source.data), strict=True)
    except ValidationError as error:
        problems = [_problem(details, source) for details in error.errors(include_url=False)]
        raise CampaignFileError(str(path), tuple(problems)) from error
    here = path.absolute().parent
    found: DichotomySpec = map_paths(spec, lambda p: p if p.is_absolute() else here / p)
    return found


def _problem(details: ErrorDetails, source: Source) -> Problem:
    key, context = details["loc"], details.get("ctx", {})
    if details["type"] == "extra_forbidden":
        return Problem(source.line(key), dotted(key), "an unknown key", "a key of this section", context.get("hint"))
    seen = str(context.get("seen", details.get("input")))
    seen = seen if len(seen) <= _SHORT else seen[: _SHORT - 3] + "..."
    return Problem(source.line(key), dotted(key), seen, context.get("expected", details["msg"]), context.get("hint"))
