"""Exploration: new candidate frames from the declared domain and from MD on the current ensemble."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from jobflow import Job, job

from magflow.explore.prototypes import Prototype
from magflow.explore.run import explore
from magflow.explore.settings import ExploreSettings
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, Stopwatch, prepare, references
from magflow.makers.documents import CandidatesDoc, IterationDoc, ModelDoc
from magflow.makers.ensembles import ensemble_of
from magflow.makers.packing import pack_candidates


@dataclass(kw_only=True)
class ExploreMaker(PluginMaker):
    """Offers candidate frames.

    Parameters
    ----------
    settings
        :class:`~magflow.explore.settings.ExploreSettings`.
    prototypes
        Prototypes of the campaign, built (no files are read in the job).
    moments
        Range of |m| by element, muB.
    """

    settings: ExploreSettings
    campaign: Campaign
    prototypes: list[Prototype] = field(default_factory=list)
    moments: dict[str, tuple[float, float]] = field(default_factory=dict)
    name: str = "explore"

    @job(data="arrays")
    def make(self, models: list[ModelDoc], previous: IterationDoc | None, iteration: int) -> CandidatesDoc:
        """Offer the frames of one iteration; without models only the declared domain is sampled."""
        ensemble = ensemble_of(models, None if previous is None else previous.calibration) if models else None
        with Stopwatch() as watch:
            found = explore(
                self.prototypes,
                self.settings,
                self.moments,
                ensemble=ensemble,
                iteration=iteration,
                seed=self.campaign.seed_for("explore"),
            )
        sources = [c.source for c in found.candidates]
        return CandidatesDoc(
            campaign=self.campaign.id,
            iteration=iteration,
            offered=len(sources),
            sources=dict(Counter(sources)),
            health=dict(found.health),
            wall_seconds=watch.wall_seconds,
            cpu_seconds=watch.cpu_seconds,
            arrays=pack_candidates([c.frame for c in found.candidates], sources),
        )

    def after(self, models: list[str], previous: str | None, iteration: int) -> Job:
        """The job that explores for one iteration."""
        made = self.make(references(models), references([previous])[0] if previous else None, iteration)
        return prepare(made, self.campaign, roles.explore(iteration, dynamics=bool(models)))
