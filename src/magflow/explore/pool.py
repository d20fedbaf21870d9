"""Frames of solids and liquids drawn once, for labels of several kinds of the same configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from ase.data import atomic_masses
from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.arrays import digest
from magflow.core.frame import Frame
from magflow.core.protocols import Ensemble
from magflow.errors import InputError
from magflow.explore.builders import BuilderSettings, from_builder
from magflow.explore.candidate import Candidate
from magflow.explore.domain import DomainSettings, sample
from magflow.explore.geometry import repeated
from magflow.explore.md import MdSettings, run_md
from magflow.explore.orderings import PrototypeOrdering
from magflow.explore.prototypes import Prototype

_DISORDER = 0.4
"""A rms: displacement of the crystal that a melt starts from."""

_EIGHT = 8
"""Atoms by which frames are sorted into parts."""

_AMU_PER_A3 = 1.66053906660
"""g/cm3."""


class _Source(BaseModel):
    """A crystal that frames are made of, and how many."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, pattern=r"^[^:\s]+$", description="name without spaces and colons, e.g. bcc-8")
    builder: BuilderSettings
    supercell: tuple[int, int, int] = Field(default=(1, 1, 1), description="repeats along each axis")
    count: int = Field(ge=1, le=100_000, description="frames")

    def crystal(self) -> Frame:
        """The ideal structure, without moments."""
        return repeated(from_builder(self.builder, self.name), self.supercell)


class SolidSettings(_Source):
    """Crystals strained, at several volumes, with their atoms displaced."""

    vacancies: int = Field(default=0, ge=0, description="atoms taken out of the supercell, the first ones")
    domain: DomainSettings = Field(default_factory=DomainSettings)

    @model_validator(mode="after")
    def _some_left(self) -> Self:
        if self.vacancies >= len(self.crystal()):
            raise ValueError("no atom is left")
        return self

    def frames(self, seed: int) -> list[Frame]:
        """The frames, evenly over the domain (:func:`magflow.explore.domain.sample`)."""
        whole = self.crystal()
        kept = slice(self.vacancies, None)
        frame = Frame(whole.species[kept], whole.cell, whole.positions[kept])
        prototype = Prototype(self.name, PrototypeOrdering.NM, frame, (0,) * len(frame))
        return [c.frame for c in sample([prototype], self.domain, {}, self.count, seed)]


class LiquidSettings(_Source):
    """Snapshots of melts: molecular dynamics on a model from a crystal shaken apart, one run per density."""

    densities: tuple[float, ...] = Field(min_length=1, description="g/cm3")
    temperatures_k: tuple[float, ...] = Field(min_length=1, description="K, dealt out to the densities in turn")
    melting_steps: int = Field(default=1000, ge=1, description="steps before the first snapshot")
    interval: int = Field(default=250, ge=1, description="steps from one snapshot to the next")
    timestep_fs: float = Field(default=2.0, gt=0, le=10.0, description="fs")

    def frames(self, model: Ensemble, moments: Mapping[str, float], seed: int) -> list[Frame]:
        """The snapshots; densities take turns.

        Parameters
        ----------
        model
            What moves the atoms.
        moments
            Element to the moment (muB, all parallel) that the model is asked with.

        Raises
        ------
        InputError
            If a run breaks off.
        """
        each = -(-self.count // len(self.densities))
        looks = -(-self.melting_steps // self.interval)
        how = MdSettings(
            temperatures_k=self.temperatures_k,
            steps=(looks + each - 1) * self.interval,
            timestep_fs=self.timestep_fs,
            snapshot_interval=self.interval,
            max_snapshots=2 * (looks + each),
            relax_moments=False,
        )
        starts = [Candidate(ferromagnetic(f, moments), f"melt:{self.name}") for f in self._starts(seed)]
        runs = [run_md([start], model, _at(how, k), {}, seed + k) for k, start in enumerate(starts)]
        if broken := [r for r in runs if len(r.candidates) < looks + each - 1]:
            raise InputError(
                "a melt breaks off", where=self.name, seen=str(broken[0].health), hint="other densities or temperatures"
            )
        melts = [[c.frame.non_magnetic() for c in r.candidates[looks - 1 :]] for r in runs]
        return [melt[k] for k in range(each) for melt in melts][: self.count]

    def _starts(self, seed: int) -> list[Frame]:
        """The crystal at each density, shaken."""
        crystal = self.crystal()
        out = []
        for k, density in enumerate(self.densities):
            scale = float(np.cbrt(_density(crystal) / density))
            frame = crystal.replace(cell=scale * crystal.cell, positions=scale * crystal.positions)
            shaken = DomainSettings(volume=(0.0, 0.0), strain=0.0, displacement=_DISORDER)
            still = Prototype(self.name, PrototypeOrdering.NM, frame, (0,) * len(frame))
            out += [c.frame for c in sample([still], shaken, {}, 1, seed, skip=k)]
        return out


class PoolSettings(BaseModel):
    """All frames."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    solids: tuple[SolidSettings, ...] = ()
    liquids: tuple[LiquidSettings, ...] = ()

    @model_validator(mode="after")
    def _sane(self) -> Self:
        names = [source.name for source in (*self.solids, *self.liquids)]
        if not names:
            raise ValueError("give solids, liquids or both")
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"two sources are called {', '.join(twice)}")
        return self

    def candidates(self, model: Ensemble, moments: Mapping[str, float], seed: int) -> list[Candidate]:
        """All frames, ferromagnetic: cells of at most 8 atoms first, then those of 16, 24...

        Every beginning of each part holds its sources in proportion, so that labelling may end anywhere.

        Parameters
        ----------
        model
            What melts the liquids.
        moments
            Element to the moment all its atoms start from, muB.
        """
        sources = [(s.name, s.frames(_stream(seed, s.name))) for s in self.solids]
        sources += [(s.name, s.frames(model, moments, _stream(seed, s.name))) for s in self.liquids]
        ranked = [
            ((len(frame) - 1) // _EIGHT, (k + 0.5) / len(frames), Candidate(ferromagnetic(frame, moments), name))
            for name, frames in sources
            for k, frame in enumerate(frames)
        ]
        return [candidate for *_, candidate in sorted(ranked, key=lambda entry: entry[:2])]


def ferromagnetic(frame: Frame, moments: Mapping[str, float]) -> Frame:
    """The frame with all moments along +z; elements left out carry none.  `moments`: element to |m|, muB."""
    return frame.replace(magmoms=[moments.get(s, 0.0) for s in frame.species])


def _at(how: MdSettings, k: int) -> MdSettings:
    """Settings of run `k` alone: temperatures are dealt out in turn."""
    return how.model_copy(update={"temperatures_k": (how.temperatures_k[k % len(how.temperatures_k)],)})


def _density(frame: Frame) -> float:
    """g/cm3."""
    return float(atomic_masses[frame.numbers].sum() * _AMU_PER_A3 / frame.volume)


def _stream(seed: int, name: str) -> int:
    """A 31-bit seed of one source."""
    return int(digest([str(seed).encode(), name.encode()], 16), 16) >> 33
