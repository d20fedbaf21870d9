"""Turns of a fine-tuning: the weight is lowered until nothing is forgotten, or the ensemble stays as it was."""

from __future__ import annotations

from types import SimpleNamespace

from jobflow import Response
from maker_documents import CAMPAIGN, FAMILY

from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.makers import tuning
from magflow.makers.documents import OutcomeDoc
from magflow.makers.phonons import PhononMaker
from magflow.makers.train import TrainMaker
from magflow.makers.tuning import TURNS, TuneMaker
from magflow.makers.tuning_documents import ForceConstantsDoc
from magflow.studies.finetune.result import FinetuneResult

PHONONS = PhononMaker(engine=SpinLatticeEngine(), campaign=CAMPAIGN, crystals=[], displacement=0.01)
MAKER = TuneMaker(phonons=PHONONS, train=TrainMaker(family=FAMILY, campaign=CAMPAIGN, members=2))


def judged(monkeypatch, turn: int, forgetting: float):
    before = {"held back": {"labels": 3, "errors": {"forces": {"rmse": 1.0}, "stress": {"rmse": 1.0}}}}
    after = {"held back": {"labels": 3, "errors": {"forces": {"rmse": 0.5}, "stress": {"rmse": 1.0 + forgetting}}}}
    found = FinetuneResult("mmtp", ("Fe",), (), before, after, (), 2.0)
    monkeypatch.setattr(tuning, "stored_ensemble", lambda models, calibration: None)
    monkeypatch.setattr(tuning, "ensemble_of", lambda documents, calibration: None)
    monkeypatch.setattr(tuning, "dataset_of", lambda batches: [])
    monkeypatch.setattr(tuning, "Judgement", lambda *both: SimpleNamespace(result=lambda *said, **more: found))
    fitted = [SimpleNamespace(member=0, settings={"weights": {"force_constants": 20.0 / 4**turn}})]
    monkeypatch.setattr(tuning, "_fitted", lambda document: document)
    monkeypatch.setattr(TuneMaker, "_batches", lambda self, iteration: [])
    monkeypatch.setattr(TuneMaker, "_held_back", lambda self, batches: [])
    tried = [{"weight": 20.0 / 4**k, "quantity": "stress", "forgetting": 0.5, "cpu_seconds": 1.0} for k in range(turn)]
    return MAKER.judge.original(MAKER, [], fitted, ["f"], ["a", "b"], {}, {}, tried, 3, turn)


def test_what_is_within_the_limit_is_kept(monkeypatch):
    found = judged(monkeypatch, 1, 0.019)
    assert found.tuned and found.reason is None
    assert found.models == MAKER.uuids(3, 1) and found.untuned == ["a", "b"]
    assert [one["weight"] for one in found.tried] == [20.0, 5.0] and found.cpu_seconds == 3.0
    assert found.tried[-1]["quantity"] == "stress"


def test_what_is_not_is_tried_with_a_fourth_of_the_weight(monkeypatch):
    again = judged(monkeypatch, 0, 0.021)
    assert isinstance(again, Response)
    names = [job.name for job in again.replace.jobs]
    assert names == ["tune 3.0", "tune 3.1", "judge 3"]
    weights = [MAKER._family(turn).weights for turn in (0, 1)]
    assert weights[0] == FAMILY.weights and weights[1].force_constants == FAMILY.weights.force_constants / 4
    assert len({*MAKER.uuids(3, 0), *MAKER.uuids(3, 1)}) == 4


def test_after_the_last_turn_the_ensemble_stays_as_it_was(monkeypatch):
    found = judged(monkeypatch, TURNS - 1, 0.3)
    assert not found.tuned and found.models == ["a", "b"]
    assert found.reason == "errors of stress grow by 30.0 % even with weight 0.3125; phonons.forgetting allows 2 %"


def test_without_force_constants_there_is_nothing_to_fit_to():
    about = {"campaign": CAMPAIGN.id, "iteration": 3, "crystal": "c", "arrays": ""}
    left = ForceConstantsDoc(**about, name="bcc-Fe", state="refused", reason="the crystal is not at rest")
    found = MAKER.stage.original(MAKER, [left], ["f"], ["a", "b"], {}, 3)
    assert not found.tuned and found.left_out == {"bcc-Fe": "the crystal is not at rest"}
    ended = OutcomeDoc(
        campaign=CAMPAIGN.id, iteration=3, name="c", reason="iterations", explanation="", labels=1, core_hours=0.0,
        models=["x"], tuned="earlier", untuned=["a", "b"], calibration={}, rmse={},
    )  # fmt: skip
    closed = MAKER.close.original(MAKER, found, ended.model_dump(mode="json")).output
    assert (closed.models, closed.tuned, closed.untuned) == (["a", "b"], "", [])
