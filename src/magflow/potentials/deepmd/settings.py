"""Settings of the DeePMD families ``dp`` and ``dp-spin``: what is fitted, and how."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.potentials.outside.settings import StartBias

Prefactor = tuple[Annotated[float, Field(ge=0.0)], Annotated[float, Field(ge=0.0)]]
Neurons = Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1, max_length=6)]


class Descriptor(StrEnum):
    """How the surroundings of an atom are described."""

    SE_E2_A = "se_e2_a"
    DPA1 = "dpa1"
    DPA3 = "dpa3"
    DPA4 = "dpa4"


class Precision(StrEnum):
    """Numbers of the networks."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"


class DeepmdWeights(BaseModel):
    """Prefactors of the loss, each from the first learning rate to the last (deepmd-kit's ``start_pref_*`` and
    ``limit_pref_*``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    energy: Prefactor = Field(
        default=(0.02, 1.0),
        description="Energy per atom. The default is deepmd-kit's, for large cells and long trainings. In cells of a "
        "few atoms a change of volume leaves forces as they are, and energies alone teach it: [1, 100], with forces "
        "[100, 10].",
    )
    forces: Prefactor = Field(default=(1000.0, 1.0), description="Forces.")
    virial: Prefactor = Field(
        default=(0.0, 0.0),
        description="Virial per atom. Off: stresses at a fixed plane-wave cutoff hold a Pulay term that the energy "
        "has not, and one network gives both.",
    )
    magnetic_forces: Prefactor = Field(default=(1000.0, 1.0), description="Magnetic forces; only for dp-spin.")

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        for name in type(self).model_fields:
            first, last = getattr(self, name)
            if (first > 0.0) != (last > 0.0):
                raise ValueError(f"{name}: both prefactors positive, or both zero to leave it out")
        if self.energy[0] == 0.0:
            raise ValueError("energy: a potential without energies has no zero")
        return self


class Dpa3Settings(BaseModel):
    """Sizes of the descriptor dpa3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: int = Field(default=3, ge=1, le=32, description="Messages that are passed one after another.")
    node: int = Field(default=64, ge=4, le=1024, description="Features of an atom.")
    edge: int = Field(default=32, ge=4, le=1024, description="Features of a pair of atoms.")
    angle: int = Field(default=16, ge=4, le=1024, description="Features of an angle.")
    angle_cutoff: float = Field(
        default=4.0, gt=1.0, le=12.0, description="How far the legs of an angle reach, A; at most the cutoff."
    )


class Dpa4Settings(BaseModel):
    """Sizes of the descriptor dpa4."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: int = Field(default=2, ge=1, le=16, description="Messages that are passed one after another.")
    channels: int = Field(default=32, ge=4, le=512, description="Features of an atom of each degree and order.")
    l_max: int = Field(default=2, ge=1, le=6, description="Largest degree of the spherical harmonics.")
    radial_functions: int = Field(default=16, ge=2, le=64, description="Bessel functions of the distance.")


class DeepmdSettings(BaseModel):
    """What the two families share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    magnetic: ClassVar[bool]
    needs_moments: ClassVar[bool]

    descriptor: Descriptor = Field(
        default=Descriptor.SE_E2_A,
        description="se_e2_a: one network per pair of elements. dpa1: one for all pairs, with the elements as input, "
        "for many elements. dpa3: messages between atoms, pairs and angles. dpa4: equivariant messages, up to l_max.",
    )
    dpa3: Dpa3Settings = Field(default_factory=Dpa3Settings, description="Sizes of dpa3.")
    dpa4: Dpa4Settings = Field(default_factory=Dpa4Settings, description="Sizes of dpa4.")
    cutoff: float = Field(default=5.5, gt=1.0, le=12.0, description="Neighbour cutoff, A.")
    smooth_from: float = Field(
        default=0.5,
        ge=0.0,
        description="Where neighbours start to fade towards the cutoff, A; of se_e2_a and dpa1.",
    )
    descriptor_neurons: Neurons = Field(
        default=(25, 50, 100), description="Layers of the descriptor's network; of se_e2_a and dpa1."
    )
    fitting_neurons: Neurons = Field(default=(120, 120, 120), description="Layers of the energy's network.")
    precision: Precision = Field(default=Precision.FLOAT64, description="Numbers of the networks.")
    steps: int = Field(default=50_000, ge=1, description="Optimiser steps, one batch each.")
    batch_atoms: int = Field(
        default=64, ge=1, description="Atoms in a batch, at least; whole frames of one species list."
    )
    learning_rate: tuple[float, float] = Field(
        default=(1e-3, 1e-6), description="First and last learning rate of the exponential decay."
    )
    weights: DeepmdWeights = Field(default_factory=DeepmdWeights, description="Prefactors of the loss.")
    interval: int = Field(
        default=500, ge=1, description="Steps between points of the learning curve, validations and checkpoints."
    )
    patience: int = Field(default=20, ge=1, description="Validations without a better one that end a fit.")
    pretrained: Path | None = Field(
        default=None,
        description="Checkpoint of deepmd-kit (.pt) that fits begin with when they start from no other potential: of a "
        "published model, for instance. It decides the form of the network; descriptor, its sizes, cutoff and "
        "fitting_neurons are not read. It has to know the elements; what else it knows is left out.",
    )
    branch: str | None = Field(
        default=None, description="Which of the models of `pretrained`, if it holds several that share a descriptor."
    )
    freeze_descriptor: bool = Field(
        default=False, description="A fit that starts from another potential changes the energy's network only."
    )
    start_bias: StartBias = Field(
        default=StartBias.REFIT,
        description="Energies of the atoms when a fit starts from another potential. refit: shifted by least squares "
        "to the new labels, which may come from another level of theory. keep: as they are.",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if self.smooth_from >= self.cutoff:
            raise ValueError("smooth_from must be below cutoff")
        if not 0.0 < self.learning_rate[1] <= self.learning_rate[0]:
            raise ValueError("learning_rate must be positive and not rise")
        if self.interval > self.steps:
            raise ValueError("interval must not exceed steps")
        if self.descriptor is Descriptor.DPA3 and self.dpa3.angle_cutoff > self.cutoff:
            raise ValueError("dpa3.angle_cutoff must not exceed cutoff")
        if self.branch and self.pretrained is None:
            raise ValueError("branch says which model of pretrained to begin with, and none is given")
        return self
