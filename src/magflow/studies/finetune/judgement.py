"""An ensemble before and after it was shown force constants: its phonons, and its errors on labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from magflow.core.dataset import Dataset
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.prediction import EnsemblePrediction, concatenate
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.strata import UsualVolume, residual_report
from magflow.properties.displaced import columns_of, complete
from magflow.properties.vibrations import Vibrations, vibrations_of
from magflow.studies.finetune.result import HELD_BACK, Crystal, FinetuneResult, Phonons
from magflow.studies.train.result import FittedMember

Learnt = tuple[str, ForceConstantLabel, bool]
"""Name of a crystal, its force constants, and whether they were learnt from."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """The same ensemble before and after."""

    start: PotentialEnsemble
    tuned: PotentialEnsemble

    def result(
        self,
        labels: Sequence[Learnt],
        parts: Mapping[str, Dataset],
        members: Sequence[FittedMember],
        *,
        held_back: Sequence[Sequence[LabeledFrame]] = (),
    ) -> FinetuneResult:
        """All that is told of a fine-tuning.

        Parameters
        ----------
        parts
            Labels by name; the mean of the ensemble is held against them.
        members
            The fits.
        held_back
            For each member the labels it has not learnt from, before or now.
        """
        errors = []
        for ensemble in (self.start, self.tuned):
            found = {name: _residuals(list(part), as_labelled(ensemble, part)) for name, part in parts.items()}
            if any(held_back):
                found[HELD_BACK] = _held_back(ensemble, held_back)
            errors.append(found)
        return FinetuneResult(
            self.tuned.family_name,
            self.tuned.species,
            tuple(self._crystal(*label) for label in labels),
            errors[0],
            errors[1],
            tuple(members),
            round(sum(member.cpu_seconds for member in members), 2),
        )

    def _crystal(self, name: str, label: ForceConstantLabel, learnt: bool) -> Crystal:
        full = complete(label)
        return Crystal(
            name,
            learnt,
            len(label.frame),
            label.frame.volume / len(label.frame),
            len(label.atoms),
            float(np.sqrt(np.mean(label.array**2))),
            None if full is None else vibrations_of(label.frame, full),
            _phonons(self.start, label),
            _phonons(self.tuned, label),
        )


def _phonons(ensemble: PotentialEnsemble, label: ForceConstantLabel) -> Phonons:
    said = ForceConstantLabel.from_columns(
        label.frame, label.level_of_theory, label.atoms, columns_of(ensemble, _seen(ensemble, label), label.atoms)
    )
    full = complete(said)
    found: Vibrations | None = None if full is None else vibrations_of(label.frame, full)
    return Phonons(float(np.sqrt(np.mean((said.array - label.array) ** 2))), found)


def _seen(ensemble: PotentialEnsemble, label: ForceConstantLabel) -> Frame:
    return label.frame if ensemble.magnetic else label.frame.non_magnetic()


def _residuals(items: Sequence[LabeledFrame], prediction: EnsemblePrediction) -> dict[str, Any]:
    return residual_report(items, prediction, UsualVolume.of([item.frame for item in items]))


def _held_back(ensemble: PotentialEnsemble, shares: Sequence[Sequence[LabeledFrame]]) -> dict[str, Any]:
    """The residuals of each member on its share, all together; ``labels`` counts each label once."""
    pairs = [(member, share) for member, share in zip(ensemble.members, shares, strict=True) if share]
    alone = [as_labelled(PotentialEnsemble((member,), ensemble.family_name), share).mean for member, share in pairs]
    items = [item for _, share in pairs for item in share]
    found = _residuals(items, EnsemblePrediction.from_members([concatenate(alone)]))
    return found | {"labels": len({item.label_id for item in items})}
