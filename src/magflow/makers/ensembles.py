"""Datasets, potentials and ensembles from documents: for who takes them out, and needs nothing that runs jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from magflow.core import plugins
from magflow.core.arrays import decode_arrays
from magflow.core.calibration import Calibration
from magflow.core.dataset import Dataset
from magflow.core.protocols import Potential, PotentialFamily
from magflow.makers.documents import BatchDoc, ModelDoc
from magflow.makers.packing import unpack_labelled
from magflow.potentials.ensemble import PotentialEnsemble


def dataset_of(batches: Sequence[BatchDoc]) -> Dataset:
    """The labels of several batches as one dataset."""
    return Dataset(item for batch in batches for item in unpack_labelled(batch.arrays))


def potential_of(document: ModelDoc) -> Potential:
    """The trained model of a document."""
    family: PotentialFamily = plugins.load(plugins.POTENTIAL_FAMILIES, document.family)(**document.settings)
    return family.load(decode_arrays(document.arrays)["model"].tobytes())


def ensemble_of(documents: Sequence[ModelDoc], calibration: Mapping[str, Any] | None = None) -> PotentialEnsemble:
    """The ensemble of several members' documents; `calibration` is as documents keep it, None leaves deviations raw."""
    ordered = sorted(documents, key=lambda d: d.member)
    return PotentialEnsemble(
        tuple(potential_of(d) for d in ordered),
        family_name=ordered[0].family,
        calibration=Calibration.from_dict(calibration or {}),
        metadata={
            "settings": ordered[0].settings,
            "campaign": ordered[0].campaign,
            "iteration": ordered[0].iteration,
            "dataset": ordered[0].dataset,
            "n_labels": ordered[0].n_labels,
            "seeds": [d.seed for d in ordered],
            "level_of_theory": ordered[0].level_of_theory,
        },
        uncertainty=ordered[0].uncertainty,
    )
