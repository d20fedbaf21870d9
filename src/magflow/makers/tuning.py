"""Force constants for the ensemble of a campaign that has ended: fits that go on, and what that did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jobflow import CURRENT_JOB, Flow, Response, job

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import LabeledFrame
from magflow.core.protocols import LearnsForceConstants
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, prepare, references
from magflow.makers.documents import BatchDoc, ModelDoc, OutcomeDoc, now
from magflow.makers.ensembles import dataset_of, ensemble_of
from magflow.makers.label import retried_batches
from magflow.makers.phonons import PhononMaker, force_constants_of
from magflow.makers.train import TrainMaker, stored_document, stored_ensemble
from magflow.makers.tuning_documents import ForceConstantsDoc, TuningDoc
from magflow.makers.validate import ValidateMaker
from magflow.potentials.members import learns_force_constants, member_labels
from magflow.studies.finetune.judgement import Judgement
from magflow.studies.finetune.result import COTRAIN, TEST, FinetuneResult
from magflow.studies.train.result import FittedMember

TURNS, LESS = 4, 4.0
"""Weights that are tried, and by how much each is smaller than the one before."""


@dataclass(kw_only=True)
class TuneMaker(PluginMaker):
    """Goes on with the fits of a finished ensemble, on its labels and on force constants.

    Parameters
    ----------
    phonons
        Labels crystals, and gathers their force constants.
    train
        As the ensemble was fitted, but for the weights.
    given
        Uuids of the jobs that hold labels the campaign did not make.
    test
        Uuid of the job that holds labels which no fit learns from; empty: there are none.
    forgetting
        Most that an error on labels not learnt from may grow by, as a share. Where it grows more, force constants weigh
        a :data:`LESS` th in another turn; where it still does after :data:`TURNS`, the ensemble stays as it was.
    validate
        Measures what the tuned ensemble is good for; None: nobody does.
    """

    phonons: PhononMaker
    train: TrainMaker
    given: list[str] = field(default_factory=list)
    test: str = ""
    forgetting: float = 0.02
    validate: ValidateMaker | None = None
    name: str = "tune"

    @property
    def campaign(self) -> Campaign:
        """Whose ensemble it is."""
        return self.train.campaign

    @property
    def which(self) -> str:
        """Tells questions apart."""
        said = [self.phonons.which, self.train.family.model_dump_json(), repr(self.forgetting)]
        return digest([word.encode() for word in said], 12)

    def once_more(self, attempts: int) -> TuneMaker:
        """The same asked again after `attempts` labels: those that are there serve again, others are computed."""
        return replace(self, phonons=replace(self.phonons, attempts=attempts))

    def uuids(self, iteration: int, turn: int) -> list[str]:
        """Of the jobs of all members tuned in one turn."""
        of = range(self.train.members)
        return [roles.tune(iteration, self.which, turn, k).uuid(self.campaign.id) for k in of]

    def flow(self, models: list[str], ended: OutcomeDoc) -> Flow:
        """The stage after an outcome; `models` are the jobs of the ensemble that the loop has ended with."""
        iteration, which = ended.iteration, self.which
        made = self.phonons.jobs(models, ended.calibration, iteration)
        crystals = references(self.phonons.uuids(iteration))
        tuned = self.stage(crystals, self.phonons.uuids(iteration), models, ended.calibration, iteration)
        prepare(tuned, self.campaign, roles.tuning(iteration, which))
        closed = self.close(tuned.output, ended.model_dump(mode="json"))
        prepare(closed, self.campaign, roles.close(iteration, which))
        return Flow([*made, tuned, closed], name=f"{self.campaign.name} force constants")

    @job
    def stage(
        self,
        crystals: list[ForceConstantsDoc],
        uuids: list[str],
        models: list[str],
        calibration: dict[str, Any],
        iteration: int,
    ) -> TuningDoc | Response[TuningDoc]:
        """Replace this job by the fits and their judgement; without force constants there is nothing to fit to."""
        usable = [uuid for uuid, doc in zip(uuids, crystals, strict=True) if doc.state == "ok"]
        left_out = {doc.name: str(doc.reason) for doc in crystals if doc.state != "ok"}
        if not usable:
            return self._document(iteration, models, left_out, "there are no force constants", [])
        return Response(replace=self._turn(0, usable, models, calibration, left_out, [], iteration))

    def _turn(
        self,
        turn: int,
        crystals: list[str],
        models: list[str],
        calibration: dict[str, Any],
        left_out: dict[str, str],
        tried: list[dict[str, Any]],
        iteration: int,
    ) -> Flow:
        """The fits with one weight, and what comes of them; `crystals` are the jobs of the force constants."""
        fits = []
        for member, start in enumerate(models):
            made = self.tune(references(crystals), start, member, iteration, turn)
            role = roles.tune(iteration, self.which, turn, member)
            reads = [start, *self._learnt_from(iteration)]
            fits.append(prepare(made, self.campaign, role, expose_store=True, reads=reads))
        judged = self.judge(
            references(crystals),
            references(self.uuids(iteration, turn)),
            crystals,
            models,
            calibration,
            left_out,
            tried,
            iteration,
            turn,
        )
        role = roles.judge_tuning(iteration, self.which, turn)
        reads = [*models, *self._learnt_from(iteration), *([self.test] if self.test else [])]
        prepare(judged, self.campaign, role, expose_store=True, reads=reads)
        return Flow([*fits, judged], output=judged.output, name=f"tuning {iteration}")

    @job(data="arrays")
    def tune(self, crystals: list[ForceConstantsDoc], start: str, member: int, iteration: int, turn: int) -> ModelDoc:
        """Go on with the fit of one member, on the labels it knows and on force constants."""
        before = stored_document(start, ModelDoc)
        known = [force_constants_of(doc) for doc in crystals]
        train = replace(self.train, family=self._family(turn))
        learnt = train.learnt(self._batches(iteration), self._beside(), member)
        return train.fit(learnt, before, member, iteration, known)

    def _family(self, turn: int) -> LearnsForceConstants:
        """With what force constants weigh in one turn."""
        family = learns_force_constants(self.train.family)
        return family.weighing(family.force_constant_weight / LESS**turn)

    @job
    def judge(
        self,
        crystals: list[ForceConstantsDoc],
        fitted: list[ModelDoc],
        uuids: list[str],
        models: list[str],
        calibration: dict[str, Any],
        left_out: dict[str, str],
        tried: list[dict[str, Any]],
        iteration: int,
        turn: int,
    ) -> TuningDoc | Response[TuningDoc]:
        """Phonons and errors on labels, before and after; another turn where too much was forgotten."""
        judgement = Judgement(stored_ensemble(models, calibration), ensemble_of(fitted, calibration))
        labels, batches = [force_constants_of(doc) for doc in crystals], self._batches(iteration)
        result = judgement.result(
            [(doc.name, label, True) for doc, label in zip(crystals, labels, strict=True)],
            {COTRAIN: dataset_of(batches)} | self._unseen(),
            [_fitted(doc) for doc in sorted(fitted, key=lambda doc: doc.member)],
            held_back=self._held_back(batches),
        )
        quantity, worst = result.most_forgotten
        weight = self._family(turn).force_constant_weight
        one = {"weight": weight, "quantity": quantity, "forgetting": worst, "cpu_seconds": result.cpu_seconds}
        now_tried = [*tried, one]
        reason = ""
        if worst > self.forgetting:
            if turn + 1 < TURNS:
                again = self._turn(turn + 1, uuids, models, calibration, left_out, now_tried, iteration)
                return Response(replace=again)
            reason = (
                f"errors of {quantity.replace('_', ' ')} grow by {100 * worst:.1f} % even with weight {weight:g}; "
                f"phonons.forgetting allows {100 * self.forgetting:g} %"
            )
        return self._document(iteration, models, left_out, reason, now_tried, turn, result, labels)

    @job
    def close(self, tuning: TuningDoc, ended: dict[str, Any]) -> Response[OutcomeDoc]:
        """The outcome with the tuned ensemble, or with that of the loop, and the measurements on it."""
        changed: dict[str, Any] = {
            "models": tuning.models,
            "untuned": [],
            "tuned": "",
            "created_at": now("microseconds"),
        }
        if tuning.tuned:
            changed |= {"untuned": tuning.untuned, "tuned": tuning.which}
        outcome = OutcomeDoc(**ended).model_copy(update=changed)
        if self.validate is None:
            return Response(output=outcome)
        return Response(output=outcome, addition=self.validate.of(outcome))

    def _learnt_from(self, iteration: int) -> list[str]:
        """Uuids of the jobs that hold labels which the fits learn from."""
        return [*self._known_batches(iteration), *([self.train.beside] if self.train.beside else [])]

    def _known_batches(self, iteration: int) -> list[str]:
        return [*self.given, *(roles.batch(i).uuid(self.campaign.id) for i in range(iteration + 1))]

    def _batches(self, iteration: int) -> list[BatchDoc]:
        """All labels of the campaign's own level of theory that a fit learns from."""
        known = self._known_batches(iteration)
        known += retried_batches(CURRENT_JOB.store, self.campaign, known)
        return [stored_document(uuid, BatchDoc) for uuid in known]

    def _beside(self) -> BatchDoc | None:
        return stored_document(self.train.beside, BatchDoc) if self.train.beside else None

    def _unseen(self) -> dict[str, Dataset]:
        return {TEST: dataset_of([stored_document(self.test, BatchDoc)])} if self.test else {}

    def _held_back(self, batches: Sequence[BatchDoc]) -> list[list[LabeledFrame]]:
        """For each member the labels of the campaign that its fit left out."""
        train, beside, shares = self.train, self._beside(), []
        own = {item.label_id for item in dataset_of(batches)}
        for member in range(train.members):
            dataset = train.learnt(batches, beside, member)
            learnt, aside = member_labels(
                dataset,
                seed=self.campaign.seed_for("train", member),
                member=member,
                bagging=train.bagging,
                validation=train.validation,
            )
            seen = {item.label_id for item in (*learnt, *aside)}
            shares.append([item for item in dataset if item.label_id in own - seen])
        return shares

    def _document(
        self,
        iteration: int,
        models: list[str],
        left_out: dict[str, str],
        reason: str,
        tried: list[dict[str, Any]],
        turn: int = 0,
        result: FinetuneResult | None = None,
        labels: Sequence[ForceConstantLabel] = (),
    ) -> TuningDoc:
        """With a `reason`, the ensemble stays as it was."""
        return TuningDoc(
            campaign=self.campaign.id,
            iteration=iteration,
            which=self.which,
            tuned=not reason,
            reason=reason or None,
            tried=tried,
            models=models if reason else self.uuids(iteration, turn),
            untuned=models,
            left_out=left_out,
            force_constants=[label.label_id for label in labels],
            result=None if result is None else result.as_dict(),
            cpu_seconds=sum(one["cpu_seconds"] for one in tried),
        )


def _fitted(document: ModelDoc) -> FittedMember:
    cpu_seconds = round(document.cpu_seconds, 2)
    return FittedMember(document.converged, len(document.objective), cpu_seconds, document.rmse, {}, document.objective)
