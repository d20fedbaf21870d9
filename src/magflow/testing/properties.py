"""The contract of a property (:class:`magflow.properties.base.Property`)."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import SkipTest

import numpy as np

from magflow.core import plugins
from magflow.core.prediction import Prediction
from magflow.presentation.blocks import Plot
from magflow.properties.base import PointProperty, Property, Work
from magflow.properties.measurement import Group, Measurement
from magflow.properties.subject import Subject
from magflow.testing.contract import Contract, agree, clause, demand


@dataclass(frozen=True, eq=False)
class PropertyContract(Contract):
    """What every property keeps.

    Parameters
    ----------
    property
        With settings that are quick to measure.
    subject
        A potential and a structure on which it has an answer.
    """

    property: Any
    subject: Subject

    @clause
    def is_a_property(self) -> None:
        """It has everything the protocol names, and is registered under its name."""
        demand(isinstance(self.property, Property), "it lacks something of magflow.properties.base.Property")
        demand(self.property.name in plugins.names(plugins.PROPERTIES), f"not registered: {self.property.name}")
        demand(isinstance(self.property.group, Group), f"group: {self.property.group!r}")

    @clause
    def settings_make_it_again(self) -> None:
        """What it dumps of its settings makes an equal one, after a way through JSON."""
        dumped = json.loads(json.dumps(self.property.model_dump(mode="json")))
        demand(type(self.property)(**dumped) == self.property, f"another comes of {dumped}")
        demand(isinstance(self.property.quick(), type(self.property)), "quick() is of another kind")

    @cached_property
    def _found(self) -> Measurement:
        with tempfile.TemporaryDirectory() as directory:
            found: Measurement = self.property.measure(self.subject, Work(Path(directory)))
        return found

    @clause
    def answers(self) -> None:
        """It finds finite values, each once, and says what was measured of what."""
        found = self._found
        demand(not found.failure, f"failure: {found.failure}")
        demand(found.property == self.property.name and found.structure == self.subject.name, f"it says {found!r}")
        demand(len(found.values) > 0, "no values")
        demand(len({v.key for v in found.values}) == len(found.values), "two values of one name")
        for v in found.values:
            known = [x for x in (v.value, v.error, v.spread) if x is not None]
            demand(np.isfinite(known).all(), f"not finite: {v}")
            demand(all(x >= 0.0 for x in known[1:]), f"a negative error: {v}")
        demand(found.atoms > 0, "it does not say how many atoms it computed")
        for name, curve in found.curves.items():
            demand(
                len({np.shape(column) for column in curve.values()}) == 1, f"curve {name}: columns of unequal length"
            )

    @clause
    def the_answer_survives(self) -> None:
        """A measurement written and read again is the same."""
        again = Measurement.from_dict(json.loads(json.dumps(self._found.as_dict())))
        demand(again.as_dict() == self._found.as_dict(), "another measurement comes back")

    @clause
    def two_go_on_with_one_directory(self) -> None:
        """Asked again in the directory of the first, it gives the same values."""
        with tempfile.TemporaryDirectory() as directory:
            first, second = (self.property.measure(self.subject, Work(Path(directory))) for _ in range(2))
        agree([v.value for v in second.values], [v.value for v in first.values], "values", rtol=1e-9)

    @clause
    def draws(self) -> None:
        """Two measurements are drawn in the same figures as one, and no failure is drawn."""
        one = self.property.plots([("one", self._found)])
        two = self.property.plots([("one", self._found), ("two", self._found)])
        demand(all(isinstance(p, Plot) for p in [*one, *two]), "something that is no plot")
        demand(len({p.file for p in two}) == len(two), "two figures of one name")
        failed = Measurement.from_dict(self._found.as_dict() | {"failure": "none", "values": [], "curves": {}})
        self.property.plots([("failed", failed)])

    @clause
    def reads_points_of_anybody(self) -> None:
        """A point property reads the same values from the same predictions, whoever made them."""
        if not isinstance(self.property, PointProperty):
            raise SkipTest("it is measured, not read from points")
        frames = self.property.frames(self.subject)
        mean = self.subject.ensemble.predict(frames).mean
        copy = Prediction(mean.counts, mean.energy, mean.forces, mean.stress, mean.magnetic_forces)
        read = self.property.read(self.subject, frames, copy)
        found = {v.key: v.value for v in self._found.values}
        described = {v.key for v in self.property.describe(self.subject, frames).values}
        demand({v.key for v in read.values} | described == set(found), "read and described are not what was found")
        agree([v.value for v in read.values], [found[v.key] for v in read.values], "values", rtol=1e-9)
