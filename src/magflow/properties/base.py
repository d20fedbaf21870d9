"""What a property is, and where the properties are found.

A property is one file: a frozen pydantic model of its settings that implements :class:`Property`. One line in the
entry-point group ``magflow.properties`` makes it known. Its contract is in :mod:`magflow.testing.properties`.

Most properties at rest follow from energies, forces and stresses of a few configurations. They are a
:class:`PointProperty`: it names the configurations and reads the answer from their predictions, so that each member of
an ensemble and a DFT code can be read in the same way.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict

from magflow.core import plugins
from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import BoolArray
from magflow.errors import InputError
from magflow.presentation.blocks import Plot
from magflow.properties.measurement import Group, Measurement, Reading, Value, curves_with_spread, with_spread
from magflow.properties.subject import Subject, UnmeasurableError


@dataclass(frozen=True)
class Work:
    """Where and before whose eyes a property is measured.

    Parameters
    ----------
    directory
        Of this measurement alone: what a killed one left there is gone on with.
    """

    directory: Path
    progress: WorkProgress = field(default=silent)


@runtime_checkable
class Property(Protocol):
    """A property; instances are frozen pydantic models of their settings."""

    name: ClassVar[str]
    """Its entry point, with hyphens."""
    title: ClassVar[str]
    """As a heading."""
    headline: ClassVar[tuple[str, ...]]
    """Names of the values that people look for first."""
    group: ClassVar[Group]

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Its settings, as pydantic writes them."""

    def quick(self) -> Self:
        """With settings that take seconds to a minute on one core; the accuracy that costs is told in the docs."""

    def obstacle(self, subject: Subject) -> str:
        """Why it cannot be asked of `subject`; empty if it can."""

    def measure(self, subject: Subject, work: Work) -> Measurement:
        """The answer; one that is a failure of the potential has a `failure`.

        Raises
        ------
        InputError
            If the question makes no sense (:meth:`obstacle`).
        """

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Figures of measurements of one structure, each under its label (a potential, or ``DFT``)."""


class PropertySettings(BaseModel):
    """Base of the settings of a property."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    title: ClassVar[str]
    headline: ClassVar[tuple[str, ...]] = ()
    group: ClassVar[Group]
    on_request: ClassVar[bool] = False
    """Measured only where it is asked for by name: it costs much more than others, or needs a package of its own."""

    def quick(self) -> Self:
        """As it is: it is quick already."""
        return self

    def obstacle(self, subject: Subject) -> str:
        """Nothing stands in its way."""
        return ""

    def check(self, subject: Subject) -> None:
        """Refuse what makes no sense.

        Raises
        ------
        InputError
            With the obstacle.
        """
        obstacle = self.obstacle(subject)
        if obstacle:
            raise InputError(f"{self.title.lower()} cannot be measured: {obstacle}", where=subject.name)

    def found(self, subject: Subject, **facts: Any) -> Measurement:
        """A measurement of `subject` with `facts` (fields of :class:`Measurement`)."""
        return Measurement(
            property=self.name,
            group=self.group,
            structure=subject.name,
            formula=subject.formula,
            space_group=subject.space_group,
            magnetic_state=subject.state,
            moments=subject.moments,
            settings=self.model_dump(mode="json"),
            **facts,
        )


class PointProperty(PropertySettings, ABC):
    """A property that follows from predictions of a few configurations."""

    group: ClassVar[Group] = Group.STATIC

    @abstractmethod
    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The configurations, with the moments they are to be evaluated at.

        Raises
        ------
        UnmeasurableError
            If the potential has no such configurations.
        """

    @abstractmethod
    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """What `points`, of `frames`, say.

        Raises
        ------
        UnmeasurableError
            If they hold no answer, e.g. no minimum.
        """

    def describe(self, subject: Subject, frames: Sequence[Frame]) -> Reading:
        """What `frames` say by themselves, such as their moments: they are the potential's, whoever labels them."""
        return Reading(())

    def doubts(self, frames: Sequence[Frame], outside: BoolArray | None, values: Sequence[Value]) -> tuple[str, ...]:
        """What is not to be trusted, in words.

        Parameters
        ----------
        outside
            (n,) whether each of `frames` lies outside the training domain; None if the ensemble does not tell.
        values
            Found, with their spread.
        """
        return ()

    def leave(self, work: Work, frames: Sequence[Frame], reading: Reading) -> None:
        """Write what is to lie beside the measurement in its directory: as a rule nothing.

        Raises
        ------
        StoreError
            If a file cannot be written.
        """

    def for_labels(self, subject: Subject) -> list[Frame]:
        """The configurations that DFT is to compute: all of them, unless fewer say enough."""
        return self.frames(subject)

    def measure(self, subject: Subject, work: Work) -> Measurement:
        """Predict the configurations, and read the mean and each member."""
        self.check(subject)
        begin = time.process_time()
        frames: list[Frame] = []
        reading, members, failure = Reading(()), list[Reading](), ""
        try:
            frames = self.frames(subject, work.progress)
            reading, members = self.answers(subject, frames)
            reading += self.describe(subject, frames)
            self.leave(work, frames, reading)
        except UnmeasurableError as error:
            failure = str(error)
        outside, values = subject.outside(frames), with_spread(reading, members)
        return self.found(
            subject,
            values=values,
            curves=curves_with_spread(reading, members),
            failure=failure,
            remarks=reading.remarks + (() if failure else self.doubts(frames, outside, values)),
            atoms=max((len(f) for f in frames), default=0),
            outside=None if outside is None else float(outside.mean()),
            cpu_seconds=time.process_time() - begin,
        )

    def answers(self, subject: Subject, frames: Sequence[Frame]) -> tuple[Reading, list[Reading]]:
        """What the mean of the ensemble says of `frames`, and what each member says where there are several."""
        reading = self.read(subject, frames, subject.ensemble.predict(frames).mean)
        return reading, self.by_member(subject, frames) if len(subject.ensemble.members) > 1 else []

    def by_member(self, subject: Subject, frames: Sequence[Frame]) -> list[Reading]:
        """What each member says by itself of the same configurations; a member without an answer is left out."""
        readings = []
        for points in subject.ensemble.member_predictions(frames):
            try:
                readings.append(self.read(subject, frames, points))
            except UnmeasurableError:
                continue
        return readings


def usual() -> list[str]:
    """Names of the properties that are measured where none is named: all but those on request."""
    names = plugins.names(plugins.PROPERTIES)
    return [name for name in names if not getattr(plugins.load(plugins.PROPERTIES, name), "on_request", False)]


def property_of(name: str, settings: Mapping[str, Any] | None = None, *, quick: bool = False) -> Property:
    """The property registered as `name` with some settings, which have the last word over those of `quick`.

    Raises
    ------
    InputError
        If there is none, or its settings are not usable.
    """
    from pydantic import ValidationError

    kind = plugins.load(plugins.PROPERTIES, name)
    given = dict(settings or {})
    try:
        made: Property = kind(**((kind().quick().model_dump() if quick else {}) | given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join([name, *(str(part) for part in first["loc"])])
        raise InputError(
            "a setting of a property is not usable",
            where=key,
            seen=first.get("input"),
            expected=first["msg"].removeprefix("Value error, "),
            hint=f"settings of {name}: {', '.join(kind.model_fields) or 'none'}",
        ) from error
    return made
