"""Alloys of elements whose volumes and moments add up, and whose bonds can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from exact_potentials import AsePotential, IdealMixture, ModelPotential, alone, bcc
from magflow.core.frame import Frame
from magflow.core.label import Label, LabelKind, LevelOfTheory
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.base import Work, property_of
from magflow.properties.composition import AVERAGE, BEST, Composition
from magflow.properties.composition_plots import CELLS, EACH, ENERGY, HULL, LOWEST, MEAN, X
from magflow.properties.measurement import SPREAD, Moments
from magflow.properties.points import measured_by_labels
from magflow.properties.subject import Subject

IRON = bcc(2.84, moment=2.2)
B2 = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45] * 3], [2.2, 0.0])
NOBLE = alone(AsePotential(lambda: None, ["Ag", "Au", "Cu"], 6.0))
SHARES = (0.0, 0.25, 0.5, 1.0)
ASKED = Composition(fractions=SHARES, atoms=8, decorations=3)


def iron(mixture: IdealMixture | None = None, frame: Frame = IRON) -> Subject:
    return Subject(alone(mixture or IdealMixture()), "bcc-Fe", frame)


def test_an_ideal_mixture_follows_straight_lines(tmp_path):
    found = ASKED.measure(iron(), Work(tmp_path))
    assert not found.failure
    for x in SHARES:
        at = f"x = {x:g}"
        volume = (1 - x) * 11.4 + x * 16.5
        assert found.value("volume", at=at).value == pytest.approx(volume, rel=2e-4)  # stresses are left to 0.01 GPa
        assert found.value("lattice parameter", at=at).value == pytest.approx((2 * volume) ** (1 / 3), rel=1e-4)
        assert found.value("total moment", at=at).value == pytest.approx((1 - x) * 2.2, abs=1e-3)
    assert found.curves[LOWEST][ENERGY] == pytest.approx(np.zeros(4), abs=1e-6)
    assert found.curves[EACH][X].tolist() == sorted(found.curves[EACH][X])


def test_bonds_between_unlike_atoms_are_counted(tmp_path):
    """Of the four bonds per atom of the bcc lattice all are unlike in B2, 4 x (1 - x) x 2 in a random alloy."""
    ordered = ASKED.measure(iron(IdealMixture(unlike=-0.05), B2), Work(tmp_path))
    assert ordered.value(BEST, at="x = 0.5").value == pytest.approx(-4 * 50, abs=1e-3)
    assert ordered.value(BEST, at="x = 0.25").value <= ordered.value(AVERAGE, at="x = 0.25").value
    assert ordered.value(BEST, at="x = 0.5").value < ordered.value(AVERAGE, at="x = 0.5").value
    random = ASKED.measure(iron(IdealMixture(unlike=-0.05)), Work(tmp_path))
    assert random.value(AVERAGE, at="x = 0.5").value == pytest.approx(-2 * 50 * 8 / 7, rel=0.1)  # in eight atoms
    # half of B2, half of iron: what lies above is no ground state
    hull = ordered.curves[LOWEST]
    assert hull[HULL] == pytest.approx([0.0, -0.1, -0.2, 0.0], abs=1e-5)
    assert (hull[ENERGY] >= hull[HULL] - 1e-9).all()


def test_each_member_relaxes_by_itself(tmp_path):
    members = [IdealMixture((v, 11.4), (0.0, m), (e, -8.2)) for v, m, e in ((16.0, 2.1, -3.7), (17.0, 2.3, -3.5))]
    subject = Subject(PotentialEnsemble(tuple(members), "ideal-mixture"), "bcc-Fe", IRON)
    found = ASKED.measure(subject, Work(tmp_path))
    for x in SHARES[1:]:
        at = f"x = {x:g}"
        assert found.value("volume", at=at).value == pytest.approx((1 - x) * 11.4 + x * 16.5, rel=5e-3)
        assert found.value("volume", at=at).spread == pytest.approx(x / np.sqrt(2), rel=1e-2)
        assert found.value("total moment", at=at).spread == pytest.approx((1 - x) * 0.2 / np.sqrt(2), abs=2e-3)
        assert found.value(BEST, at=at).spread == pytest.approx(0.0, abs=1e-3)  # each is above its own elements
    assert SPREAD + "volume (A^3/atom)" in found.curves[CELLS]


def test_labels_of_the_lowest_cells_say_energies_alone(tmp_path):
    theory = LevelOfTheory("model", "1", LabelKind.CONSTRAINED, "an ideal mixture")
    truth, subject = IdealMixture(unlike=-0.05), iron(IdealMixture(unlike=-0.06))
    frames = ASKED.for_labels(subject)
    assert len(frames) == 2 + 3  # iron, aluminium and one cell of each other composition
    labels = {}
    for f in frames:
        p = truth.predict([f])
        labels[f.frame_id] = Label(
            f.frame_id, theory, f.orientation, energy=float(p.energy[0]), forces=p.forces, stress=p.stress[0],
            magmoms=f.magmoms, magnetic_forces=p.magnetic_forces,
        )  # fmt: skip
    said = measured_by_labels(ASKED, subject, frames, labels)
    own = ASKED.measure(subject, Work(tmp_path))
    assert {v.name for v in said.values} == {BEST}
    assert MEAN not in said.curves
    assert CELLS not in said.curves
    for v in said.values:
        assert v.value == pytest.approx(own.value(BEST, at=v.at).value * 5 / 6, abs=1e-2)
    assert len(ASKED.plots([("FM", own), ("DFT", said)])) == 1


def test_without_moments_there_is_no_total_moment(tmp_path):
    found = ASKED.measure(iron(IdealMixture(moments=None), bcc(2.84)), Work(tmp_path))
    assert "total moment" not in {v.name for v in found.values}
    assert len(ASKED.plots([("NM", found)])) == 1


def test_what_lies_outside_is_not_trusted():
    frames = ASKED.frames(iron())
    outside = np.zeros(len(frames), bool)
    assert ASKED.doubts(frames, outside, ()) == ()
    outside[[1, -1]] = True
    assert ASKED.doubts(frames, outside, ()) == (
        "formation energies: untrusted, Al by itself lies outside the training domain",
        "x = 1: untrusted, 1 of 1 cells lie outside the training domain",
    )


def test_an_element_that_does_not_come_to_rest_is_told(tmp_path):
    wild = IdealMixture(volumes=(40.0, 11.4))  # aluminium far from where ASE lists it
    found = Composition(fractions=(0.0, 0.125), atoms=8, decorations=1).measure(iron(wild), Work(tmp_path))
    assert not found.failure, found.failure
    assert any("Al by itself is under" in r for r in found.remarks)


def test_alloys_that_do_not_come_to_rest_are_left_out_and_told(tmp_path):
    """Aluminium larger than it begins: dilute alloys reach their volume, richer ones swell by more than 40 %."""
    wild = IdealMixture(volumes=(40.0, 11.4))
    found = Composition(fractions=(0.125, 0.5), atoms=8, decorations=1).measure(iron(wild), Work(tmp_path))
    assert not found.failure, found.failure
    assert {v.at for v in found.values} == {"x = 0.125"}
    assert "untrusted: 1 of 2 alloys do not come to rest and are left out" in found.remarks
    none = Composition(fractions=(0.5,), atoms=8, decorations=1).measure(iron(wild), Work(tmp_path))
    assert "no alloy comes to rest" in none.failure


@pytest.mark.parametrize(
    ("settings", "subject", "said"),
    [
        ({"by": "Cr"}, iron(), "the element Cr is none the potential knows; it knows Al, Fe"),
        ({"fractions": (0.01,)}, iron(), "a share of 0.01 rounds to none or all of 16 atoms"),
        ({"by": "Fe"}, iron(), "that of the structure itself"),
        ({}, Subject(alone(ModelPotential()), "Fe", IRON, Moments.FIXED), "nobody says what moments"),
        ({}, Subject(alone(AsePotential(lambda: None, ["Cu"], 6.0)), "Cu", bcc(2.9, "Cu")), "knows Cu alone"),
        (
            {},
            Subject(NOBLE, "Cu", bcc(2.9, "Cu")),
            "several other elements: Ag, Au; name one",
        ),
        (
            {"by": "Au"},
            Subject(NOBLE, "CuAg", Frame(("Cu", "Ag"), B2.cell, B2.positions)),
            "the structure holds Cu, Ag",
        ),
    ],
)  # fmt: skip
def test_questions_without_sense_are_refused(settings, subject, said, tmp_path):
    with pytest.raises(InputError, match=said):
        Composition(**settings).measure(subject, Work(tmp_path))


@pytest.mark.parametrize("fractions", [[-0.1, 0.5], [0.0, 1.2], [0.5, 0.25], []])
def test_shares_are_shares(fractions):
    with pytest.raises(InputError, match="setting of a property"):
        property_of("composition", {"fractions": fractions})
