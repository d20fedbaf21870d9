"""Potentials against recorded phonons: who made the records errs by nothing, others by something."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.calculators.emt import EMT

from exact_potentials import AsePotential, QuadraticMagnet, alone, bcc
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.label import LabelKind, LevelOfTheory
from magflow.core.phonon_record import PhononRecord
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.io.phonon_tables import read_table
from magflow.potentials.any_calculator import CalculatorPotential
from magflow.properties.recorded import Geometry, reference_vibrations
from magflow.properties.vibrations import COMPARED, Vibrations
from magflow.studies.phonons.files import FILES, write_phonons
from magflow.studies.phonons.result import Answer, PhononBenchmark, Recorded
from magflow.studies.phonons.section import section
from magflow.studies.phonons.task import Contender, PhononTask
from recorded_phonons import write_records


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tuple(read_table(write_records(tmp_path_factory.mktemp("records"), {"Cu": 3.59, "wide": 3.65})))


class Stiff(EMT):
    """Copper whose forces are a fifth larger."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["forces"] = 1.21 * self.results["forces"]


class Counting(CalculatorPotential):
    """Counts the frames it was asked for."""

    asked = 0

    def predict(self, frames):
        type(self).asked += len(frames)
        return super().predict(frames)


def contenders(**more) -> dict[str, Contender]:
    Counting.asked = 0
    emt = Contender(alone(Counting(EMT())), "emt")
    return {"emt": emt, "stiff": Contender(alone(CalculatorPotential(Stiff())), "stiff")} | more


def test_the_one_that_made_the_records_errs_by_nothing(records, tmp_path):
    found = PhononTask(records, contenders(), tmp_path, Geometry.KEPT).run()
    assert found.shared == list(found.records)
    for quantity in COMPARED:
        assert np.abs(found.errors("emt", quantity)).max() < 1e-5
        size = np.array([getattr(r.vibrations, quantity) for r in found.records])
        assert np.abs(found.errors("stiff", quantity)).max() > 1e-2 * np.abs(size).max()
    assert found.errors("stiff", "highest") == pytest.approx(
        [(np.sqrt(1.21) - 1.0) * r.vibrations.highest for r in found.records], rel=1e-4
    )


def test_a_crystal_comes_to_rest_on_the_potential(records, tmp_path):
    found = PhononTask(records, contenders(), tmp_path).run()
    volumes = [found.of("emt")[r.name].volume for r in found.records]
    rested = [v * c.crystal.volume for v, c in zip(volumes, records, strict=True)]
    assert rested[0] == pytest.approx(rested[1], rel=1e-3)
    assert volumes[1] < 0.97


def test_what_is_finished_is_kept_until_the_potential_changes(records, tmp_path):
    first = PhononTask(records, contenders(), tmp_path, Geometry.KEPT).run()
    again = PhononTask(records, contenders(), tmp_path, Geometry.KEPT).run()
    assert Counting.asked == 0
    assert again.as_dict() == first.as_dict()
    other = contenders() | {"emt": Contender(alone(Counting(EMT())), "another")}
    PhononTask(records, other, tmp_path, Geometry.KEPT).run()
    assert Counting.asked > 0
    (place,) = tmp_path.glob("wide*stiff*.json")
    place.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        PhononTask(records, contenders(), tmp_path, Geometry.KEPT).run()


def test_one_that_fails_does_not_stop_the_others(records, tmp_path):
    iron = Contender(alone(AsePotential(EMT, ["Fe"], 6.0)), "iron")
    found = PhononTask(records, contenders(iron=iron), tmp_path, Geometry.KEPT).run()
    assert len(found.shared) == 2
    assert "does not know" in found.of("iron")["Cu mp-0"].failure
    assert found.mean_errors("iron") == {}
    assert any("no answer on 2 records" in said for _, said in section(found).remarks)


def test_large_supercells_are_left_out_on_request(records, tmp_path):
    with pytest.raises(InputError, match="smallest supercell has 32 atoms"):
        PhononTask(records, contenders(), tmp_path, most_atoms=31)
    assert PhononTask(records, contenders(), tmp_path, Geometry.KEPT, most_atoms=32).run().left_out == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"contenders": {}}, "nothing to hold against"),
        ({"records": ()}, "no records"),
        ({"displacement": 0.0}, "not a small displacement"),
    ],
)
def test_what_makes_no_sense_is_refused(records, tmp_path, given, said):
    with pytest.raises(InputError, match=said):
        PhononTask(**({"records": records, "contenders": contenders(), "workdir": tmp_path} | given))


def test_two_records_of_one_name(records, tmp_path):
    with pytest.raises(InputError, match="two records have the same name"):
        PhononTask((*records, records[0]), contenders(), tmp_path)


def test_force_constants_of_moments_that_are_clamped(tmp_path):
    """A magnet with a known Hessian is the record and the potential."""
    crystal = repeated(bcc(2.84, moment=2.2), (2, 2, 2))
    magnet = QuadraticMagnet(crystal)
    rows = magnet.hessian[:, :3, :, :3].transpose(0, 2, 1, 3)
    level = LevelOfTheory("toy", "1", LabelKind.CONSTRAINED, "none")
    label = ForceConstantLabel(crystal, level, np.array([0]), rows[:1])
    record = PhononRecord.of("magnet", label)
    found = PhononTask((record,), {"own": Contender(alone(magnet), "own")}, tmp_path, Geometry.KEPT).run()
    assert max(found.mean_errors("own").values()) < 1e-4
    few = ForceConstantLabel(
        Frame(("Al",) + ("Fe",) * 15, crystal.cell, crystal.positions, crystal.magmoms), level, np.array([0]), rows[:1]
    )
    with pytest.raises(InputError, match="too few atoms"):
        reference_vibrations(PhononRecord.of("few", few))


def test_the_result_comes_back_and_says_it_in_words(records, tmp_path):
    found = PhononTask(records, contenders(), tmp_path / "work", Geometry.KEPT).run()
    back = PhononBenchmark.from_dict(json.loads(json.dumps(found.as_dict())))
    assert back.as_dict() == found.as_dict()
    files = write_phonons(found, tmp_path)
    assert set(files) == set(FILES)
    assert "Mean absolute error" in files["phonons.html"].read_text()
    with pytest.raises(InputError):
        PhononBenchmark.from_dict({"format": "magflow-tm-1"})


def test_means_are_over_what_all_answer():
    def vibrations(x: float, lowest: float = 0.0) -> Vibrations:
        return Vibrations(highest=x, lowest=lowest, entropy=x, free_energy=x, heat_capacity=x)

    records = tuple(Recorded(name, 8, vibrations(10.0)) for name in "abc")
    answers = (
        *(Answer("first", name, None, vibrations(14.0), 1.0, 1.0) for name in "ab"),
        Answer("first", "c", "broken"),
        *(Answer("second", name, None, vibrations(9.0, -1.0), 1.0, 1.0) for name in "abc"),
        *(Answer("third", name, "absent") for name in "abc"),
    )
    found = PhononBenchmark(records, ("first", "second", "third"), answers)
    assert [r.name for r in found.shared] == ["a", "b"]
    assert found.mean_errors("first") == dict.fromkeys(COMPARED, 4.0)
    assert found.change("second") == pytest.approx(-0.75)
    assert found.change("third") is None
    assert found.unstable("second") == ["a", "b", "c"]
    assert found.unstable("first") == []
