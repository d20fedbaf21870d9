"""A dichotomy from its file to its page, on the model Hamiltonian; what is finished is kept."""

import numpy as np
import pytest

from magflow.api.dichotomy import KEPT, PAGE, DichotomyRun, Step, dichotomy
from magflow.campaign.dichotomy import load_dichotomy
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LevelOfTheory
from magflow.errors import InputError, MissingToolError
from magflow.execution.label_sets import LabelSets, place
from magflow.execution.labelling import LabelTask
from magflow.io.extxyz_writer import write_extxyz
from magflow.studies.dichotomy.result import Dichotomy

FILE = """\
magflow_dichotomy: 1
name: iron
elements: [Fe]
moments: {Fe: 2.2}
frames:
  solids:
    - {name: bcc, builder: {structure: bcc, species: [Fe], a: 2.75}, count: 8}
label: {engine: spin-lattice, core_hours: 1, test_every: 4, settings: {}}
potentials:
  NM: {labels: non-magnetic, family: mmtp, ensemble: 1, bagging: false, settings: {level: 4}}
  M: {labels: spin-polarised, family: mmtp, moments: ignored, ensemble: 1, bagging: false, settings: {level: 4}}
validation:
  structures: {bcc-Fe: {structure: bcc, species: [Fe], a: 2.84}}
  properties: {equation-of-state: {}}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "iron.yaml"
    path.write_text(FILE)
    return path


def test_the_surface_decides_the_lattice_parameter(file, tmp_path):
    out = tmp_path / "run"
    made, validation = dichotomy(file, out)
    assert [(s.kind, s.labels, s.failures) for s in made.sets] == [("non-magnetic", 8, {}), ("spin-polarised", 8, {})]
    assert made.sets[0].moment is None
    assert made.sets[1].moment == pytest.approx(2.1, abs=0.3)
    assert [(p.name, p.reads_moments) for p in made.potentials] == [("NM", False), ("M", False)]
    assert made.potentials[0].training.errors["test"]["labels"] == 2
    edges = {label: m.value("a0").value for label, m in validation.found}
    assert edges["M"] - edges["NM"] > 0.05, "magnetism expands iron, in the model too"
    assert Dichotomy.from_dict(made.as_dict()).as_dict() == made.as_dict()

    kept = (".bin", ".extxyz", ".db")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.suffix in kept}
    again, _ = dichotomy(file, out)
    assert again.as_dict() == made.as_dict()
    assert {p: p.stat().st_mtime_ns for p in before} == before, "nothing is done twice"
    page = (out / PAGE).read_text()
    assert "Static, local" in page
    assert "spin-polarised" in page


def test_a_family_that_cannot_be_trained_is_told_before_labels_are_paid_for(file, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_DEEPMD_PYTHON", str(tmp_path / "nowhere"))
    file.write_text(FILE.replace("  M: {", "  DP: {labels: non-magnetic, family: dp}\n  M: {"))
    with pytest.raises(MissingToolError, match="nowhere"):
        dichotomy(file, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    labelled, _ = dichotomy(file, tmp_path / "run", until=Step.LABELS)
    assert labelled.sets[0].labels == 8, "labels need no potential"


def test_sets_grow_in_step_until_the_core_hours_are_spent(file, tmp_path, monkeypatch):
    asked = []

    def run(task, workers, told):
        asked.append((str(task.engine.kind), len(task.frames)))

    monkeypatch.setattr(LabelTask, "run", run)
    monkeypatch.setattr("magflow.execution.label_sets.TURN", 3)
    monkeypatch.setattr(LabelSets, "spent", lambda _: 0.3 * len(asked))
    DichotomyRun(load_dichotomy(file), tmp_path / "run").label()
    turn = [("non-magnetic", 3), ("spin-polarised", 3)]
    assert asked == [*turn, *turn], "1.2 core-hours of 1: the last two frames are left"


def test_labels_that_are_there_are_not_computed_again(file, tmp_path, monkeypatch):
    first, _ = dichotomy(file, tmp_path / "run", until=Step.LABELS)
    assert first.sets[1].labels == 8
    (tmp_path / "there.extxyz").write_bytes((tmp_path / "run" / KEPT).read_bytes())
    file.write_text(FILE.replace("count: 8", "count: 9") + "labels: [there.extxyz]\n")
    again, _ = dichotomy(file, tmp_path / "again", until=Step.LABELS)
    assert [s.labels for s in again.sets] == [9, 9]
    ran = DichotomyRun(load_dichotomy(file), tmp_path / "again").sets
    for kind in ran.engines:
        (fresh,) = ran.task(kind, ran.frames).finished().items
        assert place(fresh.frame) == place(ran.frames[8]), "the ninth frame alone was labelled"
    assert ran.spent() > sum(ran.task(kind, ran.frames).finished().core_hours for kind in ran.engines)


def test_given_labels_are_of_a_kind_and_a_level_of_the_file(file, tmp_path):
    def given(kind):
        level = LevelOfTheory("spin-lattice", "of another day", kind, "none")
        frame = Frame(["Fe"], 2.8 * np.eye(3), [[0, 0, 0]], magmoms=[2.2])
        label = Label(frame.frame_id, level, energy=-8.0, forces=np.zeros((1, 3)))
        write_extxyz(tmp_path / "there.extxyz", [LabeledFrame(frame, label)])

    file.write_text(FILE + "labels: [there.extxyz]\n")
    given("spin-polarised")
    with pytest.raises(InputError, match=r"spin-polarised labels are of another level of theory.*of another day"):
        dichotomy(file, tmp_path / "run", until=Step.LABELS)
    given("constrained")
    with pytest.raises(InputError, match=r"another kind; seen: constrained; expected: non-magnetic, spin-polarised"):
        dichotomy(file, tmp_path / "run", until=Step.LABELS)
