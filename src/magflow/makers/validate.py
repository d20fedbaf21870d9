"""Validation in the DAG: one job per property and structure once a campaign has ended, and the same read from DFT."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobflow import Flow, Job, job

from magflow.core.arrays import digest
from magflow.core.protocols import LabelEngine
from magflow.errors import InputError
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, Stopwatch, prepare
from magflow.makers.documents import BatchDoc, MeasurementDoc, OutcomeDoc, Purpose
from magflow.makers.label import LabelMaker
from magflow.makers.packing import pack_frame, unpack_frame, unpack_labelled
from magflow.makers.train import stored_ensemble
from magflow.properties.base import PointProperty, Property, Work, property_of
from magflow.properties.measurement import Measurement, Moments
from magflow.properties.points import DFT, measured_by_labels
from magflow.properties.references import Reference
from magflow.properties.subject import Subject

POTENTIAL = "campaign"
"""Label of the campaign's own ensemble."""


@dataclass(kw_only=True)
class ValidateMaker(PluginMaker):
    """Measures properties of structures on a finished ensemble.

    Parameters
    ----------
    structures
        Name and frame (:func:`~magflow.makers.packing.pack_frame`) of each.
    properties
        Name of each property to its settings.
    moments
        What is to become of the moments (:class:`~magflow.properties.measurement.Moments`).
    max_moment
        Largest |m| by element, muB.
    references
        Reference values (:class:`~magflow.properties.references.Reference`), JSON-ready.
    engine
        Labels the configurations of the properties that are read from points, at their moments; None: nobody does.
    tuned
        What tells a tuned ensemble from that of its iteration, which may have been measured, too.
    """

    campaign: Campaign
    structures: list[tuple[str, str]]
    properties: dict[str, dict[str, Any]]
    moments: str = str(Moments.RELAXED)
    max_moment: dict[str, float] = field(default_factory=dict)
    references: list[dict[str, Any]] = field(default_factory=list)
    engine: LabelEngine | None = None
    tuned: str = ""
    name: str = "validate"

    def of(self, ended: OutcomeDoc) -> Flow:
        """The jobs that measure the ensemble of an outcome, tuned or not."""
        return replace(self, tuned=ended.tuned).flow(ended.models, ended.calibration, ended.iteration)

    def flow(self, models: list[str], calibration: dict[str, Any], iteration: int) -> Flow:
        """The jobs that follow iteration `iteration`, whose ensemble the jobs `models` hold."""
        pieces = list(self._pieces())
        jobs: list[Flow | Job] = []
        for structure, name in pieces:
            made = self.measure(models, calibration, structure, name, iteration)
            role = roles.measure(iteration, self._word(structure), name, self._digest(structure, name))
            jobs.append(prepare(made, self.campaign, role, expose_store=True, reads=models))
        if self.engine is not None:
            points = [(s, n) for s, n in pieces if isinstance(self._property(n), PointProperty)]
            jobs += self._from_dft(points, models, calibration, iteration)
        return Flow(jobs, name=f"{self.campaign.name} validation")

    def _from_dft(
        self, pieces: list[tuple[int, str]], models: list[str], calibration: dict[str, Any], iteration: int
    ) -> list[Job]:
        """The configurations, their labels, and what these say."""
        if not pieces or self.engine is None:
            return []
        said = [str(iteration), *(self._digest(structure, name) for structure, name in pieces)]
        which = digest([word.encode() for word in said], 12)  # another question has a batch of its own
        drawn = self.configurations(models, calibration, pieces)
        role = roles.draw(Purpose.VALIDATION, iteration, which)
        prepare(drawn, self.campaign, role, expose_store=True, reads=models)
        label = LabelMaker(engine=self.engine, campaign=self.campaign, purpose=Purpose.VALIDATION)
        batch = label.batch(drawn.output["sources"], drawn.uuid, iteration, (str(Purpose.VALIDATION), which))
        prepare(batch, self.campaign, roles.batch_beside(Purpose.VALIDATION, iteration, which))
        read = []
        for structure, name in pieces:
            made = self.read(models, calibration, structure, name, iteration, drawn.output["pieces"], batch.output)
            role = roles.measure(iteration, self._word(structure), name, self._digest(structure, name), dft=True)
            read.append(prepare(made, self.campaign, role, expose_store=True, reads=models))
        return [drawn, batch, *read]

    @job
    def measure(
        self, models: list[str], calibration: dict[str, Any], structure: int, name: str, iteration: int
    ) -> MeasurementDoc:
        """One property of one structure.

        It works in a directory of its own below that of the job, where one that was killed goes on.
        """
        found: Measurement | None = None
        reason = ""
        with Stopwatch() as watch:
            try:
                subject = self._subject(models, calibration, structure)
                prop = self._property(name)
                reason = prop.obstacle(subject)
                if not reason:
                    found = prop.measure(subject, Work(Path.cwd() / f"measure-{self._word(structure)}-{name}"))
            except InputError as error:
                reason = str(error)
        return self._document(POTENTIAL, found, reason, structure, name, iteration, watch)

    @job
    def configurations(
        self, models: list[str], calibration: dict[str, Any], pieces: list[tuple[int, str]]
    ) -> dict[str, Any]:
        """The configurations of the properties that are read from points: ``frames``, ``sources``, ``pieces``.

        A property that has none on this ensemble is left out.
        """
        frames: list[str] = []
        sources: list[str] = []
        where: dict[str, list[str]] = {}
        for structure, name in pieces:
            try:
                subject = self._subject(models, calibration, structure)
                prop = self._property(name)
                if prop.obstacle(subject) or not isinstance(prop, PointProperty):
                    continue
                packed = [pack_frame(f) for f in prop.for_labels(subject)]
            except InputError:
                continue
            where[f"{structure} {name}"] = packed
            frames += packed
            sources += [f"validation:{self.structures[structure][0]}:{name}"] * len(packed)
        return {"frames": frames, "sources": sources, "pieces": where}

    @job
    def read(
        self,
        models: list[str],
        calibration: dict[str, Any],
        structure: int,
        name: str,
        iteration: int,
        pieces: dict[str, list[str]],
        batch: BatchDoc,
    ) -> MeasurementDoc:
        """What the labels of one property of one structure say."""
        found: Measurement | None = None
        reason = "it has no configurations on this potential"
        packed = pieces.get(f"{structure} {name}")
        with Stopwatch() as watch:
            prop = self._property(name)
            if packed and isinstance(prop, PointProperty):
                labels = {item.frame.frame_id: item.label for item in unpack_labelled(batch.arrays)}
                subject = self._subject(models, calibration, structure)
                found = measured_by_labels(prop, subject, [unpack_frame(f) for f in packed], labels)
        return self._document(DFT, found, reason, structure, name, iteration, watch)

    def _pieces(self) -> Iterator[tuple[int, str]]:
        for structure in range(len(self.structures)):
            for name in self.properties:
                yield structure, name

    def _word(self, structure: int) -> str:
        name, packed = self.structures[structure]
        return f"{name}-{unpack_frame(packed).ordering}"

    def _digest(self, structure: int, name: str) -> str:
        """Of what decides a measurement beside the ensemble of the iteration."""
        said: list[Any] = [self.structures[structure], self.properties[name], self.moments, self.max_moment]
        said += [self.tuned] if self.tuned else []
        return digest([json.dumps(said, sort_keys=True).encode()], 12)

    def _property(self, name: str) -> Property:
        return property_of(name, self.properties[name])

    def _subject(self, models: list[str], calibration: dict[str, Any], structure: int) -> Subject:
        name, packed = self.structures[structure]
        ensemble = stored_ensemble(models, calibration)
        moments = Moments(self.moments) if ensemble.magnetic else Moments.NOT_READ
        return Subject(ensemble, name, unpack_frame(packed), moments, dict(self.max_moment))

    def _document(
        self,
        potential: str,
        found: Measurement | None,
        reason: str,
        structure: int,
        name: str,
        iteration: int,
        watch: Stopwatch,
    ) -> MeasurementDoc:
        about, packed = self.structures[structure]
        return MeasurementDoc(
            campaign=self.campaign.id,
            iteration=iteration,
            potential=potential,
            property=name,
            structure=about,
            magnetic_state=str(unpack_frame(packed).ordering),
            skipped=reason if found is None else None,
            failure=found.failure if found is not None and found.failure else None,
            values={} if found is None else _named_values(found),
            outside=None if found is None else found.outside,
            measurement=None if found is None else found.as_dict(),
            references=[] if found is None else self._references(found),
            wall_seconds=watch.wall_seconds,
            cpu_seconds=watch.cpu_seconds,
        )

    def _references(self, found: Measurement) -> list[dict[str, Any]]:
        """Those that speak of what was measured."""
        known = [Reference(**r) for r in self.references]
        return [r.model_dump(mode="json") for r in known if r.property == found.property and r.of.covers(found)]


def _named_values(found: Measurement) -> dict[str, float]:
    """``name [at] [T K]`` to number, for queries."""
    out = {}
    for v in found.values:
        words = [v.name, v.at, "" if v.temperature is None else f"{v.temperature:g} K"]
        out[" ".join(w for w in words if w).replace(".", "_")] = v.value
    return out
