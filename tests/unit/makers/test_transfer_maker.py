"""A transfer: what its ensembles learn from, start from and cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from maker_documents import CAMPAIGN, FAMILY, batch_of, labelled

from magflow.campaign.build import campaign_maker
from magflow.campaign.load import load_campaign
from magflow.core.label import LabelKind
from magflow.makers import roles
from magflow.makers.documents import Purpose
from magflow.makers.packing import unpack_frame
from magflow.makers.roles import Phase
from magflow.makers.transfer import FineTuneMaker

FILE = Path(__file__).parents[3] / "workflows" / "transfer_model.yaml"


@pytest.fixture(scope="module")
def maker():
    return campaign_maker(load_campaign(FILE))


def test_the_fine_tuned_ensemble_pays_for_its_start_and_the_control_does_not(maker, models):
    magnetic = [
        batch_of(labelled(3, s), core_hours=h, cpu_seconds=3600 * c) for s, h, c in ((1, 2.0, 5.0), (2, 3.0, 7.0))
    ]
    plain = batch_of(labelled(4, 3, LabelKind.NON_MAGNETIC), core_hours=10.0, cpu_seconds=3600 * 11.0)
    test = batch_of(labelled(2, 4), core_hours=100.0)

    def fits(seconds: float):
        return [m.model_copy(update={"cpu_seconds": seconds}) for m in models]

    found = maker.compare.original(maker, magnetic, plain, test, fits(1.0), fits(20.0), fits(300.0), 1)
    scratch, tuned = found.points
    assert (scratch["core_hours"], tuned["core_hours"]) == (5.0, 15.0)
    assert (scratch["cpu_hours"], tuned["cpu_hours"]) == pytest.approx((12.0, 23.0))
    assert (scratch["fit_cpu_seconds"], tuned["fit_cpu_seconds"]) == (2.0, 640.0)
    assert (scratch["magnetic_labels"], tuned["magnetic_labels"]) == (6, 6)
    assert (scratch["non_magnetic_labels"], tuned["non_magnetic_labels"]) == (0, 4)
    assert (found.test_labels, found.test_core_hours) == (2, 100.0)


def test_fine_tuning_learns_the_non_magnetic_labels_again_in_its_share_and_starts_from_its_counterpart(models):
    maker = FineTuneMaker(
        family=FAMILY,
        campaign=CAMPAIGN,
        members=2,
        bagging=False,
        replay=0.5,
        pretrained=["p0", "p1"],
        non_magnetic="n",
    )
    plain = batch_of(labelled(6, 3, LabelKind.NON_MAGNETIC))
    magnetic = batch_of(labelled(4, 1))
    tuned = maker.tune.original(maker, [magnetic], plain, models[0], 0, 1)
    assert tuned.n_labels == 4 + 3
    other = maker.tune.original(maker, [magnetic], plain, models[0], 1, 1)
    assert other.dataset != tuned.dataset, "each member replays its own share"
    assert maker.tune.original(maker, [magnetic], None, models[0], 0, 1).n_labels == 4
    jobs = maker.ensemble(["b"], ["ignored", "ignored"], 3)
    assert [j.function_args[3] for j in jobs] == [0, 1]
    assert [j.function_args[2].uuid for j in jobs] == ["p0", "p1"]
    assert {j.function_args[1].uuid for j in jobs} == {"n"}


def test_jobs_are_wired_to_the_documents_they_need(maker):
    mine = maker.campaign.id
    flow = maker.make()
    jobs = {job.uuid: job for job, _ in flow.iterflow()}
    tuned = jobs[roles.member(Phase.TRAIN, 0, 1).uuid(mine)]
    start = roles.member(Phase.PRETRAIN, 0, 1).uuid(mine)
    beside, batch = roles.batch_beside(Purpose.PRETRAINING).uuid(mine), roles.batch(0).uuid(mine)
    assert set(tuned.input_uuids) == {start, beside, batch}
    control = jobs[roles.member(Phase.CONTROL, 0, 1).uuid(mine)]
    assert set(control.input_uuids) == {batch}
    assert set(jobs[start].input_uuids) == {beside}
    compared = jobs[roles.compare(0).uuid(mine)]
    assert roles.batch_beside(Purpose.TEST).uuid(mine) in compared.input_uuids
    learnt_from = {u for phase in (Phase.TRAIN, Phase.CONTROL, Phase.PRETRAIN) for k in range(2)
                   for u in jobs[roles.member(phase, 0, k).uuid(mine)].input_uuids}  # fmt: skip
    assert roles.batch_beside(Purpose.TEST).uuid(mine) not in learnt_from
    assert not maker.iteration.train.reference and maker.pretrain.reference and maker.control.reference


def test_frames_beside_the_loop_are_others_for_each_purpose_and_without_moments_for_non_magnetic_labels(maker):
    plain = maker.pretraining.frames.original(maker.pretraining)
    test = maker.test.frames.original(maker.test)
    assert len(plain["frames"]) == len(plain["sources"]) == len(test["frames"]) == maker.test.number == 60
    assert all(unpack_frame(f).magmoms is None for f in plain["frames"])
    assert all(unpack_frame(f).magmoms is not None for f in test["frames"])
    places = [{unpack_frame(f).non_magnetic().frame_id for f in found["frames"]} for found in (plain, test)]
    assert not places[0] & places[1]
