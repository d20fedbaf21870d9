"""The file of a dichotomy: the shipped one loads; errors name line and key."""

from pathlib import Path

import pytest

from magflow.campaign.dichotomy import load_dichotomy
from magflow.campaign.source import CampaignFileError
from magflow.properties.references import read_references

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "workflows" / "fe_dichotomy.yaml"


def test_the_shipped_file_asks_for_both_surfaces_at_one_level_of_theory():
    spec = load_dichotomy(SHIPPED)
    engines = [spec.label.engine_of(kind) for kind in spec.label.kinds]
    assert [str(engine.kind) for engine in engines] == ["non-magnetic", "spin-polarised"]
    assert engines[0].model_copy(update={"kind": engines[1].kind}) == engines[1]
    sets = {name: str(one.labels) for name, one in spec.potentials.items()}
    assert sets["DP-NM"] == sets["mMTP-NM"] == "non-magnetic"
    assert sets["DP-M"] == sets["mMTP-M"] == "spin-polarised"
    assert all(7 <= len(s.crystal()) - getattr(s, "vacancies", 0) <= 16 for s in spec.frames.solids)
    assert read_references(spec.validation.references)


def test_shipped_references_of_the_liquid_are_the_correlations():
    found = read_references([ROOT / "workflows" / "references" / "iron.yaml"])
    liquid = {r.name: r for r in found if r.property == "viscosity"}
    for t in (1811, 1900, 2100):
        assert liquid["viscosity"].number(t) == pytest.approx(10 ** (-0.7209 + 2694.95 / t), rel=1e-3)
        assert liquid["density"].number(t) == pytest.approx((7034.96 - 0.926 * (t - 1809)) / 1000, rel=1e-4)
    assert liquid["viscosity"].number(1600) is None, "not where nobody measured"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("seed: 1", "sede: 1", r":\d+ sede: seen an unknown key"),
        ("labels: spin-polarised", "labels: constrained", r"potentials: seen .*DP-M: constrained.*label\.kinds"),
        ("family: dp\n", "family: dq\n", r"potentials\.DP-NM\.family"),
        ("count: 12", "count: 0", r"frames\.solids\.0\.count|frames\.solids\[0\]\.count"),
    ],
)
def test_errors_name_line_key_and_what_would_do(tmp_path, before, after, said):
    text = SHIPPED.read_text()
    assert before in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(CampaignFileError, match=said) as caught:
        load_dichotomy(path)
    line = next(i for i, row in enumerate(path.read_text().splitlines(), 1) if after.strip().splitlines()[0] in row)
    assert abs(caught.value.problems[0].line - line) < 12
