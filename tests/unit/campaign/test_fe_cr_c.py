"""The Fe-Cr-C campaign files: their structures, and one level of theory for both stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from magflow.campaign.build import campaign_maker
from magflow.campaign.load import load_campaign
from magflow.campaign.schema import CampaignSpec
from magflow.core.label import LabelKind
from magflow.explore.prototypes import build_prototypes

WORKFLOWS = Path(__file__).parents[3] / "workflows"


def spec(name: str) -> CampaignSpec:
    return load_campaign(WORKFLOWS / f"{name}.yaml")


@pytest.mark.parametrize("name", ["fe_cr_c", "fe_cr_c_small"])
def test_a_campaign_can_be_made_of_it(name):
    assert campaign_maker(spec(name)).campaign.elements == ["C", "Cr", "Fe"]


def test_both_stages_have_one_level_of_theory():
    for name in ("fe_cr_c", "fe_cr_c_small"):
        campaign = spec(name)
        one, other = (e.model_dump(mode="json") for e in (campaign.engine(), campaign.non_magnetic_engine()))
        assert {key for key in one if one[key] != other[key]} == {"kind"}
        assert (one["kind"], other["kind"]) == (LabelKind.CONSTRAINED, LabelKind.NON_MAGNETIC)
        assert campaign.transfer is not None and campaign.transfer.non_magnetic >= campaign.stop.labels / 2


def test_compositions_and_phases():
    system = spec("fe_cr_c").system
    built = build_prototypes(system.prototypes, system.elements, Path(), system.moments)
    formulas = {p.frame.formula for p in built}
    assert formulas >= {"Fe16", "Cr16", "Cr1Fe15", "Cr4Fe12", "Cr8Fe8", "Cr12Fe4"}
    assert formulas >= {"C4Fe12", "C4Cr3Fe9", "C12Cr28", "C12Cr14Fe14", "C6Cr23", "C6Cr17Fe6", "C4Fe4", "C4Cr4"}
    assert max(len(p.frame) for p in built) == 40
    assert {p.label for p in built if p.name == "bcc-Cr"} >= {"bcc-Cr:AFM", "bcc-Cr:DLM"}
    liquid = spec("fe_cr_c").explore.md
    assert liquid is not None and max(liquid.temperatures_k) > 3000  # above the melting point of every phase
