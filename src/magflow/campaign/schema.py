"""The campaign file: what is asked (system, targets), and how it is answered (explore, select, label, train)."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from ase.data import atomic_numbers
from pydantic import BaseModel, Field, PositiveFloat, SerializeAsAny, ValidationInfo, field_validator, model_validator

from magflow.campaign.base import Section, known_plugin, map_paths, plugin_settings, problem
from magflow.campaign.labels import LabelsSpec
from magflow.campaign.limits import ExecutionSpec, StopSpec
from magflow.campaign.phonons import PhononsSpec
from magflow.campaign.storing import StoreSpec
from magflow.campaign.transfer import TransferSpec
from magflow.campaign.validation import ValidationSpec
from magflow.core import plugins
from magflow.core.arrays import digest
from magflow.core.label import LabelKind
from magflow.core.protocols import LabelEngine, NeedsStart, PotentialFamily, UsesCores
from magflow.core.uncertainty import Uncertainty
from magflow.explore.prototypes import PrototypeSettings
from magflow.explore.settings import ExploreSettings
from magflow.makers.imports import OWN
from magflow.select.settings import SelectSettings

VERSION = 1
"""Version of the campaign file's layout; a file says which one it was written for."""

MomentRange = tuple[Annotated[float, Field(ge=0, le=15)], Annotated[float, Field(ge=0, le=15)]]


class SystemSpec(Section):
    """What the potential is for."""

    elements: tuple[str, ...] = Field(min_length=1, description="Chemical symbols of all elements, each once.")
    moments: dict[str, MomentRange] = Field(
        default_factory=dict,
        description="Range of the size |m| of the moment per element, [smallest, largest] in muB; an element left out "
        "carries none. The signs come from the magnetic orderings of the prototypes.",
    )
    prototypes: tuple[PrototypeSettings, ...] = Field(
        min_length=1, description="Crystal structures that exploration starts from, from files or builders."
    )

    @field_validator("prototypes")
    @classmethod
    def _each_once(cls, prototypes: tuple[PrototypeSettings, ...]) -> tuple[PrototypeSettings, ...]:
        names = [prototype.name for prototype in prototypes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise problem("prototypes of different names", seen=", ".join(twice))
        return prototypes

    @field_validator("elements")
    @classmethod
    def _known(cls, elements: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [e for e in elements if atomic_numbers.get(e, 0) == 0]
        if unknown:
            raise problem("chemical symbols", seen=", ".join(unknown))
        if len(set(elements)) < len(elements):
            raise problem("each element once", seen=", ".join(elements))
        return tuple(sorted(elements))

    @field_validator("moments")
    @classmethod
    def _ranges(cls, moments: dict[str, MomentRange], info: ValidationInfo) -> dict[str, MomentRange]:
        for element, (low, high) in moments.items():
            if element not in info.data.get("elements", (element,)):
                raise problem("elements of system.elements", seen=element)
            if low > high:
                raise problem("[smallest, largest]", seen=f"{element}: [{low:g}, {high:g}]")
        return moments


class LabelSpec(Section):
    """What computes the labels."""

    engine: str = Field(description="Name of the label engine.")
    settings: SerializeAsAny[BaseModel] = Field(
        default_factory=dict,
        validate_default=True,
        description="Settings of the engine; `magflow schema` lists them.",
    )
    core_seconds: PositiveFloat | dict[str, PositiveFloat] | None = Field(
        None,
        description="What one label costs, core-seconds, if you know it: `magflow check` estimates with it. One "
        "number, or one for each composition of a cell: {Fe2: 12, Fe4: 35}.",
    )

    @field_validator("engine")
    @classmethod
    def _registered(cls, name: str) -> str:
        return known_plugin(plugins.LABEL_ENGINES, name)

    @field_validator("settings", mode="plain")
    @classmethod
    def _settings(cls, settings: Any, info: ValidationInfo) -> Any:
        return plugin_settings(plugins.LABEL_ENGINES, info.data.get("engine"), settings)


class TrainSpec(Section):
    """What learns from the labels."""

    family: str = Field(description="Name of the potential family.")
    ensemble: int = Field(
        5,
        ge=1,
        le=64,
        description="Potentials in the ensemble; the deviation needs at least 2, or uncertainty: laplace.",
    )
    uncertainty: Uncertainty = Field(
        Uncertainty.ENSEMBLE,
        description="What the deviation is made of. ensemble: how far the members disagree. laplace: what the labels "
        "leave undecided around each fit, for which one fit is enough; a fifth of the work, and less accurate than the "
        "mean of five. both: root mean square of the two.",
    )
    bagging: bool | None = Field(
        None,
        description="Each member learns from its own random 80 % of the labels; left out: where uncertainty "
        "is ensemble. The others need no members that differ so much, and their mean is one of fits to all labels.",
    )
    validation: float = Field(
        0.0, ge=0, le=0.5, description="Share of the labels each member keeps aside to stop its fit early."
    )
    warm_start: bool = Field(
        False, description="Start each member from its predecessor of the last iteration instead of from scratch."
    )
    settings: SerializeAsAny[BaseModel] = Field(
        default_factory=dict,
        validate_default=True,
        description="Settings of the family; `magflow schema` lists them.",
    )

    @property
    def bags(self) -> bool:
        """Whether members learn from samples."""
        return self.uncertainty.needs_bags if self.bagging is None else self.bagging

    @field_validator("family")
    @classmethod
    def _registered(cls, name: str) -> str:
        return known_plugin(plugins.POTENTIAL_FAMILIES, name)

    @field_validator("settings", mode="plain")
    @classmethod
    def _settings(cls, settings: Any, info: ValidationInfo) -> Any:
        return plugin_settings(plugins.POTENTIAL_FAMILIES, info.data.get("family"), settings)


_ENGINE_FIELDS = {"cores_per_label": "cores", "label_time_limit_s": "time_limit_s", "keep_files": "keep_files"}
"""Keys of `execution` that an engine takes under another name."""


class CampaignSpec(Section):
    """One campaign: a question to a potential, and how it is to be answered."""

    magflow: Literal[1] = Field(description="Version of this file's layout.")
    name: str = Field(
        min_length=1,
        max_length=80,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$",
        description="Name of the campaign, for people.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Every random number of the campaign follows from it.")
    system: SystemSpec = Field(description="What the potential is for.")
    explore: ExploreSettings = Field(ExploreSettings(), description="Where new frames come from.")
    select: SelectSettings = Field(SelectSettings(), description="Which of them are labelled.")
    label: LabelSpec = Field(description="What computes the labels.")
    train: TrainSpec = Field(description="What learns from the labels.")
    stop: StopSpec = Field(description="When the campaign ends.")
    labels: tuple[LabelsSpec | Path, ...] = Field(
        (),
        description="Labels that exist, to start from: files and folders, by path alone or with what is to be said "
        "about them. None of them counts against a budget.",
    )
    transfer: TransferSpec | None = Field(
        None, description="Start from non-magnetic labels; left out: from magnetic ones alone."
    )
    phonons: PhononsSpec | None = Field(
        None,
        description="Force constants that the finished potential learns from labels of displaced atoms, which count "
        "against the budgets; left out: none.",
    )
    validation: ValidationSpec | None = Field(
        None, description="What the finished potential is held against; left out: nothing is measured."
    )
    execution: ExecutionSpec = Field(ExecutionSpec(), description="Where and how the work runs.")
    store: StoreSpec | None = Field(
        None, description="Another store than the embedded one, which is campaign.db in the campaign's directory."
    )

    @model_validator(mode="after")
    def _engine_takes(self) -> CampaignSpec:
        fields = type(self.label.settings).model_fields
        for key, field in _ENGINE_FIELDS.items():
            if getattr(self.execution, key) is None:
                continue
            if field not in fields:
                raise problem(f"no execution.{key} with the engine {self.label.engine}, which has no such setting")
            if field in self.label.settings.model_fields_set:
                raise problem(f"either execution.{key} or label.settings.{field}", seen="both")
        return self

    @model_validator(mode="after")
    def _begins(self) -> CampaignSpec:
        if isinstance(self.family(), NeedsStart):
            raise problem(
                "a train.family that can begin without another potential",
                seen=self.train.family,
                hint="magflow train --start fits this one",
            )
        return self

    @model_validator(mode="after")
    def _transfers(self) -> CampaignSpec:
        if self.transfer is None:
            return self
        kind = self.engine().kind
        if kind == LabelKind.NON_MAGNETIC:
            raise problem("magnetic labels in label.settings.kind with transfer", seen=kind)
        if self.transfer.replay and kind != LabelKind.CONSTRAINED:
            raise problem(
                "transfer.replay: 0 unless label.settings.kind is constrained",
                seen=kind,
                hint="only constrained labels are on one energy surface with labels at zero moments",
            )
        if self.family().needs_moments:
            raise problem("a train.family that learns without moments, with transfer", seen=self.train.family)
        if self.train.warm_start:
            raise problem(
                "no train.warm_start with transfer", seen="true", hint="every fit starts from the non-magnetic ensemble"
            )
        return self

    @model_validator(mode="after")
    def _starts(self) -> CampaignSpec:
        if not self.labels:
            return self
        if self.transfer is not None:
            raise problem("either labels or transfer", seen="both", hint="transfer makes the labels it starts from")
        if self.train.warm_start and any(labels.mixed for labels in self.label_files):
            raise problem(
                "no train.warm_start with labels of another level of theory",
                seen="true",
                hint="every fit starts from the ensemble on those",
            )
        if any(labels.mixed and labels.level_of_theory == OWN for labels in self.label_files):
            raise problem("either mixed: true or level_of_theory: own beside a file of labels", seen="both")
        return self

    @model_validator(mode="after")
    def _displaces(self) -> CampaignSpec:
        if self.phonons is None:
            return self
        budget, share = self.stop.core_hours, self.phonons.core_hours
        if budget is None:
            if share is not None:
                raise problem("no phonons.core_hours without stop.core_hours", seen=share)
        elif share is None or share >= budget:
            raise problem(
                f"phonons.core_hours below stop.core_hours ({budget:g})",
                seen="none" if share is None else share,
                hint="it is what the loop leaves for the labels of displaced atoms",
            )
        return self

    @property
    def label_files(self) -> tuple[LabelsSpec, ...]:
        """The entries of `labels`, each with all that is said about it."""
        return tuple(x if isinstance(x, LabelsSpec) else LabelsSpec(path=x) for x in self.labels)

    @cached_property
    def _engine(self) -> LabelEngine:
        given = {field: getattr(self.execution, key) for key, field in _ENGINE_FIELDS.items()}
        update = {field: value for field, value in given.items() if value is not None}
        return cast(LabelEngine, self.label.settings.model_copy(update=update) if update else self.label.settings)

    def engine(self) -> LabelEngine:
        """What labels, with the settings of `execution` applied."""
        return self._engine

    @property
    def label_cores(self) -> int:
        """Cores one label is computed on."""
        engine = self.engine()
        return engine.cores if isinstance(engine, UsesCores) else 1

    def non_magnetic_engine(self) -> LabelEngine:
        """The same engine with the same settings, for non-magnetic labels."""
        return cast(LabelEngine, cast(BaseModel, self._engine).model_copy(update={"kind": LabelKind.NON_MAGNETIC}))

    def family(self) -> PotentialFamily:
        """What learns."""
        return cast(PotentialFamily, self.train.settings)

    def targets(self) -> dict[str, float]:
        """Targets by quantity, house units (eV/atom, eV/A, eV/A^3, eV/muB)."""
        return self.stop.targets.house()

    @cached_property
    def fingerprint(self) -> str:
        """24 hex digits of everything that decides the science.

        Left out: how the work runs (`execution`, `store`), when it stops (a campaign may be given a larger
        budget and continued) and the estimated cost.
        """
        left_out: Any = {"execution": True, "store": True, "stop": _BUDGETS, "label": {"core_seconds"}}
        if self.transfer is None:  # such a campaign is the same as before there was this section
            left_out["transfer"] = True
        left_out["labels"] = True
        left_out["validation"] = left_out["phonons"] = True  # they may be asked of a finished campaign
        content = map_paths(self.model_dump(mode="python", exclude=left_out), _content)
        for prototype in content["system"]["prototypes"]:
            for key in ("sizes", "moments"):  # the same as before there were these
                if not prototype[key]:
                    del prototype[key]
        content["train"]["bagging"] = self.train.bags
        if self.train.uncertainty is Uncertainty.ENSEMBLE:
            del content["train"]["uncertainty"]
        if self.labels:
            content["labels"] = [labels.identity() for labels in self.label_files]
        return digest([json.dumps(content, sort_keys=True, default=str).encode()])

    def resolve(self, directory: Path) -> CampaignSpec:
        """The same with relative paths of structure files, datasets and labels taken from `directory`."""

        def absolute(path: Path) -> Path:
            return directory / path.expanduser()

        system = self.system.model_copy(update={"prototypes": map_paths(self.system.prototypes, absolute)})
        label = self.label.model_copy(update={"settings": map_paths(self.label.settings, absolute)})
        train = self.train.model_copy(update={"settings": map_paths(self.train.settings, absolute)})
        labels, validation = map_paths(self.labels, absolute), map_paths(self.validation, absolute)
        changed = {"system": system, "label": label, "train": train, "labels": labels, "validation": validation}
        return self.model_copy(update=changed)


_BUDGETS = {"consecutive", "labels", "core_hours", "iterations"}


def _content(path: Path) -> str:
    """What a path stands for in the fingerprint: the bytes of the file, so that moving it changes nothing."""
    return digest([path.read_bytes()]) if path.is_file() else path.name
